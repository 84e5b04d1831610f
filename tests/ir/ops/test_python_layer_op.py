"""Ops that call code outside of netc by a key."""

import gc

import numpy as np
import pytest
from op_cases import f32

import netc.ir.gradients  # noqa: F401  # fills the rules
from netc.backends.numpy_reference import run_func
from netc.ir.builder import FuncBuilder, infer_types
from netc.ir.core import Module, Value
from netc.ir.diagnostics import NetcError, OpError
from netc.ir.layout import Blocked
from netc.ir.ops.python_layer import (
    CALLS,
    PythonLayerAttrs,
    PythonLayerGradientAttrs,
    code_of,
    enter_code,
)
from netc.ir.parser import parse_module
from netc.ir.printer import print_module
from netc.ir.types import TensorType
from netc.passes.differentiate import differentiate


class Product:
    """x * y, and x + 1."""

    has_backward = True

    def forward(self, inputs, results):
        x, y = inputs
        return [x * y, x + 1]

    def backward(self, inputs, results, gradients, wanted):
        (x, y), (product, more) = inputs, gradients
        return [g for g, want in zip((y * product + more, x * product), wanted, strict=True) if want]


def module_of(code) -> Module:
    builder = FuncBuilder("main")
    calls = builder.arg("calls", CALLS, "input")
    inputs = [builder.arg(name, f32(3), "input") for name in ("x", "y")]
    attrs = PythonLayerAttrs(enter_code("m.Product", code), (f32(3), f32(3)), (f32(3), f32(3)))
    results = builder.add("python.layer", (calls, *inputs), attrs, hint="r")
    return Module("m", "tensor", (builder.finish(results, ["p", "q", "after"]),))


def arrays():
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=3).astype("f4") for name in ("x", "y")} | {"calls": np.zeros(1, "f4")}


def test_the_reference_calls_the_code_and_counts():
    code = Product()
    given = arrays()
    found = run_func(module_of(code).func("main"), given)
    np.testing.assert_array_equal(found["p"], given["x"] * given["y"])
    np.testing.assert_array_equal(found["q"], given["x"] + 1)
    assert found["after"] == 1


@pytest.mark.parametrize("wanted", ["x", "y", "xy"])
@pytest.mark.parametrize("seeds", [("r",), ("r.1",), ("r", "r.1")])
def test_only_wanted_gradients_are_asked_for_and_missing_ones_are_zeros(wanted, seeds):
    code, given = Product(), arrays()
    module = differentiate(module_of(code), seeds=dict.fromkeys(seeds, 2.0), wrt=list(wanted))
    found = run_func(module.func("main"), given)
    of_p, of_q = 2.0 * ("r" in seeds), 2.0 * ("r.1" in seeds)
    expected = {"x": given["y"] * of_p + of_q, "y": given["x"] * of_p}
    for name in wanted:
        np.testing.assert_allclose(found[f"{name}.gradient"], expected[name], rtol=1e-6)
    (op,) = (op for op in module.func("main").ops if op.name == "python.layer_gradient")
    assert len(op.results) == len(wanted)


def test_code_without_a_way_back_has_no_gradient():
    code = Product()
    code.has_backward = False
    with pytest.raises(NetcError, match="without a method backward"):
        differentiate(module_of(code), seeds={"r": 1.0}, wrt=["x"])
    module = differentiate(module_of(code), seeds={"r": 1.0}, wrt=[], optional=["x"])
    assert "x.gradient" not in module.func("main").result_names


def test_the_text_of_the_ops_reads_back():
    code = Product()
    module = differentiate(module_of(code), seeds={"r": 1.0}, wrt=["x"])
    assert parse_module(print_module(module)) == module


def test_code_lives_as_long_as_somebody_holds_it():
    code = Product()
    key = enter_code("m.Product", code)
    assert code_of(key) is code
    del code
    gc.collect()
    with pytest.raises(OpError, match="is not in this process"):
        code_of(key)


BLOCKED = TensorType("f32", (8,), Blocked(0, 4))


@pytest.mark.parametrize(
    ("operands", "attrs", "message"),
    [
        ((f32(2), f32(3)), PythonLayerAttrs("k", (f32(3),), ()), "the number of calls"),
        ((CALLS, f32(4)), PythonLayerAttrs("k", (f32(3),), ()), "was set up for"),
        ((CALLS,), PythonLayerAttrs("k", (f32(3),), ()), "got nothing"),
        ((CALLS,), PythonLayerAttrs("k", (), (BLOCKED,)), "row-major results"),
        ((f32(3), f32(2), f32(2)), PythonLayerGradientAttrs("k", (False,)), "no gradient is wanted"),
        ((f32(3), f32(2)), PythonLayerGradientAttrs("k", (True,)), "then as many gradients"),
        ((f32(3),), PythonLayerGradientAttrs("k", (True,)), "then as many gradients"),
        ((f32(3), f32(2), f32(4)), PythonLayerGradientAttrs("k", (True,)), "of the types of the results"),
    ],
)
def test_types_that_do_not_fit_are_refused(operands, attrs, message):
    op = "python.layer" if isinstance(attrs, PythonLayerAttrs) else "python.layer_gradient"
    with pytest.raises(OpError, match=message):
        infer_types(op, [Value(f"x{i}", t) for i, t in enumerate(operands)], attrs)
