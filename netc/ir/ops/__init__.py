"""Every op of the three levels, declared. Importing this package fills the op table."""

from netc.ir.ops import (
    buffer,
    conv,
    dropout,
    elementwise,
    fusion,
    inner_product,
    layout_ops,
    loop,
    normalize,
    pool,
    reduce,
    shape,
)

__all__ = [
    "buffer",
    "conv",
    "dropout",
    "elementwise",
    "fusion",
    "inner_product",
    "layout_ops",
    "loop",
    "normalize",
    "pool",
    "reduce",
    "shape",
]
