"""C expressions: numbers, dimensions, sums of products; what is known is folded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from netc.ir.dim import Dim, FloorDiv, Min, Symbol, SymDim

C_TYPES = {
    "f32": "float",
    "i64": "long long",
    "i32": "int",
    "u8": "unsigned char",
}


def c_float(value: float) -> str:
    """A float literal with the value's float32 bits."""
    number = np.float32(value)
    if np.isfinite(number):
        text = repr(float(str(number)))
        return f"{text}f"
    return f"netc_bits_to_float({int(number.view(np.uint32)):#x}u)"


def symbol_name(name: str) -> str:
    """The parameter that holds a symbol's value."""
    return f"size_{name}"


def c_dim(dim: Dim) -> str:
    """A dimension over the kernel's symbols, in parentheses where it is a sum."""
    if isinstance(dim, int):
        return str(dim)
    return _sum(dim)


def _sum(dim: SymDim) -> str:
    terms = []
    for atoms, factor in dim.terms:
        parts = [_atom(a) for a in atoms]
        if factor != 1 or not parts:
            parts.append(str(factor) if factor >= 0 else f"({factor})")
        terms.append(" * ".join(parts))
    return terms[0] if len(terms) == 1 and "*" not in terms[0] else f"({' + '.join(terms)})"


def _atom(atom: Symbol | FloorDiv | Min) -> str:
    if isinstance(atom, Symbol):
        return symbol_name(atom.name)
    if isinstance(atom, FloorDiv):
        return f"floor_div({c_dim(atom.numerator)}, {atom.denominator})"
    return f"min({c_dim(atom.left)}, {c_dim(atom.right)})"


def times(index: str, stride: Dim) -> str:
    """``index * stride``."""
    if stride == 0 or index == "0":
        return "0"
    if stride == 1:
        return index
    return f"{_grouped(index)} * {c_dim(stride)}"


def plus(*terms: str) -> str:
    """The sum of the terms that are not 0."""
    kept = [term for term in terms if term != "0"]
    return " + ".join(kept) if kept else "0"


def linear(indices: Iterable[str], strides: Sequence[Dim]) -> str:
    """``sum of index * stride``."""
    return plus(*(times(i, s) for i, s in zip(indices, strides, strict=True)))


def _grouped(text: str) -> str:
    return text if text.replace("_", "").isalnum() else f"({text})"


def split_index(index: str, extents: Sequence[Dim]) -> list[str]:
    """The row-major indices of a linear one; 0 along axes of extent 1."""
    found: list[str] = []
    inner: Dim = 1
    last = next((axis for axis, extent in enumerate(extents) if extent != 1), 0)
    for axis in reversed(range(len(extents))):
        extent = extents[axis]
        if extent == 1:
            found.append("0")
            continue
        # / and % bind alike, from left to right
        quotient = _grouped(index) if inner == 1 else f"{_grouped(index)} / {c_dim(inner)}"
        found.append(quotient if axis == last else f"{quotient} % {c_dim(extent)}")
        inner = inner * extent
    return found[::-1]
