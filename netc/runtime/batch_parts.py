"""Whether a batch is better run in parts, each of which goes through the whole net before the next.

What a part leaves between layers stays in the cache where that of a whole batch would go to memory and back,
and takes as much less room. The price: weights are read once a part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from netc.backends.cuda.target import is_cuda
from netc.backends.llvm.lower.table import has_kernel
from netc.backends.llvm.target import Target, parse_target
from netc.frontend.imported_net import ImportedNet
from netc.ir.arena import arena_bytes, unshared_bytes
from netc.ir.core import Func, Value
from netc.ir.row_axis import batch_row_axes
from netc.passes.pipeline import Lowered
from netc.runtime.lower_net import OnStage, lower_net
from netc.runtime.options import CompileOptions
from netc.runtime.shapes import tensor_of

MOST_OPT_LEVEL = 3

OfRows = Callable[[int], ImportedNet | None]
"""The net for so many rows of its batch; None: there is none."""


def lower_batch(
    net: ImportedNet, options: CompileOptions, of_rows: OfRows, on_stage: OnStage | None = None
) -> tuple[Lowered, int]:
    """The net after all passes, for as many rows as are run at once; how many such parts a batch has."""
    may_cut = options.opt_level == MOST_OPT_LEVEL and not options.fully_convolutional
    rows = batch_size(net) if may_cut and not is_cuda(options.target) else None
    whole = None
    if rows is not None:
        whole = lower_net(net.module, replace(options, tuner=None))
        at_once = rows_of_a_part(rows, whole, parse_target(options.target))
        part = of_rows(at_once) if at_once is not None else None
        if at_once is not None and part is not None:
            main = part.module.func("main")
            if is_part(main, net.module.func("main"), rows, at_once):
                return lower_net(part.module, options, on_stage=on_stage), rows // at_once
    if whole is not None and options.tuner is None and on_stage is None:
        return whole, 1
    return lower_net(net.module, options, on_stage=on_stage), 1


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
    return extent if isinstance(extent, int) and extent > 1 and batch_row_axes(main) is not None else None


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


def is_part(part: Func, whole: Func, rows: int, at_once: int) -> bool:
    """Whether a function does to ``at_once`` samples what another does to ``rows`` of them, op by op.

    A net that states the size of the batch in a shape (Reshape of 8 x -1) means another thing for fewer rows.
    """
    axes = batch_row_axes(whole)
    same = [op.name for op in part.ops] == [op.name for op in whole.ops] and part.params == whole.params
    if axes is None or not same or batch_row_axes(part) != axes:
        return False
    for one, other in zip(part.ops, whole.ops, strict=True):
        for mine, theirs in zip(one.results, other.results, strict=True):
            shape, axis = tensor_of(theirs.type).shape, axes.get(theirs.name)
            if axis is not None and shape[axis] == rows:
                shape = (*shape[:axis], at_once, *shape[axis + 1 :])
            if tensor_of(mine.type).shape != shape:
                return False
    return True


def _bytes(value: Value) -> int:
    size = tensor_of(value.type).storage_bytes
    return size if isinstance(size, int) else 0
