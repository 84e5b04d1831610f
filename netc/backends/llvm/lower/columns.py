"""How a row of outputs is cut into register tiles where windows slide over a padded input row.

With a known width, tiles at the edges know which taps fall into the padding and leave them out; equal
interior tiles become one loop. With a symbolic width, the interior is tiled and the rest is done output
by output with computed tap bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

from netc.ir.loop_builder import Index, LoopBuilder


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window along one axis: taps, stride, dilation, padding before and after.

    ``overhangs``: the last windows may reach beyond the padding (pooling that rounds up).
    """

    taps: int
    stride: int
    dilation: int
    before: int
    after: int
    overhangs: bool = False

    @property
    def extent(self) -> int:
        """The input positions that a window spans."""
        return self.dilation * (self.taps - 1) + 1

    def valid(self, output: int, tap: int, width: int) -> bool:
        """Whether a tap of an output lies inside of the input."""
        return 0 <= output * self.stride - self.before + tap * self.dilation < width

    def tap_bounds(self, b: LoopBuilder, output: Index, width: Index) -> tuple[Index, Index]:
        """First and one past the last tap of an output that lie inside of the input."""
        start = b.isub(b.imul(output, self.stride), self.before)
        first: Index = 0
        last: Index = self.taps
        if self.before:
            first = b.imin(self.taps, b.ceildiv(b.imax(0, b.isub(0, start)), self.dilation))
        if self.after or self.overhangs:
            last = b.imin(self.taps, b.ceildiv(b.imax(0, b.isub(width, start)), self.dilation))
        return first, last

    def output_bounds(self, b: LoopBuilder, tap: Index, width: Index, outputs: Index) -> tuple[Index, Index]:
        """First and one past the last output for which a tap lies inside of the input."""
        shift = b.isub(self.before, b.imul(tap, self.dilation))
        first = b.ceildiv(b.imax(0, shift), self.stride)
        last = b.ceildiv(b.imax(0, b.iadd(width, shift)), self.stride)
        return first, b.imin(last, outputs)


@dataclass(frozen=True, slots=True)
class Tile:
    """``size`` neighbouring outputs; ``repeat`` tiles of this kind follow each other from ``start``.

    ``taps[p]`` lists the taps of output p that exist; None: computed when the code runs (size is 1).
    """

    start: Index
    size: int
    repeat: Index
    taps: tuple[tuple[int, ...], ...] | None


def balanced(outputs: int, largest: int) -> tuple[int, int]:
    """The size of tiles, at most ``largest``, that covers a row in the fewest tiles; and the last one's."""
    count = -(-outputs // largest)
    size = -(-outputs // count)
    full = -(-outputs // size)
    return size, outputs - (full - 1) * size


def static_tiles(window: Window, outputs: int, width: int, largest: int) -> list[Tile]:
    """The tiles of a row of known width."""
    size, _ = balanced(outputs, largest)
    tiles: list[Tile] = []
    for start in range(0, outputs, size):
        here = min(size, outputs - start)
        taps = tuple(
            tuple(t for t in range(window.taps) if window.valid(start + p, t, width)) for p in range(here)
        )
        previous = tiles[-1] if tiles else None
        if previous is not None and previous.size == here and previous.taps == taps:
            assert isinstance(previous.repeat, int)
            tiles[-1] = Tile(previous.start, here, previous.repeat + 1, taps)
        else:
            tiles.append(Tile(start, here, 1, taps))
    return tiles


def symbolic_tiles(b: LoopBuilder, window: Window, outputs: Index, width: Index, largest: int) -> list[Tile]:
    """Left edge, interior tiles, and the rest; edge and rest output by output."""
    left = b.imin(outputs, max(0, -(-window.before // window.stride)))
    # outputs below this one have all their taps inside
    inside = b.isub(b.iadd(width, window.before), window.extent)
    right = b.imin(outputs, b.idiv(b.imax(0, b.iadd(inside, window.stride)), window.stride))
    count = b.idiv(b.imax(0, b.isub(right, left)), largest)
    rest = b.iadd(left, b.imul(count, largest))
    every = tuple(range(window.taps))
    return [
        Tile(0, 1, left, None),
        Tile(left, largest, count, (every,) * largest),
        Tile(rest, 1, b.isub(outputs, rest), None),
    ]
