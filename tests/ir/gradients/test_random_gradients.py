"""Gradients of ops on random numbers."""

from __future__ import annotations

import numpy as np
from op_cases import normal, run

from netc.backends.numpy_reference import run_func
from netc.ir.builder import FuncBuilder
from netc.ir.core import Module
from netc.ir.ops.random import STATE, RandomDropoutAttrs
from netc.ir.types import TensorType
from netc.passes.differentiate import differentiate


def test_the_gradient_of_dropout_is_dropped_and_scaled_alike():
    builder, attrs = FuncBuilder("main"), RandomDropoutAttrs(0.3, 4)
    x = builder.arg("x", TensorType("f64", (40, 5)), "input")
    state = builder.arg("state", STATE, "input")
    y = builder.add1("random.dropout", [x, state], attrs, hint="y")
    module = differentiate(Module("m", "tensor", (builder.finish([y], ["y"]),)), seeds={"y": None}, wrt=["x"])
    seed, now = normal(40, 5, seed=1), np.array([3, 4])
    found = run_func(module.func("main"), {"x": normal(40, 5), "state": now, "y.gradient": seed}, "f64")
    np.testing.assert_array_equal(found["x.gradient"], run("random.dropout", (seed, now), attrs))
    np.testing.assert_array_equal(found["x.gradient"] == 0, found["y"] == 0)
