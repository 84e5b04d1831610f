"""Whether a batch is better run in parts, each of which goes through the whole net before the next.

What a part leaves between layers stays in the cache where that of a whole batch would go to memory and back,
and takes as much less room. The price: weights are read once a part.
"""

from __future__ import annotations

from netc.backends.llvm.lower.table import has_kernel
from netc.backends.llvm.target import Target
from netc.frontend.imported_net import ImportedNet
from netc.ir.arena import arena_bytes, unshared_bytes
from netc.ir.core import Module, Value
from netc.ir.row_axis import batch_rows_apart
from netc.passes.pipeline import Lowered
from netc.runtime.shapes import tensor_of


def batch_size(net: ImportedNet) -> int | None:
    """The rows of a batch that may be cut; None where samples meet or last, or the size is not known."""
    main = net.module.func("main")
    shapes = [tensor_of(value.type).shape for value in main.inputs]
    if net.states or net.counted or net.code or not all(shapes):
        return None
    extents = {shape[0] for shape in shapes}
    if len(extents) != 1 or not all(isinstance(extent, int) for shape in shapes for extent in shape):
        return None
    extent = extents.pop()
    return extent if isinstance(extent, int) and extent > 1 and batch_rows_apart(main) else None


def rows_of_a_part(rows: int, whole: Lowered, target: Target) -> int | None:
    """How many of the ``rows`` of a batch to run at once, given the net lowered for all; None: all.

    As many as leave the arena well within the last cache, unless reading the weights more often outweighs
    that.
    """
    if not all(has_kernel(op) for op in whole.buffer.func("main").ops if op.name == "buffer.launch"):
        return None
    arena, room = arena_bytes(whole.buffer), target.l3_bytes * 5 // 8
    fitting = [n for n in range(1, rows) if rows % n == 0 and arena // rows * n <= room]
    if arena <= room or not fitting:
        return None
    part = fitting[-1]
    weights = sum(_bytes(value) for value in whole.buffer.func("main").params)
    saved = 2 * unshared_bytes(whole.buffer)  # written and read
    return part if weights * (rows // part - 1) < saved // 2 else None


def same_params(one: Module, other: Module) -> bool:
    """Whether two modules take the same parameters."""
    return one.func("main").params == other.func("main").params


def _bytes(value: Value) -> int:
    size = tensor_of(value.type).storage_bytes
    return size if isinstance(size, int) else 0
