"""Curves as text: every character of Braille is a grid of two by four dots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netc.runtime.solver.curves import Curve

_BLANK = 0x2800
# the bits of the dots, by column and row
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_ASCII = "#"
_LABEL = 10


def draw(curve: Curve, width: int, height: int, *, unicode: bool = True) -> list[str]:
    """The curve in ``height`` lines of at most ``width`` characters, with labels; none without finite points.

    Without ``unicode`` a character is one dot.
    """
    points = curve.finite
    columns, rows = max(1, width - _LABEL - 2), max(1, height - 1)
    if not points or width < _LABEL + 4 or height < 2:
        return []
    across, down = (2, 4) if unicode else (1, 1)
    grid = _grid(points, columns * across, rows * down)
    low, high = min(y for _, y in points), max(y for _, y in points)
    lines = []
    for row in range(rows):
        label = f"{high:.4g}" if row == 0 else f"{low:.4g}" if row == rows - 1 else ""
        cells = (_cell(grid, column, row, unicode) for column in range(columns))
        lines.append(f"{label:>{_LABEL}} {'|' if not unicode else '┤'}{''.join(cells)}".rstrip())
    first, last = f"{points[0][0]:g}", f"{points[-1][0]:g}"
    gap = max(1, columns - len(first) - len(last))
    lines.append(" " * (_LABEL + 2) + first + " " * gap + last)
    return lines


def _grid(points: Sequence[tuple[float, float]], width: int, height: int) -> list[list[bool]]:
    """Which dots are set: the mean of the points in each column, joined."""
    left, right = points[0][0], points[-1][0]
    low, high = min(y for _, y in points), max(y for _, y in points)
    columns: list[list[float]] = [[] for _ in range(width)]
    for x, y in points:
        place = (x - left) / (right - left) if right > left else 0.0
        columns[min(width - 1, max(0, int(place * (width - 1) + 0.5)))].append(y)
    grid = [[False] * width for _ in range(height)]
    before: tuple[int, int] | None = None
    for column, values in enumerate(columns):
        if not values:
            continue
        mean = sum(values) / len(values)
        share = (mean - low) / (high - low) if high > low else 0.5
        here = column, int((1 - share) * (height - 1) + 0.5)
        for x, y in _line(here if before is None else before, here):
            grid[y][x] = True
        before = here
    return grid


def _line(start: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The dots of a straight line."""
    across, down = end[0] - start[0], end[1] - start[1]
    steps = max(abs(across), abs(down), 1)
    for step in range(steps + 1):
        yield start[0] + round(across * step / steps), start[1] + round(down * step / steps)


def _cell(grid: list[list[bool]], column: int, row: int, unicode: bool) -> str:
    if not unicode:
        return _ASCII if grid[row][column] else " "
    bits = sum(
        _DOTS[x][y] for x in range(2) for y in range(4) if grid[4 * row + y][2 * column + x]
    )  # fmt: skip
    return chr(_BLANK + bits) if bits else " "
