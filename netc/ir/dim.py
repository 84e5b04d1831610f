"""Dimensions: integers, or integer expressions over symbols such as ``N``, ``H``, ``W``.

An expression is kept in a normal form (a sum of integer multiples of products of atoms), so that two
equal dimensions compare equal. Atoms are symbols, floor divisions by a positive constant, and minima:
just what the output-size rules of convolution and pooling need. A symbol stands for an integer >= 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Symbol:
    """A named unknown size."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class FloorDiv:
    """``numerator // denominator`` with a constant denominator >= 2."""

    numerator: SymDim
    denominator: int

    def __str__(self) -> str:
        return f"floordiv({self.numerator}, {self.denominator})"


@dataclass(frozen=True, slots=True)
class Min:
    """The smaller of two dimensions, ordered by their text."""

    left: Dim
    right: Dim

    def __str__(self) -> str:
        return f"min({self.left}, {self.right})"


Atom = Symbol | FloorDiv | Min


@dataclass(frozen=True, slots=True)
class SymDim:
    """A dimension that is not a constant: ``sum(coefficient * product(atoms))``, sorted by text.

    Build it with :func:`symbol` and the operators; results that turn out constant are plain ints.
    """

    terms: tuple[tuple[tuple[Atom, ...], int], ...]

    def __add__(self, other: Dim) -> Dim:
        return _from_terms([*self.terms, *_terms(other)])

    __radd__ = __add__

    def __sub__(self, other: Dim) -> Dim:
        return self + -1 * other

    def __rsub__(self, other: Dim) -> Dim:
        return -1 * self + other

    def __mul__(self, other: Dim) -> Dim:
        return _from_terms([(a + b, m * n) for a, m in self.terms for b, n in _terms(other)])

    __rmul__ = __mul__

    def __floordiv__(self, divisor: int) -> Dim:
        return floordiv(self, divisor)

    def __str__(self) -> str:
        def show(atoms: tuple[Atom, ...], factor: int) -> str:
            names = [str(a) for a in atoms]
            if not names:
                return str(factor)
            head = {1: [], -1: ["-1"]}.get(factor, [str(factor)])
            return "*".join(head + names)

        return "+".join(show(a, c) for a, c in self.terms).replace("+-", "-")


Dim = int | SymDim


def symbol(name: str) -> SymDim:
    """The dimension called ``name``."""
    return SymDim((((Symbol(name),), 1),))


def _terms(dim: Dim) -> tuple[tuple[tuple[Atom, ...], int], ...]:
    return ((((), dim),) if dim else ()) if isinstance(dim, int) else dim.terms


def _from_terms(terms: list[tuple[tuple[Atom, ...], int]]) -> Dim:
    merged: dict[tuple[Atom, ...], int] = {}
    for atoms, factor in terms:
        key = tuple(sorted(atoms, key=str))
        merged[key] = merged.get(key, 0) + factor
    kept = {k: v for k, v in merged.items() if v}
    if not kept:
        return 0
    if set(kept) == {()}:
        return kept[()]
    # constants last, then by text: `2*N+1`
    return SymDim(tuple(sorted(kept.items(), key=lambda t: (not t[0], [str(a) for a in t[0]]))))


def floordiv(dim: Dim, divisor: int) -> Dim:
    """``floor(dim / divisor)``; multiples of the divisor are taken out of the division."""
    if divisor < 1:
        raise ValueError(f"division of a dimension by {divisor}")
    if isinstance(dim, int):
        return dim // divisor
    if divisor == 1:
        return dim
    whole = [(a, c // divisor) for a, c in dim.terms if c % divisor == 0]
    rest = [(a, c) for a, c in dim.terms if c % divisor != 0]
    constant = sum(c for a, c in rest if not a)
    if constant // divisor:  # keep the constant inside within [0, divisor)
        whole.append(((), constant // divisor))
        rest = [(a, c) for a, c in rest if a] + [((), constant % divisor)]
    inner, divisor = _shared_factor_removed(_from_terms(rest), divisor)
    if isinstance(inner, int):
        return _from_terms([*whole, ((), inner // divisor)])
    nested = _quotient_and_constant(inner)
    if nested is not None:  # floor((floor(x/m) + c) / n) = floor((x + c*m) / (m*n))
        quotient, constant = nested
        return _from_terms(
            [
                *whole,
                *_terms(
                    floordiv(
                        quotient.numerator + constant * quotient.denominator, quotient.denominator * divisor
                    )
                ),
            ]
        )
    return _from_terms([*whole, ((FloorDiv(inner, divisor),), 1)])


def _shared_factor_removed(dim: Dim, divisor: int) -> tuple[Dim, int]:
    """floor((g*x + c) / (g*n)) = floor((x + floor(c/g)) / n)."""
    shared = math.gcd(divisor, *(c for a, c in _terms(dim) if a))
    return (_from_terms([(a, c // shared) for a, c in _terms(dim)]), divisor // shared)


def _quotient_and_constant(dim: SymDim) -> tuple[FloorDiv, int] | None:
    """``(q, c)`` where the dimension is ``q + c`` with q a floor division."""
    (atoms, factor), *rest = dim.terms
    if factor == 1 and len(atoms) == 1 and isinstance(atoms[0], FloorDiv):
        if not rest:
            return atoms[0], 0
        if len(rest) == 1 and not rest[0][0]:
            return atoms[0], rest[0][1]
    return None


def ceildiv(dim: Dim, divisor: int) -> Dim:
    """``ceil(dim / divisor)``."""
    return floordiv(dim + (divisor - 1), divisor)


def minimum(left: Dim, right: Dim) -> Dim:
    """The smaller dimension; decided at once where the sign of the difference is known."""
    low, high = _bounds(left - right)
    if high <= 0:
        return left
    if low >= 0:
        return right
    first, second = sorted((left, right), key=str)
    return SymDim((((Min(first, second),), 1),))


def _bounds(difference: Dim) -> tuple[float, float]:
    """Between which numbers a difference lies, as far as this is easy to see.

    Sees constants, and floor(x/d) - floor(y/d) + c with x - y constant: two roundings of one size, which
    pooling compares.
    """
    if isinstance(difference, int):
        return difference, difference
    constant = sum(c for a, c in difference.terms if not a)
    quotients = {c: a[0] for a, c in difference.terms if len(a) == 1 and isinstance(a[0], FloorDiv)}
    if len(difference.terms) == 2 + (constant != 0) and quotients.keys() == {1, -1}:
        plus, minus = quotients[1], quotients[-1]
        if plus.denominator == minus.denominator:
            apart = plus.numerator - minus.numerator
            if isinstance(apart, int):
                return apart // plus.denominator + constant, -(-apart // plus.denominator) + constant
    return -math.inf, math.inf


def exact_quotient(dim: Dim, divisor: Dim) -> Dim | None:
    """``dim / divisor`` where it is a whole dimension for every value of the symbols, else None."""
    if isinstance(divisor, int):
        if divisor == 0 or any(c % divisor for _, c in _terms(dim)):
            return None
        return _from_terms([(a, c // divisor) for a, c in _terms(dim)])
    if len(divisor.terms) != 1:
        return 1 if dim == divisor else None
    ((atoms, factor),) = divisor.terms
    out: list[tuple[tuple[Atom, ...], int]] = []
    for have, coefficient in _terms(dim):
        left = list(have)
        for atom in atoms:
            if atom not in left:
                return None
            left.remove(atom)
        if coefficient % factor:
            return None
        out.append((tuple(left), coefficient // factor))
    return _from_terms(out)


def product(dims: tuple[Dim, ...]) -> Dim:
    """The product of the dimensions, 1 for none."""
    return math.prod(dims, start=1) if all(isinstance(d, int) for d in dims) else _product(dims)


def _product(dims: tuple[Dim, ...]) -> Dim:
    total: Dim = 1
    for dim in dims:
        total = total * dim
    return total


def substitute(dim: Dim, values: Mapping[str, Dim]) -> Dim:
    """Replace symbols; symbols not in ``values`` stay."""
    if isinstance(dim, int):
        return dim
    total: Dim = 0
    for atoms, coefficient in dim.terms:
        part: Dim = coefficient
        for atom in atoms:
            part = part * _substitute_atom(atom, values)
        total = total + part
    return total


def _substitute_atom(atom: Atom, values: Mapping[str, Dim]) -> Dim:
    if isinstance(atom, Symbol):
        return values.get(atom.name, SymDim((((atom,), 1),)))
    if isinstance(atom, FloorDiv):
        return floordiv(substitute(atom.numerator, values), atom.denominator)
    return minimum(substitute(atom.left, values), substitute(atom.right, values))


def evaluate(dim: Dim, values: Mapping[str, int]) -> int:
    """The number a dimension stands for; KeyError names a symbol without a value."""
    result = substitute(dim, values)
    if isinstance(result, int):
        return result
    raise KeyError(next(iter(symbols(result))))


def symbols(dim: Dim) -> frozenset[str]:
    """The names of the symbols in a dimension."""
    if isinstance(dim, int):
        return frozenset()
    found: set[str] = set()
    for atoms, _ in dim.terms:
        for atom in atoms:
            if isinstance(atom, Symbol):
                found.add(atom.name)
            elif isinstance(atom, FloorDiv):
                found |= symbols(atom.numerator)
            else:
                found |= symbols(atom.left) | symbols(atom.right)
    return frozenset(found)


def parse_dim(text: str) -> Dim:
    """Read what ``str(dim)`` prints. Raises ValueError on anything else."""
    if text.isdecimal() and text.isascii() and len(text) <= MAX_DIGITS:
        return int(text)  # nearly all are numbers
    parser = _DimParser(text)
    result = parser.sum()
    parser.expect_end()
    return result


MAX_TEXT = 1000
MAX_DEPTH = 50
MAX_TERMS = 100
MAX_NUMBER = 2**63
MAX_DIGITS = 18  # of numbers that cannot be too large
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+(?![A-Za-z_])")


class _DimParser:
    """Recursive descent over ``sum := product (('+'|'-') product)*`` and function calls.

    Length, depth and the size of products are bounded: normal forms of hostile text would not end.
    """

    def __init__(self, text: str) -> None:
        self.text = text.replace(" ", "")
        if len(self.text) > MAX_TEXT:
            raise ValueError(f"a dimension expression is longer than {MAX_TEXT} characters")
        self.at = 0
        self.depth = 0

    def sum(self) -> Dim:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"a dimension expression nests more than {MAX_DEPTH} deep")
        total = self.product()
        while self.peek() in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            total = total + sign * self.product()
        self.depth -= 1
        return total

    def product(self) -> Dim:
        total = self.atom()
        while self.peek() == "*":
            self.take()
            factor = self.atom()
            if len(_terms(total)) * len(_terms(factor)) > MAX_TERMS:
                raise ValueError(f"a dimension expression has more than {MAX_TERMS} terms")
            total = total * factor
            if any(abs(c) >= MAX_NUMBER for _, c in _terms(total)):
                raise ValueError("a number of a dimension does not fit into 64 bits")
        return total

    def atom(self) -> Dim:
        sign = 1
        while self.peek() == "-":
            self.take()
            sign = -sign
        return sign * self.unsigned()

    def unsigned(self) -> Dim:
        if self.peek() == "(":
            self.take()
            inner = self.sum()
            self.expect(")")
            return inner
        word = self.word()
        if word.isdecimal():
            if len(word) > len(str(MAX_NUMBER)) or int(word) >= MAX_NUMBER:
                raise ValueError("a number of a dimension does not fit into 64 bits")
            return int(word)
        if self.peek() != "(":
            return symbol(word)
        self.take()
        left = self.sum()
        self.expect(",")
        right = self.sum()
        self.expect(")")
        call: dict[str, Callable[[Dim, Dim], Dim]] = {"floordiv": _parsed_floordiv, "min": minimum}
        if word not in call:
            raise ValueError(f"unknown function '{word}' in dimension '{self.text}'")
        return call[word](left, right)

    def word(self) -> str:
        match = _NAME.match(self.text, self.at)
        if match is None:
            raise ValueError(f"expected a number or a name at column {self.at + 1} of '{self.text}'")
        self.at = match.end()
        return match[0]

    def peek(self) -> str:
        return self.text[self.at] if self.at < len(self.text) else ""

    def take(self) -> str:
        self.at += 1
        return self.text[self.at - 1]

    def expect(self, char: str) -> None:
        if self.peek() != char:
            raise ValueError(f"expected '{char}' at column {self.at + 1} of dimension '{self.text}'")
        self.at += 1

    def expect_end(self) -> None:
        if self.at != len(self.text):
            raise ValueError(f"unexpected '{self.text[self.at]}' in dimension '{self.text}'")


def _parsed_floordiv(left: Dim, right: Dim) -> Dim:
    if not isinstance(right, int):
        raise ValueError(f"floordiv needs a constant divisor, got '{right}'")
    return floordiv(left, right)
