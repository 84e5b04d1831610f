"""The softmax loss of every position, and its gradient: softmaxes that know their labels, row-major.

Along the last axis the label's element is read, and the gradient's corrected, by its index. Along another
axis every class is compared with the labels of a register of positions.
"""

from __future__ import annotations

import math as numbers
from collections.abc import Sequence

from netc.backends.llvm.lower import math
from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.backends.llvm.lower.registers import Place
from netc.backends.llvm.lower.softmax import Softmax, softmax_space
from netc.backends.llvm.lower.space import SOURCE, Space, View, write_names
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index
from netc.ir.ops.loss import SMALLEST_PROBABILITY

LABEL, SCALE = "<label", "<scale"
LARGEST_LOSS = -numbers.log(SMALLEST_PROBABILITY)


def lower_loss(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``nn.softmax_loss``."""
    x, label = (kernel.operand(v) for v in anchor.operands)
    views = {
        SOURCE: View(x.pointer, x.stride_dims),
        LABEL: _per_position(label, anchor.attrs.axis),
        write_names(kernel)[0]: _per_position(kernel.writes[0], anchor.attrs.axis),
    }
    _launch(_Loss, kernel, anchor, tail, views)


def lower_gradient(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``nn.softmax_loss_gradient``."""
    x, label, scale = (kernel.operand(v) for v in anchor.operands)
    dx = kernel.writes[0]
    views = {
        SOURCE: View(x.pointer, x.stride_dims),
        LABEL: _per_position(label, anchor.attrs.axis),
        SCALE: _per_position(scale, anchor.attrs.axis),
        write_names(kernel)[0]: View(dx.pointer, dx.stride_dims),
    }
    _launch(_Gradient, kernel, anchor, tail, views)


def _per_position(memory: Memory, axis: int) -> View:
    """What has no axis of classes, along the axes of what has."""
    return View(memory.pointer, (*memory.stride_dims[:axis], 0, *memory.stride_dims[axis:]))


def _launch(
    form: type[_Labelled],
    kernel: Kernel,
    anchor: Op,
    tail: Sequence[Op],
    views: dict[str, View],
) -> None:
    x = kernel.operand(anchor.operands[0])
    space = softmax_space(kernel, x.type.shape, anchor.attrs.axis, views)
    last = len(space.dims) - 1
    dense = all(space.stride(n, last) in (0, 1) for n in views) and space.stride(SOURCE, last) == 1
    if "inner" in space.kinds:
        dense = dense and all(space.stride(n, last) == 1 for n in views)
    form(kernel, anchor, tail, space, kernel.target.lanes if dense else 0).emit()


class _Labelled(Softmax):
    def __init__(self, kernel: Kernel, anchor: Op, tail: Sequence[Op], space: Space, lanes: int) -> None:
        super().__init__(kernel, anchor, tail, space, lanes)
        self.classes = space.extents[space.kinds.index("axis")]

    def classed(self, label: Value) -> tuple[Value, Value]:
        """Labels rounded towards zero, and whether each is a class that counts; a NaN is none."""
        b = self.b
        # beyond the classes, but small enough for an integer
        bound = b.cast("to_float", b.value(b.iadd(self.classes, 1)), "f32")
        bound = b.splat(bound, self.lanes) if str(label.type) != "f32" else bound
        low = b.maximum(b.like(-1, label), label)
        whole = b.cast("to_int", b.binary("min", low, bound), "i32")
        whole = b.select(b.compare("eq", label, label), whole, b.like(-1, whole))
        # what lies between -1 and 0 is rounded to the class 0
        size = b.cast("truncate", b.value(self.classes), "i32")
        size = b.splat(size, self.lanes) if str(label.type) != "f32" else size
        inside = self.both(b.compare("ge", whole, b.like(0, whole)), b.compare("lt", whole, size))
        if self.anchor.attrs.ignore is not None:
            inside = self.both(inside, b.compare("ne", whole, b.like(self.anchor.attrs.ignore, whole)))
        return whole, inside

    def both(self, x: Value, y: Value) -> Value:
        return self.b.binary("and", x, y)

    def position(self, name: str, place: Place) -> Value:
        """The one element of a row's position."""
        return self.b.load(self.space.views[name].pointer, place[name])


class _Loss(_Labelled):
    def __init__(self, kernel: Kernel, anchor: Op, tail: Sequence[Op], space: Space, lanes: int) -> None:
        super().__init__(kernel, anchor, tail, space, lanes)
        self.parked = False  # the result has no room for exponentials

    def loss(self, total: Value, gap: Value, whole: Value, counts: Value) -> Value:
        """ln(sum) + largest - own, where the label is a class; ``gap`` is largest - own."""
        b = self.b
        most = b.like(LARGEST_LOSS, total)
        value = b.binary("min", b.add(math.log(b, total), gap), most)
        value = b.select(counts, value, most)
        ignore = self.anchor.attrs.ignore
        if ignore is None:
            return value
        return b.select(b.compare("eq", whole, b.like(ignore, whole)), b.like(0, value), value)

    def short_row(self, place: Place, extent: int) -> None:
        self.long_row(place, extent)

    def long_row(self, place: Place, extent: Index) -> None:
        b = self.b
        largest, total = self.row_sum(place, extent)
        whole, counts = self.classed(self.position(LABEL, place))
        index = b.cast("extend", b.select(counts, whole, b.like(0, whole)), "i64")
        own = b.load(
            self.space.views[SOURCE].pointer, self.space.shifted(SOURCE, place[SOURCE], self.axis, index)
        )
        first = b.extract(largest, 0) if self.lanes else largest
        value = self.loss(b.reduce("sum", total), b.sub(first, own), whole, counts)
        b.store(value, self.space.views[self.writes[0]].pointer, place[self.writes[0]])

    def column(self, places: list[Place], count: Index | None) -> None:
        b, axis = self.b, self.axis - 1
        largest, totals = self.column_sums(places, count)
        labels = [self.classed(self.load(LABEL, p[LABEL], count)) for p in places]
        with b.loop(0, self.classes, 1, [b.const(0.0, self.type)] * len(places)) as loop:
            number = b.splat(b.cast("truncate", b.value(loop.index), "i32"), self.lanes)
            found = []
            for place, (whole, _), own in zip(places, labels, loop.carried, strict=True):
                value = self.source(self.moved(place, axis, loop.index), count)
                found.append(b.select(b.compare("eq", whole, number), value, own))
            loop.carry(found)
        for place, most, total, own, (whole, counts) in zip(
            places, largest, totals, loop.results, labels, strict=True
        ):
            value = self.loss(total, b.sub(most, own), whole, counts)
            self.store(value, self.writes[0], place[self.writes[0]], count)


class _Gradient(_Labelled):
    def scale(self, whole_counts: Value, scale: Value) -> Value:
        return self.b.select(whole_counts, scale, self.b.like(0, scale))

    def give(self, value: Value, place: Place, count: Index | None, index: Index | None) -> None:
        b = self.b
        if index is None:
            _, counts = self.classed(self.position(LABEL, place))
            scale = self.scale(counts, self.position(SCALE, place))
            self.store(b.mul(value, b.splat(scale, self.lanes)), self.writes[0], place[self.writes[0]], count)
            return
        whole, counts = self.classed(self.load(LABEL, place[LABEL], count))
        scale = self.scale(counts, self.load(SCALE, place[SCALE], count))
        number = b.splat(b.cast("truncate", b.value(index), "i32"), self.lanes)
        hit = b.select(b.compare("eq", whole, number), b.like(1, value), b.like(0, value))
        self.store(b.mul(b.sub(value, hit), scale), self.writes[0], place[self.writes[0]], count)

    def end_row(self, place: Place) -> None:
        """The label's own element is less by the scale."""
        b, write = self.b, self.writes[0]
        whole, counts = self.classed(self.position(LABEL, place))
        scale = self.scale(counts, self.position(SCALE, place))
        index = b.cast("extend", b.select(counts, whole, b.like(0, whole)), "i64")
        at = self.space.shifted(write, place[write], self.axis, index)
        pointer = self.space.views[write].pointer
        b.store(b.sub(b.load(pointer, at), scale), pointer, at)
