"""The reference backend: runs functions, checks what it is given, frees what it no longer needs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from netc.backends.numpy_reference import run_func, trace_func
from netc.ir.diagnostics import NetcError
from netc.ir.parser import parse_module

FUSED = """\
module m tensor {
func @main(%x: f32[N,3], %w: param f32[1,3]) -> (y = %y, both = %sum) {
  %sum: f32[N,3] = math.add %x, %w @"n":3:1
  %y: f32[N,3] = fusion %sum, %w {anchor = map} (%a: f32[N,3], %b: f32[1,3]) {
    %c: f32[N,3] = math.mul %a, %b
    %d: f32[N,3] = math.relu %c {slope = 0.0}
    yield %d
  }
}
}
"""
CONV = """\
module m tensor {
func @main(%x: f32[N,1,H,W], %w: param f32[2,1,3,3]) -> (y = %y) {
  %y: f32[N,2,floordiv(H+1, 2),floordiv(W+1, 2)] = nn.conv %x, %w {stride = [2, 2], pad = [[1, 1], [1, 1]], dilation = [1, 1], group = 1} @"n":3:1
}
}
"""


def func(text):
    return parse_module(text).func("main")


X = np.array([[1, 2, 3], [-4, 5, -6]], np.float32)
W = np.array([[1, -1, 2]], np.float32)


def test_ops_and_the_bodies_of_fusions_are_run_in_order():
    results = run_func(func(FUSED), {"x": X, "w": W})
    assert list(results) == ["y", "both"]
    np.testing.assert_array_equal(results["both"], X + W)
    np.testing.assert_array_equal(results["y"], np.maximum((X + W) * W, 0))


@pytest.mark.parametrize(("dtype", "expected"), [("f32", np.float32), ("f64", np.float64)])
def test_everything_is_computed_in_the_dtype_asked_for(dtype, expected):
    trace = trace_func(func(FUSED), {"x": X.astype(np.float16), "w": W.tolist()}, dtype)
    assert {a.dtype for a in trace.values()} == {np.dtype(expected)}


def test_constants_are_made_in_the_dtype_asked_for():
    text = "module m tensor { func @main() -> (y = %y) { %y: f32[2] = tensor.fill {tensor = <f32[2]>, value = 0.1} } }"
    assert run_func(func(text), {}, "f64")["y"].dtype == np.float64
    assert run_func(func(text), {}, "f32")["y"].dtype == np.float32


def test_a_trace_holds_every_value_those_inside_of_fusions_too():
    trace = trace_func(func(FUSED), {"x": X, "w": W})
    assert sorted(trace) == ["a", "b", "c", "d", "sum", "w", "x", "y"]
    np.testing.assert_array_equal(trace["c"], (X + W) * W)


def test_named_values_can_be_kept_beside_the_results():
    assert sorted(run_func(func(FUSED), {"x": X, "w": W}, keep=["c", "x"])) == ["both", "c", "x", "y"]


def test_symbols_take_the_extents_of_the_arguments():
    w = np.ones((2, 1, 3, 3))
    assert run_func(func(CONV), {"x": np.ones((3, 1, 5, 8)), "w": w})["y"].shape == (3, 2, 3, 4)
    assert run_func(func(CONV), {"x": np.ones((1, 1, 1, 1)), "w": w})["y"].shape == (1, 2, 1, 1)


def test_symbols_may_stand_in_attributes():
    text = """module m tensor {
    func @main(%x: f32[N,2]) -> (y = %y) { %y: f32[2*N] = tensor.reshape %x {shape = [<2*N>]} }
    }"""
    assert run_func(func(text), {"x": np.ones((5, 2))})["y"].shape == (10,)


def test_an_expression_is_checked_whichever_argument_comes_first():
    text = "module m tensor { func @main(%x: f32[2*N+1], %y: f32[N]) -> (x = %x) { } }"
    assert run_func(func(text), {"x": np.ones(7), "y": np.ones(3)})["x"].shape == (7,)
    with pytest.raises(
        NetcError, match=r"argument 'x': f32\[2\*N\+1\] with N = 3 expected, got an array of \[6\]"
    ):
        run_func(func(text), {"x": np.ones(6), "y": np.ones(3)})


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"x": X}, "function 'main' needs the argument 'w'"),
        ({"x": X, "w": W, "v": W}, "function 'main' has no argument 'v'"),
        ({"x": X, "w": W[0]}, r"argument 'w': f32\[1,3\] expected, got an array of \[3\]"),
        ({"x": X[:, :2], "w": W}, r"argument 'x': f32\[N,3\] with N = 2 expected, got an array of \[2, 2\]"),
        ({"x": X[:0], "w": W}, r"argument 'x': f32\[N,3\] expected, got an array of \[0, 3\]"),
        ({"x": "pixels", "w": W}, "argument 'x' is not an array of numbers"),
        ({"x": [[1], [1, 2]], "w": W}, "argument 'x' is not an array of numbers"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(args, message):
    with pytest.raises(NetcError, match=message):
        run_func(func(FUSED), args)


def test_one_symbol_is_one_number():
    text = "module m tensor { func @main(%x: f32[N], %y: f32[N]) -> (x = %x) { } }"
    with pytest.raises(NetcError, match=r"argument 'y': f32\[N\] with N = 2 expected, got an array of \[3\]"):
        run_func(func(text), {"x": np.ones(2), "y": np.ones(3)})


def test_a_size_that_an_op_cannot_take_is_reported_at_its_layer():
    text = CONV.replace("pad = [[1, 1], [1, 1]]", "pad = [[0, 0], [0, 0]]").replace("+1, 2)", "-1, 2)")
    with pytest.raises(NetcError, match="the kernel covers 3 elements") as caught:
        run_func(func(text), {"x": np.ones((1, 1, 2, 5)), "w": np.ones((2, 1, 3, 3))})
    assert str(caught.value.location) == "n:3:1"


def test_an_error_of_a_reference_is_reported_at_its_layer():
    text = """module m tensor {
    func @main(%x: f32[1,1,2,2]) -> (y = %y) {
      %y: f32[1,1,3,3] = nn.max_unpool %x, %x {size = [3, 3]} @"n":7:1
    } }"""
    with pytest.raises(NetcError, match="the mask points at element 9 of a plane of 3x3") as caught:
        run_func(func(text), {"x": np.full((1, 1, 2, 2), 9)})
    assert str(caught.value.location) == "n:7:1"


def test_more_memory_than_there_is_is_reported_at_its_layer():
    big = "f32[4000000000000]"
    text = f"""module m tensor {{
    func @main() -> (y = %y) {{ %y: {big} = tensor.fill {{tensor = <{big}>, value = 0.5}} @"n":7:1 }}
    }}"""
    with pytest.raises(NetcError, match=r"the reference of tensor.fill failed: .*allocate") as caught:
        run_func(func(text), {})
    assert str(caught.value.location) == "n:7:1"


def test_a_type_that_the_op_does_not_make_is_reported():
    text = FUSED.replace("%sum: f32[N,3] =", "%sum: f32[N,4] =").replace("[N,", "[2,")
    with pytest.raises(NetcError, match=r"made float32\[2, 3\] where the type is f32\[2,4\]"):
        run_func(func(text), {"x": X, "w": W})


def test_ops_of_other_levels_are_refused():
    text = "module m loop { func @main() -> () { loop.fence } }"
    with pytest.raises(NetcError, match=r"loop.fence is not an op that the reference can run"):
        run_func(func(text), {})
    text = "module m loop { func @main(%x: i64) -> () { } }"
    with pytest.raises(NetcError, match="argument 'x' is i64; the reference takes tensors only"):
        run_func(func(text), {"x": 1})


def test_results_do_not_share_memory_with_the_arguments():
    text = "module m tensor { func @main(%x: f32[2,3]) -> (x = %x, y = %y) { %y: f32[6] = tensor.reshape %x {shape = [6]} } }"
    x = X.copy()
    results = run_func(func(text), {"x": x})
    results["x"][:] = 0
    results["y"][:] = 0
    np.testing.assert_array_equal(x, X)


def test_values_are_dropped_after_their_last_use():
    steps = 20
    ops = "".join(f"  %v{i + 1}: f32[250000] = math.tanh %v{i}\n" for i in range(steps))
    text = f"module m tensor {{ func @main(%v0: f32[250000]) -> (y = %v{steps}) {{\n{ops}}} }}"
    x = np.zeros(250000, np.float32)
    tracemalloc.start()
    run_func(func(text), {"v0": x})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * x.nbytes


def test_floating_point_exceptions_are_results_not_warnings(recwarn):
    text = "module m tensor { func @main(%x: f32[3]) -> (y = %y) { %y: f32[3] = math.exp %x } }"
    np.testing.assert_array_equal(
        run_func(func(text), {"x": [1000, -1000, np.nan]})["y"], [np.inf, 0, np.nan]
    )
    assert not recwarn.list
