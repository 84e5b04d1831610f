"""Softmax along any axis, the softmax loss of every position, and its gradient.

A warp or a block walks along the axis where its elements are neighbours; else each thread takes a position.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from netc.backends.cuda.kernel import Kernel, Memory
from netc.backends.cuda.lower.epilogue import finish_at
from netc.backends.cuda.text import c_dim, c_float
from netc.ir.core import Op
from netc.ir.dim import Dim, ceildiv, product
from netc.ir.ops.loss import SMALLEST_PROBABILITY

BLOCK = 256
WARP = 32
LONG_ROW = 512  # classes from which a whole block takes a position


@dataclass(frozen=True, slots=True)
class _Rows:
    """Inside a function: the index of the position along each axis, and the threads that share it."""

    x: Memory
    axis: int
    classes: Dim
    lanes: int
    indices: list[str]

    def along(self, index: str) -> list[str]:
        """The indices of an element of x."""
        return [*self.indices[: self.axis], index, *self.indices[self.axis :]]


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of an ``nn.softmax``."""
    function = _Function(kernel, anchor)
    with kernel.function(function.grid, BLOCK):
        rows = function.begin()
        with function.loop():
            element = rows.x.element(rows.along("i"))
            kernel.line(f"const float probability = expf({element} - greatest.best) / sum.total;")
            finish_at(kernel, {anchor.result.name: "probability"}, tail, rows.along("i"))


def lower_loss(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of an ``nn.softmax_loss``."""
    function = _Function(kernel, anchor)
    label = kernel.operand(anchor.operands[1])
    with kernel.function(function.grid, BLOCK):
        rows = function.begin()
        with kernel.block("if (inside && lane == 0)"):
            kernel.line(f"const float label_value = truncf({label.element(rows.indices)});")
            kernel.line(
                f"const bool known = label_value >= 0.0f && label_value < float({c_dim(rows.classes)});"
            )
            element = rows.x.element(rows.along("int(label_value)"))
            kernel.line(f"float p = known ? expf({element} - greatest.best) / sum.total : 0.0f;")
            kernel.line(f"p = maximum(p, {c_float(SMALLEST_PROBABILITY)});")
            ignored = anchor.attrs.ignore
            zero = f"label_value == {c_float(ignored)} ? 0.0f : " if ignored is not None else ""
            kernel.line(f"const float loss = {zero}-logf(p);")
            finish_at(kernel, {anchor.result.name: "loss"}, tail, rows.indices)


def lower_gradient(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of an ``nn.softmax_loss_gradient``."""
    function = _Function(kernel, anchor)
    label, dloss = (kernel.operand(v) for v in anchor.operands[1:])
    with kernel.function(function.grid, BLOCK):
        rows = function.begin()
        kernel.line(f"const float label_value = inside ? truncf({label.element(rows.indices)}) : -1.0f;")
        counts = f"label_value >= 0.0f && label_value < float({c_dim(rows.classes)})"
        if anchor.attrs.ignore is not None:
            counts += f" && label_value != {c_float(anchor.attrs.ignore)}"
        kernel.line(f"const float scale = {counts} ? {dloss.element(rows.indices)} : 0.0f;")
        with function.loop():
            element = rows.x.element(rows.along("i"))
            kernel.line(f"const float probability = expf({element} - greatest.best) / sum.total;")
            kernel.line("const float hit = float(i) == label_value ? 1.0f : 0.0f;")
            kernel.line("const float gradient = (probability - hit) * scale;")
            finish_at(kernel, {anchor.result.name: "gradient"}, tail, rows.along("i"))


class _Function:
    """What the three have in common: maximum and sum along the axis, known to every thread of a position."""

    def __init__(self, kernel: Kernel, anchor: Op) -> None:
        self.kernel = kernel
        self.x = kernel.operand(anchor.operands[0])
        self.axis = anchor.attrs.axis
        shape = self.x.type.shape
        self.classes = shape[self.axis]
        self.shape = (*shape[: self.axis], *shape[self.axis + 1 :])
        self.positions = product(self.shape)
        neighbours = all(d == 1 for d in shape[self.axis + 1 :])
        long = not isinstance(self.classes, int) or self.classes >= LONG_ROW
        self.lanes = 1 if not neighbours else BLOCK if long else WARP
        self.grid = (ceildiv(self.positions * self.lanes, BLOCK), 1, 1)

    def begin(self) -> _Rows:
        """Emit everything up to the sum of exponentials."""
        kernel, lanes = self.kernel, self.lanes
        kernel.line(f"const int item = blockIdx.x * {BLOCK // lanes} + threadIdx.x / {lanes};")
        kernel.line(f"const int lane = threadIdx.x % {lanes};" if lanes > 1 else "const int lane = 0;")
        kernel.line(f"const bool inside = item < {c_dim(self.positions)};")
        indices = kernel.split("item", [f"p{a}" for a in range(len(self.shape))], self.shape)
        rows = _Rows(self.x, self.axis, self.classes, lanes, indices)
        if lanes == BLOCK:
            kernel.line(f"NETC_SHARED(float, tile, {BLOCK // WARP});")
        element = self.x.element(rows.along("i"))
        kernel.line("Greatest greatest;")
        with self.loop():
            kernel.line(f"greatest.add({element});")
        self._reduce("greatest")
        kernel.line("Sum sum;")
        with self.loop():
            kernel.line(f"sum.add(expf({element} - greatest.best));")
        self._reduce("sum")
        return rows

    def loop(self) -> AbstractContextManager[None]:
        """A loop over the axis: this thread's elements."""
        return self.kernel.block(
            f"for (int i = lane; inside && i < {c_dim(self.classes)}; i += {self.lanes})"
        )

    def _reduce(self, name: str) -> None:
        if self.lanes == WARP:
            self.kernel.line(f"reduce_warp({name});")
        elif self.lanes == BLOCK:
            self.kernel.line(f"reduce_block<{BLOCK // WARP}>({name}, tile);")
