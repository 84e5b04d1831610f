"""Checks the gradient of one op against differences of its reference, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netc.backends.numpy_reference import run_func
from netc.ir.builder import FuncBuilder
from netc.ir.core import Module
from netc.ir.opdef import Array, opdef
from netc.ir.types import TensorType
from netc.ir.verify import verify
from netc.passes.differentiate import differentiate

STEP = 1e-5


def gradients(
    op: str, arrays: Sequence[Array], attrs: Any, *seeds: Array, wrt: Sequence[int] = (0,)
) -> list[Array]:
    """The gradients of the sum of seed * result over the first results, by the op's rule."""
    builder = FuncBuilder("main")
    args = [builder.arg(f"x{i}", TensorType("f64", np.shape(a)), "input") for i, a in enumerate(arrays)]
    results = builder.add(op, args, attrs, hint="y")[: len(seeds)]
    names = [y.name for y in results]
    module = Module("m", "tensor", (builder.finish(results, names),))
    module = differentiate(module, seeds=dict.fromkeys(names), wrt=[f"x{i}" for i in wrt])
    verify(module)
    values = {f"x{i}": a for i, a in enumerate(arrays)}
    values |= {f"{name}.gradient": seed for name, seed in zip(names, seeds, strict=True)}
    found = run_func(module.func("main"), values, "f64")
    return [found[f"x{i}.gradient"] for i in wrt]


def check_rule(
    op: str,
    arrays: Sequence[Array],
    attrs: Any,
    *,
    wrt: Sequence[int] = (0,),
    results: int = 1,
    tolerance: float = 1e-6,
) -> None:
    """Compare every element of the gradients with a central difference."""
    rng = np.random.default_rng(7)
    reference = opdef(op).reference
    assert reference is not None
    seeds = [rng.standard_normal(np.shape(y)) for y in reference(tuple(arrays), attrs)[:results]]

    def objective(moved: Sequence[Array]) -> Any:
        return sum(np.sum(s * y) for s, y in zip(seeds, reference(tuple(moved), attrs), strict=False))

    for i, got in zip(wrt, gradients(op, arrays, attrs, *seeds, wrt=wrt), strict=True):
        wanted = np.zeros(np.shape(arrays[i]))
        for at in np.ndindex(wanted.shape):
            sides = []
            for step in (STEP, -STEP):
                moved = [np.array(a) for a in arrays]
                moved[i][at] += step
                sides.append(objective(moved))
            wanted[at] = (sides[0] - sides[1]) / (2 * STEP)
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
