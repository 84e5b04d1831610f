"""Mathematical functions on float32 registers: scalars, or vectors of any length.

========  ===========  =============================================================
function  error (ulp)  notes
========  ===========  =============================================================
exp       1.1          inf above 88.72
log       0.8          log(0) = -inf, NaN below 0
tanh      1.4
sigmoid   1.9          also relative to the tiny results for x far below 0
elu       1.0          of its negative branch, for alpha 1
pow       0.51         general exponents, through float64; special cases as C's pow
pow       0.5 to 3.5   exponents made of products and square roots (see `power`)
========  ===========  =============================================================

All take every float32; NaN stays NaN. The errors are measured in the tests over all magnitudes, with
denormal numbers flushed to zero, as the runtime does.

The polynomials are minimax fits of our own: ``benchmarks/fit_math.py`` derives and prints them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from netc.ir.core import Value
from netc.ir.loop_builder import LoopBuilder
from netc.ir.types import VectorType

# e^r = 1 + r + r^2 * P(r) for |r| <= ln(2) / 2; relative error 2^-28
EXP_TAIL = (
    0.4999999403953552,
    0.1666652113199234,
    0.04166826605796814,
    0.008368677459657192,
    0.001382073387503624,
)
# log(1 + f) = f - f^2 / 2 + f^3 * P(f) for sqrt(1/2) <= 1 + f <= sqrt(2); relative error 2^-30
LOG_TAIL = (
    0.3333331346511841,
    -0.25000008940696716,
    0.2000207155942917,
    -0.16667988896369934,
    0.14220358431339264,
    -0.12406233698129654,
    0.11883548647165298,
    -0.11670098453760147,
    0.06749269366264343,
)
# tanh(x) = x + x^3 * P(x^2) for |x| <= 0.63; relative error 2^-27
TANH_TAIL = (
    -0.33333274722099304,
    0.1333123743534088,
    -0.05372201278805733,
    0.020579639822244644,
    -0.005636954214423895,
)
# log2(m) = z * P(z^2), z = (m - 1) / (m + 1), for sqrt(1/2) <= m <= sqrt(2); relative error 2^-37
LOG2_RATIO = (
    2.885390081792118,
    0.9617966723414724,
    0.577083715931715,
    0.41166642778880974,
    0.34083019322287617,
)
# 2^f = 1 + f * P(f) for |f| <= 1/2; relative error 2^-34
EXP2_TAIL = (
    0.6931471805416226,
    0.24022651076303914,
    0.05550410962698038,
    0.009618036837663192,
    0.0013333430675111085,
    0.00015467135641853715,
    1.5314974173303436e-05,
)

# ln(2) in two parts; the first has few bits, so that small multiples of it are exact
LN2_HIGH = 0.693145751953125
LN2_LOW = 1.428606765330187e-06
# added to a number below 2^22, it leaves that number rounded to an integer in the lowest bits
ROUNDER = 12582912.0
ROUNDER_F64 = 6755399441055744.0
SQRT_HALF_BITS = 0x3F3504F3
ONE_BITS = 0x3F800000
LARGEST_EXPONENT = 1e30


def _like(dtype: str, x: Value) -> str:
    """The type text of registers shaped like ``x`` with another dtype."""
    return f"{dtype}x{x.type.lanes}" if isinstance(x.type, VectorType) else dtype


def polynomial(b: LoopBuilder, x: Value, coefficients: Sequence[float]) -> Value:
    """sum(coefficients[i] * x^i), by Horner's rule."""
    total = b.like(coefficients[-1], x)
    for coefficient in reversed(coefficients[:-1]):
        total = b.fma(total, x, b.like(coefficient, x))
    return total


def _clamped(b: LoopBuilder, x: Value, low: float, high: float) -> Value:
    """x within bounds; NaN stays NaN, for min and max give their second operand then."""
    return b.maximum(b.like(low, x), b.binary("min", b.like(high, x), x))


def _power_of_two(b: LoopBuilder, rounded: Value) -> Value:
    """2^n, where ``rounded`` is n + ROUNDER, for n of normal numbers."""
    integer = _like("i32", rounded)
    bits = b.cast("bitcast", rounded, "i32")
    bits = b.binary("shl", bits, b.const(23, integer))
    return b.cast("bitcast", b.add(bits, b.const(ONE_BITS, integer)), "f32")


def _reduced(b: LoopBuilder, x: Value) -> tuple[Value, Value, Value]:
    """n + ROUNDER, n, e^r - 1 with x = n ln(2) + r."""
    shifted = b.fma(x, b.like(1 / math.log(2), x), b.like(ROUNDER, x))
    n = b.sub(shifted, b.like(ROUNDER, x))
    r = b.fma(n, b.like(-LN2_HIGH, x), x)
    r = b.fma(n, b.like(-LN2_LOW, x), r)
    return shifted, n, b.fma(b.mul(r, r), polynomial(b, r, EXP_TAIL), r)


def exp(b: LoopBuilder, x: Value) -> Value:
    """e^x."""
    x = _clamped(b, x, -104.0, 89.0)
    _, n, tail = _reduced(b, x)
    # 2^n may be no normal number, though the result is one: multiply by its two halves
    rounder = b.like(ROUNDER, x)
    half = b.fma(n, b.like(0.5, x), rounder)
    other = b.add(b.sub(n, b.sub(half, rounder)), rounder)
    value = b.mul(b.add(tail, b.like(1, x)), _power_of_two(b, half))
    return b.mul(value, _power_of_two(b, other))


def exp_nonpositive(b: LoopBuilder, x: Value) -> Value:
    """e^x for x <= 0 (or NaN); 0 where the result would be denormal."""
    # at the bound n is -127, and what stands for 2^n is 0
    x = b.maximum(b.like(-87.9, x), x)
    shifted, _, tail = _reduced(b, x)
    scale = _power_of_two(b, shifted)
    return b.fma(scale, tail, scale)


def _expm1(b: LoopBuilder, x: Value) -> Value:
    """e^x - 1 for |x| <= 80 (or NaN)."""
    shifted, _, tail = _reduced(b, x)
    scale = _power_of_two(b, shifted)
    return b.fma(scale, tail, b.sub(scale, b.like(1, x)))


def tanh(b: LoopBuilder, x: Value) -> Value:
    """The hyperbolic tangent."""
    square = b.mul(x, x)
    small = b.fma(b.mul(square, x), polynomial(b, square, TANH_TAIL), x)
    # from 9.1 on the result is 1
    size = b.binary("min", b.like(9.1, x), b.unary("abs", x))
    shifted, _, tail = _reduced(b, b.add(size, size))
    scale = _power_of_two(b, shifted)
    grown = b.add(b.fma(scale, tail, scale), b.like(1, x))
    large = with_sign_of(b, b.sub(b.like(1, x), b.div(b.like(2, x), grown)), x)
    return b.select(b.compare("lt", size, b.like(0.63, x)), small, large)


def with_sign_of(b: LoopBuilder, magnitude: Value, x: Value) -> Value:
    """``magnitude`` (>= 0 or NaN) with the sign of x."""
    integer = _like("i32", x)
    sign = b.binary("and", b.cast("bitcast", x, "i32"), b.const(-(1 << 31), integer))
    return b.cast("bitcast", b.binary("or", b.cast("bitcast", magnitude, "i32"), sign), "f32")


def sigmoid(b: LoopBuilder, x: Value) -> Value:
    """1 / (1 + e^-x), as e^x / (1 + e^x) for negative x."""
    one = b.like(1, x)
    e = exp(b, b.unary("neg", b.unary("abs", x)))
    total = b.add(one, e)
    ratio = b.div(e, total)
    above = b.sub(one, ratio)
    # what the sum lost when it was rounded
    lost = b.sub(e, b.sub(total, one))
    below = b.fma(b.mul(ratio, lost), b.unary("neg", above), ratio)
    return b.select(b.compare("lt", x, b.like(0, x)), below, above)


def elu(b: LoopBuilder, x: Value, alpha: float) -> Value:
    """x where x > 0, else alpha * (e^x - 1)."""
    zero = b.like(0, x)
    low = b.maximum(b.like(-20, x), b.binary("min", zero, x))
    negative = b.mul(b.like(alpha, x), _expm1(b, low))
    return b.select(b.compare("gt", x, zero), x, negative)


def _split(b: LoopBuilder, x: Value) -> tuple[Value, Value]:
    """x = m * 2^e for positive finite x: m from sqrt(1/2) to sqrt(2), and e, as floats."""
    integer = _like("i32", x)
    denormal = b.compare("lt", x, b.like(2.0**-126, x))
    scaled = b.select(denormal, b.mul(x, b.like(2.0**24, x)), x)
    bits = b.add(b.cast("bitcast", scaled, "i32"), b.const(ONE_BITS - SQRT_HALF_BITS, integer))
    exponent = b.cast("to_float", b.binary("shr", bits, b.const(23, integer)), "f32")
    exponent = b.sub(exponent, b.select(denormal, b.like(127 + 24, x), b.like(127, x)))
    bits = b.binary("and", bits, b.const(0x7FFFFF, integer))
    return b.cast("bitcast", b.add(bits, b.const(SQRT_HALF_BITS, integer)), "f32"), exponent


def log(b: LoopBuilder, x: Value) -> Value:
    """The natural logarithm."""
    m, e = _split(b, x)
    f = b.sub(m, b.like(1, x))
    square = b.mul(f, f)
    tail = b.fma(e, b.like(LN2_LOW, x), b.mul(b.mul(square, f), polynomial(b, f, LOG_TAIL)))
    tail = b.fma(square, b.like(-0.5, x), tail)
    value = b.fma(e, b.like(LN2_HIGH, x), b.add(f, tail))
    zero, infinity = b.like(0, x), b.like(math.inf, x)
    value = b.select(b.compare("lt", x, infinity), value, x)  # inf, and NaN
    value = b.select(b.compare("lt", x, zero), b.like(math.nan, x), value)
    return b.select(b.compare("eq", x, zero), b.like(-math.inf, x), value)


# --- powers ---
def power(b: LoopBuilder, x: Value, exponent: float, *, signed: bool = True) -> Value:
    """x^exponent, as C's ``pow``; x is not negative (-0 neither) unless ``signed``.

    For multiples of 1/4 up to 4 in size it is a product of x, its square root and the root of that, or the
    reciprocal of one.
    """
    if exponent == 0:
        return b.like(1, x)
    if is_product(exponent):
        return _by_products(b, x, int(abs(exponent) * 4), negative=exponent < 0, signed=signed)
    if math.isnan(exponent):
        return b.select(b.compare("eq", x, b.like(1, x)), x, b.like(math.nan, x))
    return _general_power(b, x, exponent)


def is_product(exponent: float) -> bool:
    """Whether a power of this exponent takes no more than multiplications, roots and a division."""
    quarters = abs(exponent) * 4
    return quarters <= 16 and quarters == int(quarters)


def _by_products(b: LoopBuilder, x: Value, quarters: int, *, negative: bool, signed: bool) -> Value:
    whole, rest = divmod(quarters, 4)
    undefined: Value | bool = False
    if rest and signed:
        # the root of -0 and -inf is that of 0 and inf; x + 0 and the selection see to it
        x = b.add(x, b.like(0, x))
        infinity = b.like(math.inf, x)
        x = b.select(b.compare("eq", x, b.like(-math.inf, x)), infinity, x)
    if negative and whole:
        # the reciprocal first: a power may be out of range where its reciprocal is not
        undefined = b.compare("lt", x, b.like(0, x)) if rest and signed else False
        x, negative = b.div(b.like(1, x), x), False
    factors: list[Value] = []
    if rest:
        root = b.unary("sqrt", x)
        if rest >= 2:
            factors.append(root)
        if rest % 2:
            factors.append(b.unary("sqrt", root))
    if whole >= 2:
        factors += [b.mul(x, x)] * (whole // 2)
    if whole % 2:
        factors.append(x)
    value = functools.reduce(b.mul, factors)
    if negative:
        value = b.div(b.like(1, x), value)
    return b.select(undefined, b.like(math.nan, x), value)


def _general_power(b: LoopBuilder, x: Value, exponent: float) -> Value:
    whole = exponent == math.floor(exponent) if math.isfinite(exponent) else True
    odd = whole and math.isfinite(exponent) and exponent % 2 == 1
    exponent = max(-LARGEST_EXPONENT, min(LARGEST_EXPONENT, exponent))
    size = b.unary("abs", x)
    value = power_of_positive(b, size, exponent)
    at_zero, at_infinity = (0.0, math.inf) if exponent > 0 else (math.inf, 0.0)
    zero, infinity = b.like(0, x), b.like(math.inf, x)
    value = b.select(b.compare("eq", x, zero), b.like(at_zero, x), value)
    value = b.select(b.compare("eq", size, infinity), b.like(at_infinity, x), value)
    value = b.select(b.compare("ne", x, x), x, value)
    if odd:
        return with_sign_of(b, value, x)
    if whole:
        return value
    undefined = b.compare("lt", b.select(b.compare("eq", size, infinity), size, x), zero)
    return b.select(undefined, b.like(math.nan, x), value)


def power_of_positive(b: LoopBuilder, x: Value, exponent: float) -> Value:
    """x^exponent for positive finite x, through float64: 2^(exponent * log2(x))."""
    m, e = (b.cast("extend", v, "f64") for v in _split(b, x))
    one = b.like(1, m)
    z = b.div(b.sub(m, one), b.add(m, one))
    log2 = b.fma(z, polynomial(b, b.mul(z, z), LOG2_RATIO), e)
    t = b.mul(log2, b.like(exponent, log2))
    t = _clamped(b, t, -160.0, 140.0)
    rounder = b.like(ROUNDER_F64, t)
    rounded = b.add(t, rounder)
    f = b.sub(t, b.sub(rounded, rounder))
    value = b.fma(f, polynomial(b, f, EXP2_TAIL), one)
    integer = _like("i64", t)
    shift = b.binary("shl", b.cast("bitcast", rounded, "i64"), b.const(52, integer))
    value = b.cast("bitcast", b.add(b.cast("bitcast", value, "i64"), shift), "f64")
    return b.cast("truncate", value, "f32")
