"""inner_product_to_conv: a classifier becomes fully convolutional."""

from __future__ import annotations

import numpy as np
import pytest
from checks import main
from nets import NETS, Net, arguments, run_main

from netc.ir.core import Module, walk
from netc.ir.diagnostics import NetcError
from netc.ir.dim import symbol
from netc.ir.parser import parse_module
from netc.ir.rewrite import bind_symbols
from netc.ir.types import TensorType
from netc.ir.verify import verify
from netc.passes.inner_product_to_conv import inner_product_to_conv


def ops(module: Module) -> set[str]:
    return {op.name for op in walk(module.func("main").ops)}


def test_at_its_own_size_it_says_what_the_classifier_says() -> None:
    module = NETS["classifier"]()
    outcome = inner_product_to_conv(module)
    verify(outcome)
    assert "nn.inner_product" not in ops(outcome)
    args = arguments(module)
    (before,), (after,) = run_main(module, args), run_main(outcome, args)
    np.testing.assert_allclose(after, before[:, :, None, None], rtol=1e-12)


def test_on_a_larger_image_it_says_what_the_classifier_says_of_each_window() -> None:
    net = Net()
    x = net.relu(net.inner_product(net.flatten(net.conv(net.input(1, 3, 6, 6), 4)), 5))
    module = net.module(net.inner_product(x, 3, transpose=True))
    outcome = inner_product_to_conv(module, input_shapes={"data": (1, 3, 9, 8)})
    verify(outcome)
    args = arguments(outcome)
    (large,) = run_main(outcome, args)
    assert large.shape == (1, 3, 4, 3)
    for top, left in ((0, 0), (1, 2), (3, 1)):
        window = args["data"][:, :, top : top + 6, left : left + 6]
        (small,) = run_main(module, {**args, "data": window})
        np.testing.assert_allclose(large[:, :, top, left], small, rtol=1e-9)


def test_the_new_size_may_be_symbolic() -> None:
    shapes = {"data": (symbol("N"), 3, symbol("H"), symbol("W"))}
    net = Net()
    module = net.module(net.inner_product(net.flatten(net.conv(net.input(1, 3, 6, 6), 4)), 5))
    outcome = inner_product_to_conv(module, input_shapes=shapes)
    verify(outcome)
    (result,) = outcome.func("main").results
    assert str(result.type) == "f32[N,5,H-5,W-5]"
    bound = bind_symbols(outcome, {"N": 2, "H": 6, "W": 10})
    assert run_main(bound, arguments(bound))[0].shape == (2, 5, 1, 5)


@pytest.mark.parametrize("name", ["conv_block", "dense", "grouped"])
def test_a_net_without_inner_products_stays(name: str) -> None:
    module = NETS[name]()
    assert inner_product_to_conv(module) == module


def test_what_depends_on_flattened_maps_follows() -> None:
    net = Net()
    x = net.conv(net.input(2, 3, 4, 4), 4)
    a = net.inner_product(net.relu(net.flatten(x)), 6)
    b = net.scale(net.inner_product(net.flatten(x), 2))
    module = net.module(net.op("math.sigmoid", net.concat(a, b)))
    outcome = inner_product_to_conv(module)
    args = arguments(module)
    (before,), (after,) = run_main(module, args), run_main(outcome, args)
    assert isinstance(outcome.func("main").results[0].type, TensorType)
    np.testing.assert_allclose(after[:, :, 0, 0], before, rtol=1e-9)


def test_a_result_that_is_a_flattened_image_is_refused() -> None:
    net = Net()
    x = net.flatten(net.input(2, 3, 4, 4))
    with pytest.raises(NetcError, match=r"its result 'reshape\.out0' is a flattened image"):
        inner_product_to_conv(net.module(x, net.inner_product(x, 2)))


AT = '@"net.prototxt":7:3'
REFUSED = {
    "its input is not a flattened image": f"""
        %y: f32[2,5] = nn.inner_product %flat, %w {{transpose = false}} {AT}""",
    "its weights are computed from data": f"""
        %f: f32[2,48] = tensor.reshape %x {{shape = [2, 48]}}
        %y: f32[2,2] = nn.inner_product %f, %f {{transpose = false}} {AT}""",
    "it reads a map": f"""
        %f: f32[2,48] = tensor.reshape %x {{shape = [2, 48]}}
        %i: f32[2,5] = nn.inner_product %f, %w {{transpose = false}}
        %y: f32[5,2] = tensor.transpose %i {{perm = [1, 0]}} {AT}""",
    "it reads a map together with other data": f"""
        %f: f32[2,48] = tensor.reshape %x {{shape = [2, 48]}}
        %i: f32[2,5] = nn.inner_product %f, %w {{transpose = false}}
        %y: f32[2,5] = math.add %i, %small {AT}""",
    "it reads a flattened image": f"""
        %f: f32[2,48] = tensor.reshape %x {{shape = [2, 48]}}
        %s: f32[2,48] = nn.softmax %f {{axis = 1}} {AT}
        %y: f32[2,5] = nn.inner_product %f, %w {{transpose = false}}""",
}


@pytest.mark.parametrize("message", sorted(REFUSED))
def test_what_cannot_follow_is_refused_at_its_layer(message: str) -> None:
    args = "%x: f32[2,3,4,4], %flat: f32[2,48], %small: f32[2,5], %w: param f32[5,48]"
    with pytest.raises(NetcError) as caught:
        inner_product_to_conv(parse_module(main(args, REFUSED[message])))
    assert caught.value.message.endswith(message)
    assert str(caught.value.location) == "net.prototxt:7:3"


def test_an_op_that_states_a_shape_refuses_another_size() -> None:
    ops_text = f"""
        %f: f32[2,48] = tensor.reshape %x {{shape = [2, 48]}} {AT}
        %y: f32[2,48] = math.exp %f"""
    module = parse_module(main("%x: f32[2,3,4,4]", ops_text))
    with pytest.raises(NetcError, match="holds 96 elements") as caught:
        inner_product_to_conv(module, input_shapes={"x": (2, 3, 5, 5)})
    assert str(caught.value.location) == "net.prototxt:7:3"


@pytest.mark.parametrize("shapes", [{"nope": (1, 3, 8, 8)}, {"data": (8, 8)}])
def test_shapes_for_what_is_no_input_are_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(NetcError, match="the net has no input"):
        inner_product_to_conv(NETS["classifier"](), input_shapes=dict(shapes))
