"""The errors of the mathematical functions, in units in the last place, over all magnitudes of float32.

Kernels run with denormal numbers flushed to zero, so a denormal operand counts as zero here, and a denormal
result may be zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from harness import LANES, TARGETS, launch_of, one_op, run_launch

from netc.ir.ops.elementwise import EluAttrs, PowAttrs
from netc.ir.types import TensorType

SMALLEST = np.float32(2.0**-126)
Function = Callable[[Any], Any]

EDGES = np.array(
    [
        *(0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, 2.0, 3.0, -2.0, -3.0, -2.5, 1e-8, -1e-8),
        *(1e-45, -1e-45, 1.1754944e-38, 3.4028235e38, -3.4028235e38, 16777216.0, -16777217.0),
        *(88.72283, 88.72284, -87.33654, -87.33655, -103.97208, -103.97209, -104.0),
        *(9.01, 9.02, 0.6931472, 0.3465736, -0.3465736, 0.63, -0.63),
        *(0.70710677, 0.7071068, 1.4142135, 1.4142137, 1 - 2**-24, 1 + 2**-23),
    ],
    np.float32,
)


def all_magnitudes(step: int) -> np.ndarray:
    """Every ``step``-th float32 in the order of its bits, and the edges."""
    patterns = np.arange(0, 1 << 32, step, dtype=np.uint64).astype(np.uint32)
    return np.concatenate([patterns.view(np.float32), EDGES])


def computed(name: str, attrs: Any, x: np.ndarray, target: str) -> np.ndarray:
    launch = launch_of([TensorType("f32", x.shape)], one_op(name, attrs))
    return run_launch(launch, [x], target=target, threads=(2,)).outputs[0].logical()


def flushed(x: np.ndarray) -> np.ndarray:
    """In float64, denormal float32 numbers replaced by zeros of their sign."""
    return np.where(np.abs(x) < SMALLEST, np.copysign(0.0, x), x).astype(np.float64)


def worst_error(got: np.ndarray, exact: np.ndarray, x: np.ndarray) -> float:
    """The largest error in ulp of the exact result; what is not finite must agree."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(np.float32)
        special = ~np.isfinite(rounded) | ~np.isfinite(got)
        beyond = np.isinf(rounded) & (np.abs(got) >= np.float32(3.4028233e38))
        same = (got == rounded) | (np.isnan(got) & np.isnan(rounded)) | beyond
        bad = special & ~same & ~(np.isinf(got) & (np.abs(exact) >= 3.4028233e38))
        assert not bad.any(), f"f({x[bad][:5]}) = {got[bad][:5]}, not {exact[bad][:5]}"
        ulp = np.spacing(np.abs(rounded)).astype(np.float64)
        fine = special | ((np.abs(exact) < SMALLEST) & (np.abs(got) <= SMALLEST))
        error = np.where(fine, 0.0, np.abs(got.astype(np.float64) - exact) / ulp)
    return float(error.max())


def sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1 + e)


def elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


FUNCTIONS: list[tuple[str, Any, Function, float]] = [
    ("math.exp", None, np.exp, 1.1),
    ("math.log", None, np.log, 0.8),
    ("math.tanh", None, np.tanh, 1.4),
    ("math.sigmoid", None, sigmoid, 1.9),
    ("math.elu", EluAttrs(1.0), elu, 1.0),
]
EXPONENTS = {
    0.0: 0.0,
    1.0: 0.0,
    2.0: 0.5,
    3.0: 1.4,
    4.0: 2.0,
    0.5: 0.5,
    0.25: 0.9,
    0.75: 2.4,
    1.5: 1.4,
    -0.5: 1.6,
    -0.75: 3.5,
    -1.0: 0.5,
    -2.0: 2.0,
    -1.5: 2.6,
    5.0: 0.51,
    -7.0: 0.51,
    0.3: 0.51,
    -0.3: 0.51,
    2.2: 0.51,
    1 / 3: 0.51,
    -1.0001: 0.51,
    37.5: 0.51,
    1000.0: 0.51,
    -1001.0: 0.51,
    1e-5: 0.51,
    1e9: 0.51,
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("name", "attrs", "exact", "limit"), FUNCTIONS, ids=lambda v: str(v)[:12])
def test_functions_keep_their_error_bounds(
    name: str, attrs: Any, exact: Function, limit: float, target: str
) -> None:
    x = all_magnitudes(997 if LANES[target] > 4 else 4999)
    got = computed(name, attrs, x, target)
    with np.errstate(all="ignore"):
        assert worst_error(got, exact(flushed(x)), x) <= limit


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("exponent", EXPONENTS)
def test_powers_keep_their_error_bounds(exponent: float, target: str) -> None:
    x = all_magnitudes(4001 if LANES[target] > 4 else 49999)
    got = computed("math.pow", PowAttrs(exponent), x, target)
    with np.errstate(all="ignore"):
        exact = np.float_power(flushed(x), exponent)
    assert worst_error(got, exact, x) <= EXPONENTS[exponent]
    zero = got == 0
    assert (np.signbit(got) == np.signbit(exact))[zero].all()


@pytest.mark.parametrize("exponent", [np.inf, -np.inf, np.nan])
def test_powers_of_infinite_exponents(exponent: float) -> None:
    got = computed("math.pow", PowAttrs(float(exponent)), EDGES, "cpu")
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(got, np.float_power(flushed(EDGES), exponent).astype(np.float32))


@pytest.mark.parametrize("interval", [(-0.5, 0.5), (-12, 12), (-104, 89), (0.9, 1.1)], ids=str)
@pytest.mark.parametrize(("name", "attrs", "exact", "limit"), FUNCTIONS, ids=lambda v: str(v)[:12])
def test_error_bounds_hold_densely_where_functions_bend(
    name: str, attrs: Any, exact: Function, limit: float, interval: tuple[float, float]
) -> None:
    x = np.random.default_rng(1).uniform(*interval, 1_000_000).astype(np.float32)
    got = computed(name, attrs, x, "cpu")
    with np.errstate(all="ignore"):
        assert worst_error(got, exact(flushed(x)), x) <= limit


def test_tanh_and_sigmoid_are_symmetric_and_bounded() -> None:
    x = np.linspace(0, 30, 100_001, dtype=np.float32)
    np.testing.assert_array_equal(
        computed("math.tanh", None, -x, "cpu"), -computed("math.tanh", None, x, "cpu")
    )
    for name in ("math.tanh", "math.sigmoid"):
        assert (np.abs(computed(name, None, x, "cpu")) <= 1).all()
