"""Import rules, one per layer type. Importing this package fills the table."""

from netc.frontend.layers import (
    activation,
    combine,
    convolution,
    inner_product,
    input,
    loss,
    normalization,
    output,
    pick,
    pooling,
    recurrent,
    reduction,
    shape,
)

__all__ = [
    "activation",
    "combine",
    "convolution",
    "inner_product",
    "input",
    "loss",
    "normalization",
    "output",
    "pick",
    "pooling",
    "recurrent",
    "reduction",
    "shape",
]
