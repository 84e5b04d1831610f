"""Matrix products that a library may compute: those of plain matrices, without gathering."""

from __future__ import annotations

from netc.backends.cuda.kernel import Kernel, LibraryProduct, Memory
from netc.backends.cuda.lower.product import Matrix, Operand, Product, Windows
from netc.ir.dim import Dim


def library_product(kernel: Kernel, product: Product) -> LibraryProduct | None:
    """The product as a library takes it, its result in scratch memory; None where it takes none such."""
    a, b = _plain(product.a), _plain(product.b)
    extents = (product.m, product.n, product.k)
    if a is None or b is None or product.groups != 1 or product.inside is not None:
        return None
    m, n, k = (d if isinstance(d, int) else 0 for d in extents)
    if not (m and n and k):
        return None
    return LibraryProduct(
        m, n, k, kernel.pointer_number(a[0]), a[1], kernel.pointer_number(b[0]), b[1], kernel.precision
    )


def _plain(operand: Operand) -> tuple[Memory, tuple[int, int]] | None:
    """The memory and the strides of (row, column), one of which is 1."""
    strides: tuple[Dim, Dim] | None = None
    if isinstance(operand, Matrix):
        if len(operand.columns) == 1:
            strides = (operand.row_stride, operand.columns[0][1])
    elif isinstance(operand, Windows) and operand.is_one_plane:
        channel = operand.memory.strides[1]
        strides = (channel, 1) if operand.by_taps else (1, channel)
    if strides is None or 1 not in strides:
        return None
    row, column = strides
    if not (isinstance(row, int) and isinstance(column, int)):
        return None
    assert isinstance(operand, Matrix | Windows)
    return operand.memory, (row, column)
