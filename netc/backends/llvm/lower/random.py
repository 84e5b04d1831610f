"""Random numbers and dropout: the words of Philox 4x32 for each element's position, computed in registers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.backends.llvm.lower.point import apply
from netc.backends.llvm.lower.space import (
    SOURCE,
    Space,
    View,
    arguments_read,
    result_views,
    storage_axes,
    write_names,
)
from netc.backends.llvm.lower.sweep import sweep
from netc.ir.core import Op, Value
from netc.ir.dim import Dim
from netc.ir.loop_builder import LoopBuilder
from netc.ir.ops.random import FRACTION_BITS, KEY_STEPS, MULTIPLIERS, ROUNDS, least_kept
from netc.ir.types import TensorType, VectorType, contiguous_strides

POSITIONS = "#"  # the view of the logical positions
LOW = 0xFFFFFFFF


def lower_dropout(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``random.dropout``."""
    b = kernel.b
    x, state = (kernel.operand(v) for v in anchor.operands)
    draw = _Philox(b, state, anchor.attrs.stream)
    least, scale = least_kept(anchor.attrs.ratio), 1 / (1 - anchor.attrs.ratio)

    def dropped(registers: Mapping[str, Value]) -> Value:
        value, bits = registers[SOURCE], draw.bits(registers[POSITIONS])
        kept = b.compare("ge", bits, b.like(least, bits))
        return b.mul(value, b.select(kept, b.like(scale, value), b.like(0, value)))

    _sweep(kernel, anchor, tail, dropped, {SOURCE: View(x.pointer, x.stride_dims)})


def lower_uniform(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``random.uniform``."""
    b = kernel.b
    draw = _Philox(b, kernel.operand(anchor.operands[0]), anchor.attrs.stream)

    def drawn(registers: Mapping[str, Value]) -> Value:
        value = b.cast("to_float", draw.bits(registers[POSITIONS]), "f32")
        return b.mul(value, b.like(2.0**-FRACTION_BITS, value))

    _sweep(kernel, anchor, tail, drawn, {})


def lower_next(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of a ``random.next``."""
    del tail
    b = kernel.b
    before, after = kernel.operand(anchor.operands[0]), kernel.writes[0]
    first, last = kernel.share(1)
    with b.loop(first, last):
        seed, step = (b.load(before.pointer, i) for i in range(2))
        b.store(seed, after.pointer, 0)
        # the step wraps, and a scalar sum may not
        following = b.add(b.splat(step, 2), b.const(1, "i64x2"))
        b.store(b.extract(following, 0), after.pointer, 1)


def _sweep(
    kernel: Kernel,
    anchor: Op,
    tail: Sequence[Op],
    compute: Callable[[Mapping[str, Value]], Value],
    sources: Mapping[str, View],
) -> None:
    type_ = kernel.writes[0].type
    views = result_views(kernel, tail) | dict(sources)
    # nothing is read through the pointer
    views[POSITIONS] = View(kernel.writes[0].pointer, logical_strides(type_))
    space = Space(kernel.b, storage_axes(type_), views).merged()

    def values(registers: Mapping[str, Value]) -> list[Value]:
        known = {**registers, anchor.result.name: compute(registers)}
        return apply(kernel.b, tail, known, kernel.body.results)

    reads = [*sources, POSITIONS, *arguments_read(kernel, tail)]
    sweep(kernel, space, reads, write_names(kernel), values, 1, POSITIONS)


def logical_strides(type_: TensorType) -> tuple[Dim, ...]:
    """For the storage axes of a type: how far apart elements are in the row-major order."""
    strides = list(contiguous_strides(type_.with_layout(None)))
    if type_.layout is None:
        return tuple(strides)
    lane = strides[type_.layout.axis]
    strides[type_.layout.axis] = lane * type_.layout.size
    return (*strides, lane)


class _Philox:
    """The draws of a stream at a state, see :mod:`netc.ir.ops.random`; the keys are made where it is made."""

    def __init__(self, b: LoopBuilder, state: Memory, stream: int) -> None:
        self.b = b
        seed, step = (b.load(state.pointer, i) for i in range(2))
        self.stream = b.const(stream, "i64")
        self.step = self.halves(step)
        self.keys = [
            [
                self.low(b.add(k, b.const(turn * s, "i64")))
                for k, s in zip(self.halves(seed), KEY_STEPS, strict=True)
            ]
            for turn in range(ROUNDS)
        ]

    def low(self, x: Value) -> Value:
        """The lower 32 bits."""
        return self.b.binary("and", x, self.b.like(LOW, x))

    def high(self, x: Value) -> Value:
        """The upper 32 bits."""
        return self.b.binary("shr", x, self.b.like(32, x))

    def halves(self, x: Value) -> tuple[Value, Value]:
        return self.low(x), self.high(x)

    def bits(self, positions: Value) -> Value:
        """A whole number below 2^24 for each position; both as i64."""
        b = self.b
        if not isinstance(positions.type, VectorType):
            # products of scalars may not overflow
            return b.extract(self.bits(b.splat(positions, 2)), 0)
        lanes = positions.type.lanes
        block = b.binary("shr", positions, b.like(2, positions))
        words = [block, *(b.splat(v, lanes) for v in (self.stream, *self.step))]
        for keys in self.keys:
            one, three = (b.mul(x, b.like(m, x)) for x, m in zip(words[::2], MULTIPLIERS, strict=True))
            mixed = [b.binary("xor", self.high(p), w) for p, w in ((three, words[1]), (one, words[3]))]
            left, right = (b.binary("xor", m, b.splat(k, lanes)) for m, k in zip(mixed, keys, strict=True))
            words = [left, self.low(three), right, self.low(one)]
        which = b.binary("and", positions, b.like(3, positions))
        word = words[3]
        for i in reversed(range(3)):
            word = b.select(b.compare("eq", which, b.like(i, which)), words[i], word)
        return b.binary("shr", word, b.like(32 - FRACTION_BITS, word))
