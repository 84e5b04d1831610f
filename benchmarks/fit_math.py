"""Fits the polynomials of ``netc/backends/llvm/lower/math.py`` and prints them.

Each is a minimax fit of the relative error of the function that it is part of: least squares on a fine
Chebyshev grid, reweighted until the largest errors are even (Lawson's iteration). Float32 coefficients are
rounded one by one from the lowest order up, the others being fitted again each time.

    python benchmarks/fit_math.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
GRID = 4000
ROUNDS = 200


def chebyshev_grid(low: float, high: float) -> Floats:
    angles = (np.arange(GRID) + 0.5) * np.pi / GRID
    grid = (low + high) / 2 + (high - low) / 2 * np.cos(angles)
    return np.asarray(grid[np.abs(grid) > 1e-4])


def minimax(target: Floats, weight: Floats, columns: Floats) -> Floats:
    """Coefficients c with the smallest largest ``weight * |columns @ c - target|``."""
    importance = np.ones(len(target))
    best, best_error = None, np.inf
    for _ in range(ROUNDS):
        scale = weight * np.sqrt(importance)
        coefficients = np.linalg.lstsq(columns * scale[:, None], target * scale, rcond=None)[0]
        error = weight * np.abs(columns @ coefficients - target)
        if error.max() < best_error:
            best, best_error = coefficients, error.max()
        importance = importance * (error / error.max() + 1e-6)
        importance = importance / importance.mean()
    assert best is not None
    return best


def fit(
    name: str,
    function: Callable[[Floats], Floats],
    weight: Callable[[Floats], Floats],
    interval: tuple[float, float],
    degree: int,
    single: bool,
    fixed: tuple[float, ...] = (),
) -> None:
    """Print c of ``function(x) ~ sum c[i] x^i``; ``weight`` makes its error the relative error wanted."""
    x = chebyshev_grid(*interval)
    powers = np.vander(x, degree + 1, increasing=True)
    known = list(fixed)
    while single and len(known) <= degree:
        rest = function(x) - powers[:, : len(known)] @ np.array(known)
        known.append(float(np.float32(minimax(rest, weight(x), powers[:, len(known) :])[0])))
    if len(known) <= degree:
        rest = function(x) - powers[:, : len(known)] @ np.array(known)
        known += list(minimax(rest, weight(x), powers[:, len(known) :]))
    error = (weight(x) * np.abs(powers @ np.array(known) - function(x))).max()
    print(f"{name} = (  # largest relative error {error:.2g} = 2^{np.log2(error):.1f}")
    for value in known:
        print(f"    {float(value)!r},")
    print(")")


def exp_tail(r: Floats) -> Floats:
    """(e^r - 1 - r) / r^2, by its series: the direct form cancels."""
    total, term = np.zeros_like(r), np.full_like(r, 0.5)
    for k in range(3, 24):
        total, term = total + term, term * r / k
    return np.asarray(total)


def log_tail(f: Floats) -> Floats:
    """(log(1 + f) - f + f^2 / 2) / f^3; near 0 by its series."""
    series = sum((-1) ** k * f**k / (k + 3) for k in range(40))
    with np.errstate(all="ignore"):
        direct = (np.log1p(f) - f + f * f / 2) / f**3
    return np.asarray(np.where(np.abs(f) < 0.2, series, direct))


def tanh_tail(square: Floats) -> Floats:
    """(tanh(x) - x) / x^3 of x^2; near 0 by its series."""
    x = np.sqrt(np.abs(square))
    series = -1 / 3 + square * (2 / 15 + square * (-17 / 315 + square * (62 / 2835 - square * 1382 / 155925)))
    with np.errstate(all="ignore"):
        direct = (np.tanh(x) - x) / x**3
    return np.asarray(np.where(square < 0.005, series, direct))


def log2_ratio(square: Floats) -> Floats:
    """log2((1 + z) / (1 - z)) / z of z^2."""
    z = np.sqrt(np.abs(square))
    return np.asarray(2 * np.arctanh(z) / z / np.log(2))


def exp2_tail(f: Floats) -> Floats:
    """(2^f - 1) / f."""
    return np.asarray(np.expm1(f * np.log(2)) / f)


def main() -> None:
    half_ln2 = float(np.log(2) / 2) * 1.0005
    root = float(np.sqrt(2))
    widest = ((root - 1) / (root + 1)) ** 2
    fit("EXP_TAIL", exp_tail, lambda r: r**2 / np.exp(r), (-half_ln2, half_ln2), 4, single=True)
    fit(
        "LOG_TAIL",
        log_tail,
        lambda f: np.abs(f**3 / np.log1p(f)),
        (1 / root - 1, root - 1),
        8,
        single=True,
    )
    fit(
        "TANH_TAIL",
        tanh_tail,
        lambda z: z * np.sqrt(z) / np.tanh(np.sqrt(z)),
        (1e-7, 0.4),
        4,
        single=True,
    )
    fit("LOG2_RATIO", log2_ratio, lambda _: np.ones_like(_) / 2.885, (1e-7, widest * 1.001), 4, single=False)
    fit("EXP2_TAIL", exp2_tail, lambda f: np.abs(f), (-0.5001, 0.5001), 6, single=False)


if __name__ == "__main__":
    main()
