"""Checks the gradient of one op against differences of its reference, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from op_cases import run

from netc.backends.numpy_reference import run_func
from netc.ir.builder import FuncBuilder
from netc.ir.core import Module
from netc.ir.opdef import Array
from netc.ir.types import TensorType
from netc.ir.verify import verify
from netc.passes.differentiate import differentiate

STEP = 1e-5


def gradients(
    op: str, arrays: Sequence[Array], attrs: Any, seed: Array, *, wrt: Sequence[int] = (0,)
) -> list[Array]:
    """The gradients of sum(seed * op(arrays)) with respect to some operands, by the op's rule."""
    builder = FuncBuilder("main")
    args = [builder.arg(f"x{i}", TensorType("f64", np.shape(a)), "input") for i, a in enumerate(arrays)]
    y, *_ = builder.add(op, args, attrs, hint="y")
    module = Module("m", "tensor", (builder.finish([y], ["y"]),))
    module = differentiate(module, seeds={y.name: None}, wrt=[f"x{i}" for i in wrt])
    verify(module)
    values = {f"x{i}": a for i, a in enumerate(arrays)}
    found = run_func(module.func("main"), {**values, f"{y.name}.gradient": seed}, "f64")
    return [found[f"x{i}.gradient"] for i in wrt]


def check_rule(
    op: str, arrays: Sequence[Array], attrs: Any, *, wrt: Sequence[int] = (0,), tolerance: float = 1e-6
) -> None:
    """Compare every element of the gradients with a central difference."""
    rng = np.random.default_rng(7)
    seed = rng.standard_normal(run(op, tuple(arrays), attrs).shape)
    for i, got in zip(wrt, gradients(op, arrays, attrs, seed, wrt=wrt), strict=True):
        wanted = np.zeros(np.shape(arrays[i]))
        for at in np.ndindex(wanted.shape):
            sides = []
            for step in (STEP, -STEP):
                moved = [np.array(a) for a in arrays]
                moved[i][at] += step
                sides.append(np.sum(seed * run(op, tuple(moved), attrs)))
            wanted[at] = (sides[0] - sides[1]) / (2 * STEP)
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
