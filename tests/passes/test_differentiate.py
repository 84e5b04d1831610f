"""differentiate: what is differentiated, what is summed, what is kept, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from checks import main
from nets import arguments

from netc.backends.numpy_reference import run_func
from netc.frontend.importer import import_net
from netc.frontend.net_file import load_net
from netc.ir.core import Module
from netc.ir.diagnostics import NetcError
from netc.ir.parser import parse_module
from netc.ir.verify import verify
from netc.passes.differentiate import differentiate

STEP = 1e-5


def gradient_module(text: str, seeds: Mapping[str, float | None], wrt: Sequence[str], **more: Any) -> Module:
    module = parse_module(text, "<before>")
    verify(module)
    outcome = differentiate(module, seeds=seeds, wrt=wrt, **more)
    verify(outcome)
    return outcome


def names(module: Module) -> list[str]:
    return [op.name for op in module.func("main").ops]


def check_derivative(text: str, seeds: Mapping[str, float], wrt: Sequence[str]) -> Module:
    """The gradients are differences of the weighted sum of the seeds, in float64."""
    outcome = gradient_module(text, seeds, wrt)
    func = outcome.func("main")
    args = {k: np.asarray(v, np.float64) for k, v in arguments(parse_module(text, "<before>")).items()}

    def objective(values: Mapping[str, Any]) -> float:
        found = run_func(func, values, "f64", keep=seeds)
        return float(sum(weight * found[name].sum() for name, weight in seeds.items()))

    got = run_func(func, args, "f64")
    for name in wrt:
        wanted = np.zeros(args[name].shape)
        for at in np.ndindex(wanted.shape):
            sides = []
            for step in (STEP, -STEP):
                moved = {**args, name: args[name].copy()}
                moved[name][at] += step
                sides.append(objective(moved))
            wanted[at] = (sides[0] - sides[1]) / (2 * STEP)
        np.testing.assert_allclose(got[f"{name}.gradient"], wanted, rtol=1e-6, atol=1e-6)
    return outcome


def test_a_value_used_often_gets_the_sum_of_its_gradients():
    text = main(
        "%x: f32[2,3], %w: param f32[2,3]",
        """
        %a: f32[2,3] = math.mul %x, %w
        %b: f32[2,3] = math.tanh %a
        %c: f32[2,3] = math.mul %a, %b
        %y: f32[2,3] = math.mul %c, %w
        """,
    )
    check_derivative(text, {"y": 1.5}, ["w", "x"])


def test_several_seeds_are_weighted_and_summed():
    text = main(
        "%x: f32[2,3]",
        "%a: f32[2,3] = math.exp %x\n%y: f32[2,3] = math.mul %a, %x\n%z: f32[2,3] = math.tanh %a",
        "y = %y, z = %z",
    )
    check_derivative(text, {"y": 2.0, "z": -1.0, "a": 0.5}, ["x"])


def test_a_seed_without_a_weight_is_an_input():
    text = main("%x: f32[2,3]", "%y: f32[2,3] = math.exp %x")
    func = gradient_module(text, {"y": None}, ["x"]).func("main")
    assert [v.name for v in func.inputs] == ["x", "y.gradient"]
    assert func.result_names == ("y", "x.gradient")
    x, seed = np.array([[0.0, 1, 2]] * 2), np.array([[1.0, 2, 3]] * 2)
    got = run_func(func, {"x": x, "y.gradient": seed}, "f64")
    np.testing.assert_allclose(got["x.gradient"], seed * np.exp(x))


def test_a_seed_may_be_an_argument():
    func = gradient_module(main("%x: f32[2]", "%y: f32[2] = math.exp %x"), {"x": 3.0}, ["x"]).func("main")
    np.testing.assert_array_equal(run_func(func, {"x": np.zeros(2)})["x.gradient"], [3, 3])


def test_a_value_that_no_seed_depends_on_has_a_gradient_of_zeros():
    text = main("%x: f32[2], %w: param f32[3]", "%y: f32[2] = math.exp %x")
    func = gradient_module(text, {"y": 1.0}, ["w", "x"]).func("main")
    got = run_func(func, {"x": np.zeros(2), "w": np.ones(3)})
    np.testing.assert_array_equal(got["w.gradient"], np.zeros(3))
    np.testing.assert_array_equal(got["x.gradient"], np.ones(2))


def test_a_value_in_the_middle_has_a_gradient_too():
    text = main("%x: f32[2]", "%a: f32[2] = math.exp %x\n%y: f32[2] = math.mul %a, %a")
    func = gradient_module(text, {"y": 1.0}, ["a"]).func("main")
    np.testing.assert_array_equal(run_func(func, {"x": np.zeros(2)})["a.gradient"], [2, 2])


def test_nothing_passes_through_a_stopped_gradient():
    text = main(
        "%x: f32[2,3], %w: param f32[2,3]",
        """
        %a: f32[2,3] = math.mul %x, %w
        %s: f32[2,3] = math.stop_gradient %a
        %y: f32[2,3] = math.mul %s, %w
        """,
    )
    func = gradient_module(text, {"y": 1.0}, ["w"]).func("main")
    x, w = np.full((2, 3), 2.0), np.full((2, 3), 5.0)
    np.testing.assert_array_equal(run_func(func, {"x": x, "w": w})["w.gradient"], x * w)


def test_a_frozen_trunk_has_no_backward():
    text = main(
        "%x: f32[2,3], %w: param f32[2,3], %v: param f32[2,3]",
        """
        %a: f32[2,3] = math.mul %x, %w
        %b: f32[2,3] = math.tanh %a
        %c: f32[2,3] = math.exp %b
        %y: f32[2,3] = math.mul %c, %v
        """,
    )
    func = gradient_module(text, {"y": 1.0}, ["v"]).func("main")
    trunk, backward = func.ops[:4], func.ops[4:]
    assert [op.name for op in trunk] == ["math.mul", "math.tanh", "math.exp", "math.mul"]
    # what the backward reads of the forward is what %v was multiplied with
    assert {v.name for op in backward for v in op.operands} & {"x", "w", "a", "b", "c"} == {"c"}


def test_a_frozen_trunk_is_not_recorded():
    pool = (
        "nn.pool {0} {{kind = max, kernel = [2, 2], stride = [2, 2], pad = [[0, 0], [0, 0]], round = ceil}}"
    )
    text = main(
        "%x: f32[1,2,8,8], %w: param f32[1,2,1,1]",
        f"""
        %a: f32[1,2,4,4] = {pool.format("%x")}
        %b: f32[1,2,4,4] = math.mul %a, %w
        %y: f32[1,2,2,2] = {pool.format("%b")}
        """,
    )
    outcome = check_derivative(text, {"y": 1.0}, ["w"])
    func = outcome.func("main")
    assert names(outcome)[:3] == ["nn.pool", "math.mul", "nn.max_pool_choice"]
    assert func.ops[2].results[0].name == "y"
    assert len(func.ops[2].results) == 2
    assert "nn.max_pool_gradient" in names(outcome)


def test_what_a_rule_adds_in_vain_is_left_out():
    # of a difference only the left side is asked for
    text = main("%x: f32[2,3], %z: f32[1,3]", "%y: f32[2,3] = math.sub %x, %z")
    assert names(gradient_module(text, {"y": 1.0}, ["x"])) == ["math.sub", "tensor.fill"]


def test_an_op_without_a_gradient_is_refused_at_its_layer(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "d" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
        'layer { name: "s" type: "Scale" bottom: "x" top: "s" }\n'
        'layer { name: "t" type: "Threshold" bottom: "s" top: "t" }\n'
        'layer { name: "r" type: "Reduction" bottom: "t" top: "l" loss_weight: 1 }\n'
    )
    net = import_net(load_net(path, phase="TRAIN"), phase="TRAIN")
    weight = net.params[0].value.name
    with pytest.raises(NetcError, match=r"math\.threshold has no gradient") as caught:
        differentiate(net.module, seeds={net.losses[0].value.name: 1.0}, wrt=[weight])
    assert caught.value.location is not None
    assert caught.value.location.line == 3
    assert "propagate_down" in str(caught.value)
    # what nobody requires is not refused
    outcome = differentiate(net.module, seeds={net.losses[0].value.name: 1.0}, wrt=[], optional=["x"])
    assert outcome.func("main").result_names == net.module.func("main").result_names


def test_a_name_that_is_none_is_refused():
    with pytest.raises(NetcError, match="no value %q to differentiate by"):
        gradient_module(main("%x: f32[2]", "%y: f32[2] = math.exp %x"), {"y": 1.0}, ["q"])


NET = """
layer { name: "d" type: "Input" top: "x" top: "z" input_param { shape { dim: 2 dim: 6 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" param { name: "w" @0 } param { name: "b" }
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "r" type: "Reshape" bottom: "z" top: "r" reshape_param { shape { dim: 3 dim: 4 } } }
layer { name: "c" type: "InnerProduct" bottom: "r" top: "c" param { name: "w" @0 }
  inner_product_param { num_output: @1 bias_term: false @2 } }
layer { name: "l" type: "Reduction" bottom: "a" top: "la" reduction_param { operation: SUMSQ } loss_weight: 1 }
layer { name: "m" type: "Reduction" bottom: "c" top: "lc" reduction_param { operation: SUMSQ } loss_weight: 2 }
"""


@pytest.mark.parametrize(
    ("mode", "outputs", "transpose", "shape"),
    [("share_mode: PERMISSIVE", "6", "", (3, 4)), ("", "4", "transpose: true", (2, 6))],
)
def test_layers_that_share_a_parameter_share_the_sum_of_its_gradients(
    tmp_path, mode, outputs, transpose, shape
):
    text = NET.replace("@0", mode).replace("@1", outputs).replace("@2", transpose)
    if shape == (2, 6):  # of one shape: the second reads the weight as the first does
        text = text.replace("dim: 3 dim: 4", "dim: 2 dim: 6").replace("transpose: true", "")
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    net = import_net(load_net(path, phase="TRAIN"), phase="TRAIN")
    wrt = list(dict.fromkeys(info.value.name for info in net.params))
    assert len(wrt) == 2
    seeds = {loss.value.name: loss.weight for loss in net.losses}
    func = differentiate(net.module, seeds=seeds, wrt=wrt).func("main")
    rng = np.random.default_rng(0)
    values = {v.name: rng.standard_normal(v.type.static_shape) for v in func.args}
    got = run_func(func, values, "f64")
    x, z, w, b = values["x"], values["z"], values[wrt[0]], values[wrt[1]]
    a, other = x @ w.T + b, w.reshape(6, 4) if shape == (3, 4) else w
    c = z.reshape(shape) @ other.T
    wanted = 2 * a.T @ x + (4 * c.T @ z.reshape(shape)).reshape(w.shape)
    np.testing.assert_allclose(got[f"{wrt[0]}.gradient"], wanted)
    np.testing.assert_allclose(got[f"{wrt[1]}.gradient"], 2 * a.sum(axis=0))


def test_a_symbolic_batch_stays_symbolic():
    text = main(
        "%x: f32[N,6], %w: param f32[1,6]",
        """
        %a: f32[N,6] = math.mul %x, %w
        %b: f32[N,2,3] = tensor.reshape %a {shape = [<N>, 2, 3]}
        %c: f32[N,1,3] = tensor.slice %b {start = [0, 1, 0], shape = [<N>, 1, 3]}
        %y: f32[1,1,1] = tensor.reduce %c {kind = mean, axes = [0, 1, 2]}
        """,
    )
    func = gradient_module(text, {"y": 1.0}, ["w"]).func("main")
    x = np.random.default_rng(0).standard_normal((5, 6))
    got = run_func(func, {"x": x, "w": np.ones((1, 6))}, "f64")
    wanted = np.where(np.arange(6) < 3, 0, x.sum(axis=0) / 15)
    np.testing.assert_allclose(got["w.gradient"][0], wanted)
