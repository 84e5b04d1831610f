"""Winograd's transforms of tiles in registers: products with constant matrices, every lane for itself.

The matrices come in pairs of rows or columns of opposite points (see :mod:`netc.ir.winograd_matrices`), whose
even and odd parts are equal up to the sign: half of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from netc.ir.core import Value
from netc.ir.loop_builder import LoopBuilder
from netc.ir.winograd_matrices import Winograd

Line = Callable[[Sequence[Value]], list[Value]]
Grid = list[list[Value]]


def transform_weights(b: LoopBuilder, matrices: Winograd, taps: Grid) -> Grid:
    """G g G^T of a window g: ``extent`` x ``extent`` factors."""
    return _both_ways(lambda line: [_combination(b, row, line) for row in matrices.weight], taps)


def transform_weights_row(b: LoopBuilder, matrices: Winograd, taps: Grid, row: int) -> list[Value]:
    """One row of `transform_weights`."""
    line = [_combination(b, matrices.weight[row], column) for column in zip(*taps, strict=True)]
    return [_combination(b, factors, line) for factors in matrices.weight]


def transform_inputs(b: LoopBuilder, matrices: Winograd, tile: Grid) -> Grid:
    """B^T d B of a tile d of ``extent`` x ``extent`` inputs."""
    return _both_ways(lambda line: _inputs(b, matrices, line), tile)


def transform_outputs(b: LoopBuilder, matrices: Winograd, products: Grid) -> Grid:
    """A^T m A: ``tile`` x ``tile`` outputs of ``extent`` x ``extent`` products."""
    return _both_ways(lambda line: _outputs(b, matrices, line), products)


def _both_ways(transform: Line, grid: Grid) -> Grid:
    """Columns first, then rows."""
    columns = [transform(column) for column in zip(*grid, strict=True)]
    return [transform(row) for row in zip(*columns, strict=True)]


def _inputs(b: LoopBuilder, matrices: Winograd, line: Sequence[Value]) -> list[Value]:
    rows = matrices.input
    found = [_combination(b, rows[0], line)]
    for plus, minus in zip(rows[1:-1:2], rows[2:-1:2], strict=True):
        even = _combination(b, [(p + m) / 2 for p, m in zip(plus, minus, strict=True)], line)
        half = [(p - m) / 2 for p, m in zip(plus, minus, strict=True)]
        scale = next(h for h in reversed(half) if h)
        odd = _combination(b, [h / scale for h in half], line)
        found += [_plus(b, even, scale, odd), _plus(b, even, -scale, odd)]
    return [*found, _combination(b, rows[-1], line)]


def _outputs(b: LoopBuilder, matrices: Winograd, line: Sequence[Value]) -> list[Value]:
    pairs = list(zip(line[1:-1:2], line[2:-1:2], strict=True))
    sums = [b.add(plus, minus) for plus, minus in pairs]
    differences = [b.sub(plus, minus) for plus, minus in pairs]
    found = []
    for power, row in enumerate(matrices.output):
        middle = differences if power % 2 else sums
        factors = [row[0], *row[1:-1:2], row[-1]]
        found.append(_combination(b, factors, [line[0], *middle, line[-1]]))
    return found


def _combination(b: LoopBuilder, factors: Sequence[Fraction], values: Sequence[Value]) -> Value:
    """The sum of factor * value; at least one factor is not zero."""
    terms = [(f, v) for f, v in zip(factors, values, strict=True) if f]
    # a term that needs no product comes first
    terms.sort(key=lambda term: term[0] != 1)
    (factor, total), *rest = terms
    if factor != 1:
        total = b.mul(total, b.like(float(factor), total))
    for factor, value in rest:
        total = _plus(b, total, factor, value)
    return total


def _plus(b: LoopBuilder, total: Value, factor: Fraction, value: Value) -> Value:
    if factor == 1:
        return b.add(total, value)
    if factor == -1:
        return b.sub(total, value)
    return b.fma(value, b.like(float(factor), value), total)
