"""One register of a space: how it is loaded, what follows the anchor, how it is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.point import apply
from netc.backends.llvm.lower.space import SOURCE, Space, arguments_read, write_names
from netc.ir.core import Op, Value
from netc.ir.loop_builder import Index

# the offset of a register in every view of a space
Place = dict[str, Index]


class Registers:
    """``lanes`` elements along ``axis`` of the space; 0: one element, as a scalar.

    ``count`` is how many of the elements exist, None where all do; lanes beyond are loaded as 0.
    """

    def __init__(
        self, kernel: Kernel, anchor: Op, tail: Sequence[Op], space: Space, axis: int, lanes: int
    ) -> None:
        self.kernel = kernel
        self.b = kernel.b
        self.anchor = anchor
        self.tail = tail
        self.space = space
        self.axis = axis
        self.lanes = lanes
        self.size = max(1, lanes)
        self.type = f"f32x{lanes}" if lanes else "f32"
        self.reads = arguments_read(kernel, tail)
        self.writes = write_names(kernel)

    def moved(self, place: Place, axis: int, index: Index) -> Place:
        """The place some elements further along an axis."""
        return {n: self.space.shifted(n, at, axis, index) for n, at in place.items()}

    def load(self, name: str, at: Index, count: Index | None = None) -> Value:
        """The register of a view at an offset."""
        b, pointer = self.b, self.space.views[name].pointer
        if not self.lanes or self.space.stride(name, self.axis) == 0:
            return b.splat(b.load(pointer, at), self.lanes)
        return b.load_first(pointer, at, self.size if count is None else count, self.lanes)

    def source(self, place: Place, count: Index | None = None) -> Value:
        """The register of the anchor's operand."""
        return self.load(SOURCE, place[SOURCE], count)

    def store(self, value: Value, name: str, at: Index, count: Index | None = None) -> None:
        """Write those lanes that exist."""
        pointer = self.space.views[name].pointer
        if self.lanes:
            value = self.b.splat(value, self.lanes)
            self.b.store_first(value, pointer, at, self.size if count is None else count)
        else:
            self.b.store(value, pointer, at)

    def existing(self, value: Value, count: Index | None, other: float) -> Value:
        """``other`` in lanes that do not exist."""
        if count is None or not self.lanes:
            return value
        return self.b.select(self.b.first_lanes(count, self.lanes), value, self.b.like(other, value))

    def finish(self, value: Value, place: Place, count: Index | None = None) -> None:
        """Run the elementwise ops on the anchor's result in a register, and store."""
        self.finish_all({self.anchor.result.name: value}, place, count)

    def finish_all(self, made: Mapping[str, Value], place: Place, count: Index | None = None) -> None:
        """The same for results by their names."""
        known = dict(made)
        known |= {name: self.load(name, place[name], count) for name in self.reads}
        values = apply(self.b, self.tail, known, self.kernel.body.results)
        for name, result in zip(self.writes, values, strict=True):
            self.store(result, name, place[name], count)


def lanes_along(kernel: Kernel, space: Space, axis: int, tail: Sequence[Op], *, results: bool = True) -> int:
    """The machine's lanes where registers can run along an axis, else 0.

    The source, the results and what the elementwise ops read must be contiguous there; with ``results``
    False, only the source.
    """
    dense = [SOURCE, *(write_names(kernel) if results else ())]
    loose = arguments_read(kernel, tail) if results else []
    fits = all(space.stride(n, axis) == 1 for n in dense) and all(
        space.stride(n, axis) in (0, 1) for n in loose
    )
    return kernel.target.lanes if fits else 0
