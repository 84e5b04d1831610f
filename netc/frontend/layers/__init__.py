"""Import rules, one per layer type. Importing this package fills the table."""

from netc.frontend.layers import (
    activation,
    batch_norm_forks,
    combine,
    convolution,
    detection,
    inner_product,
    input,
    normalization,
    pooling,
    proposal,
    python,
    rearrange,
    resize,
    roi,
    shape,
    yolo,
)

__all__ = [
    "activation",
    "batch_norm_forks",
    "combine",
    "convolution",
    "detection",
    "inner_product",
    "input",
    "normalization",
    "pooling",
    "proposal",
    "python",
    "rearrange",
    "resize",
    "roi",
    "shape",
    "yolo",
]
