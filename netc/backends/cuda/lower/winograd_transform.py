"""Winograd's transforms of a tile in registers: M t M^T with a constant matrix, zeros and ones left out."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.text import c_float
from netc.ir.winograd_matrices import Matrix


def emit_transform(kernel: Kernel, matrix: Matrix, given: str, made: str) -> None:
    """Declare the array ``made`` [r, r] of the array ``given`` [c, c], for a matrix of r x c."""
    rows, columns = len(matrix), len(matrix[0])
    kernel.line(f"float half[{rows}][{columns}], {made}[{rows}][{rows}];")
    with kernel.unrolled("j", columns):
        for i, row in enumerate(matrix):
            kernel.line(f"half[{i}][j] = {_sum(row, [f'{given}[{k}][j]' for k in range(columns)])};")
    with kernel.unrolled("i", rows):
        for j, row in enumerate(matrix):
            kernel.line(f"{made}[i][{j}] = {_sum(row, [f'half[i][{k}]' for k in range(columns)])};")


def _sum(factors: Sequence[Fraction], values: Sequence[str]) -> str:
    """The sum of factor * value; at least one factor is not zero."""
    text = ""
    for factor, value in zip(factors, values, strict=True):
        if not factor:
            continue
        size = abs(factor)
        term = value if size == 1 else f"{c_float(float(size))} * {value}"
        sign = " - " if factor < 0 else " + "
        text += f"{sign}{term}" if text else f"-{term}" if factor < 0 else term
    return text
