"""Dimensions: normal form, arithmetic, text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netc.ir.dim import (
    Dim,
    SymDim,
    ceildiv,
    evaluate,
    exact_quotient,
    floordiv,
    minimum,
    parse_dim,
    product,
    substitute,
    symbol,
    symbols,
)

H, N, W = symbol("H"), symbol("N"), symbol("W")
SIZES = st.fixed_dictionaries({name: st.integers(1, 300) for name in "HNW"})

# an expression: a number, a symbol's name, or (operator, left, right)
EXPRESSIONS = st.recursive(
    st.integers(-40, 40) | st.sampled_from("HNW"),
    lambda inner: (
        st.tuples(st.sampled_from(["+", "-", "*", "min"]), inner, inner)
        | st.tuples(st.sampled_from(["floor", "ceil"]), inner, st.integers(1, 9))
    ),
    max_leaves=8,
)


def build(expression: Any) -> Dim:
    if isinstance(expression, int):
        return expression
    if isinstance(expression, str):
        return symbol(expression)
    operator, x, y = expression
    left, right = build(x), build(y)
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    return {"min": minimum, "floor": floordiv, "ceil": ceildiv}[operator](left, right)


def value(expression: Any, sizes: dict[str, int]) -> int:
    if isinstance(expression, int):
        return expression
    if isinstance(expression, str):
        return sizes[expression]
    operator, x, y = expression
    left, right = value(x, sizes), value(y, sizes)
    return {
        "+": left + right,
        "-": left - right,
        "*": left * right,
        "min": min(left, right),
        "floor": left // right if operator == "floor" else 0,
        "ceil": -(-left // right) if operator == "ceil" else 0,
    }[operator]


@given(EXPRESSIONS, SIZES)
def test_a_dimension_evaluates_to_what_python_computes(expression, sizes):
    assert evaluate(build(expression), sizes) == value(expression, sizes)


@given(EXPRESSIONS)
def test_the_text_of_a_dimension_reads_back_as_the_same_dimension(expression):
    dim = build(expression)
    assert parse_dim(str(dim)) == dim
    assert str(parse_dim(str(dim))) == str(dim)


@given(EXPRESSIONS, SIZES)
def test_substituting_one_symbol_after_the_other_gives_the_same_number(expression, sizes):
    dim = build(expression)
    for name, size in sizes.items():
        dim = substitute(dim, {name: size})
    assert dim == value(expression, sizes)


@given(EXPRESSIONS, EXPRESSIONS)
def test_sums_and_products_do_not_depend_on_the_order(left, right):
    x, y = build(left), build(right)
    assert x + y == y + x
    assert x * y == y * x
    assert minimum(x, y) == minimum(y, x)
    assert x - x == 0
    assert x + y - y == x


@given(EXPRESSIONS)
def test_a_dimension_has_no_symbols_exactly_if_it_is_a_number(expression):
    dim = build(expression)
    assert isinstance(dim, SymDim) == bool(symbols(dim))
    assert symbols(dim) <= {"H", "N", "W"}


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (N + 1, "N+1"),
        (1 - N, "-1*N+1"),
        (2 * N * H - 3, "2*H*N-3"),
        ((N + 1) * (N - 1), "N*N-1"),
        (floordiv(H + 1, 2), "floordiv(H+1, 2)"),
        (floordiv(2 * H + 5, 2), "H+2"),
        (floordiv(2 * H + 2, 4), "floordiv(H+1, 2)"),
        (floordiv(floordiv(H - 1, 2) + 1, 2), "floordiv(H+1, 4)"),
        (ceildiv(H, 2), "floordiv(H+1, 2)"),
        (minimum(H, W), "min(H, W)"),
        (minimum(H, H - 1), "H-1"),
        (minimum(3, 5), "3"),
        (product((N, 3, H, W)), "3*H*N*W"),
    ],
)
def test_a_dimension_prints_its_normal_form(dim, text):
    assert str(dim) == text


@given(st.integers(1, 12), st.integers(0, 11), st.integers(0, 11), st.integers(1, 9))
def test_the_smaller_of_two_roundings_of_one_size_needs_no_minimum(kernel, low, high, stride):
    low, high = low % kernel, high % kernel
    count = ceildiv(H + (low + high - kernel), stride) + 1
    assert "min" not in str(minimum(count, ceildiv(H + low, stride)))


def test_a_quotient_is_exact_only_where_it_is_whole_for_every_value():
    assert exact_quotient(6 * N, 3) == 2 * N
    assert exact_quotient(6 * N + 2, 3) is None
    assert exact_quotient(12 * N * H, 4 * N) == 3 * H
    assert exact_quotient(N + 1, N) is None
    assert exact_quotient(N + 1, N + 1) == 1
    assert exact_quotient(N, 0) is None


def test_a_missing_symbol_is_named():
    with pytest.raises(KeyError, match="W"):
        evaluate(H + W, {"H": 3})


@pytest.mark.parametrize("divisor", [0, -2])
def test_a_division_by_less_than_one_is_refused(divisor):
    with pytest.raises(ValueError, match=str(divisor)):
        floordiv(N, divisor)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "3N",
        "²",
        "é",
        "N+",
        "N N)",
        "(N",
        "max(N, 3)",
        "min(N)",
        "floordiv(N, H)",
        "floordiv(N, 0)",
        "N/2",
        "1.5",
        "9" * 30,
        "9" * 5000,
        "*".join(["9999999999"] * 20),
        "(" * 60 + "N" + ")" * 60,
        "min(" * 60 + "N" + ", 1)" * 60,
        "*".join(["(a+b+c+d+e)"] * 80),
        "+".join(["N"] * 2000),
    ],
)
def test_text_that_is_not_a_dimension_is_refused(text):
    with pytest.raises(ValueError):
        parse_dim(text)


@given(st.text("NHmin floordv(),+-*0123456789_", max_size=80))
def test_hostile_text_is_read_or_refused_with_a_value_error(text):
    try:
        dim = parse_dim(text)
    except ValueError:
        return
    assert parse_dim(str(dim)) == dim


def test_many_signs_do_not_exhaust_the_stack():
    assert parse_dim("-" * 900 + "3") == 3
