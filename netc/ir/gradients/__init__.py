"""The gradient rules of the ops, one file a family. Importing this package enters them in the op table."""

from netc.ir.gradients import (
    conv,
    elementwise,
    loss,
    normalize,
    pick,
    pool,
    python_layer,
    random,
    shape,
    window,
)

__all__ = [
    "conv",
    "elementwise",
    "loss",
    "normalize",
    "pick",
    "pool",
    "python_layer",
    "random",
    "shape",
    "window",
]
