"""assign_layouts: where blocks begin, how far they go, where they are converted."""

from __future__ import annotations

import pytest
from checks import UNIT, becomes, keeps_meaning, main, stays
from hypothesis import HealthCheck, given, settings
from nets import NETS, Net, random_nets

from netc.ir.core import Module
from netc.ir.layout import Blocked
from netc.ir.ops.elementwise import BroadcastAttrs
from netc.ir.ops.normalize import LrnAttrs
from netc.ir.ops.pool import GlobalPoolAttrs, PoolAttrs
from netc.ir.ops.pool_gradient import PoolGradientAttrs
from netc.ir.ops.random import STATE, RandomDropoutAttrs
from netc.ir.ops.reduce import MomentsAttrs, ReduceAttrs
from netc.ir.types import TensorType
from netc.passes.assign_layouts import assign_layouts
from netc.passes.hoist_prepare import hoist_prepare


def blocked(module: Module) -> Module:
    return assign_layouts(module, block=4)


def conversions(module: Module) -> list[str]:
    """The types to which data (not weights) is converted."""
    ops = hoist_prepare(blocked(module)).func("main").ops
    return [str(op.result.type) for op in ops if op.name == "layout.convert"]


@pytest.mark.parametrize("name", sorted(NETS))
def test_the_meaning_stays(name: str) -> None:
    keeps_meaning(blocked, NETS[name]())


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(module=random_nets())
def test_no_value_is_converted_twice_to_a_layout_nor_back(module: Module) -> None:
    main_func = blocked(module).func("main")
    made_by = {op.result.name: op for op in main_func.ops}
    seen = set()
    for op in main_func.ops:
        if op.name == "layout.convert":
            source = op.operands[0]
            assert made_by.get(source.name) is None or made_by[source.name].name != "layout.convert"
            assert (source.name, op.attrs) not in seen
            seen.add((source.name, op.attrs))
    assert all(isinstance(v.type, TensorType) and v.type.layout is None for v in main_func.results)


@pytest.mark.parametrize("name", ["conv_block", "inception"])
def test_a_net_of_convolutions_converts_nothing_but_its_results(name: str) -> None:
    results = hoist_prepare(blocked(NETS[name]())).func("main").results
    assert len(conversions(NETS[name]())) == len(results)


def test_an_image_of_few_channels_is_read_as_it_is_and_one_of_many_is_converted() -> None:
    few, many = Net(), Net()
    assert conversions(few.module(few.conv(few.input(1, 4, 4, 4), 8))) == ["f32[1,8,2,2]"]
    assert conversions(many.module(many.conv(many.input(1, 5, 4, 4), 8))) == [
        "f32[1,5,4,4]{1:4}",
        "f32[1,8,2,2]",
    ]


def test_a_net_without_convolutions_keeps_its_layout() -> None:
    net = Net()
    x = net.lrn(net.pool(net.relu(net.input(1, 8, 4, 4))))
    module = net.module(net.op("nn.global_pool", x, attrs=GlobalPoolAttrs("max")))
    assert blocked(module) == module


def test_groups_are_blocked_only_where_no_block_straddles_two() -> None:
    def layout_of_conv(channels: int, out: int, group: int) -> object:
        net = Net()
        func = blocked(net.module(net.conv(net.input(1, channels, 3, 3), out, group=group))).func("main")
        (conv,) = [op for op in func.ops if op.name == "nn.conv"]
        assert isinstance(conv.result.type, TensorType)
        return conv.result.type.layout

    assert layout_of_conv(8, 16, 2) == Blocked(1, 4)
    assert layout_of_conv(8, 8, 8) == Blocked(1, 4)
    assert layout_of_conv(8, 12, 2) is None  # 6 outputs a group
    assert layout_of_conv(12, 16, 2) is None  # 6 inputs a group
    assert layout_of_conv(4, 8, 4) is None  # one input a group, two outputs


def test_per_channel_params_are_blocked_and_shared_ones_are_not() -> None:
    args = "%x: f32[1,1,3,3], %w: param f32[8,1,1,1], %s: param f32[1,8,1,1], %t: param f32[1,1,1,1]"
    before = f"""
        %c: f32[1,8,3,3] = nn.conv %x, %w {UNIT}
        %a: f32[1,8,3,3] = math.prelu %c, %s
        %y: f32[1,8,3,3] = math.prelu %a, %t"""
    after = f"""
        %v: f32[8,1,1,1]{{0:4}} = layout.convert %w {{axis = 0, size = 4}}
        %c: f32[1,8,3,3]{{1:4}} = nn.conv %x, %v {UNIT}
        %sb: f32[1,8,1,1]{{1:4}} = layout.convert %s {{axis = 1, size = 4}}
        %a: f32[1,8,3,3]{{1:4}} = math.prelu %c, %sb
        %y: f32[1,8,3,3]{{1:4}} = math.prelu %a, %t
        %r: f32[1,8,3,3] = layout.convert %y {{axis = none}}"""
    becomes(blocked, main(args, before), main(args, after, "y = %r"))


def test_an_operand_of_one_channel_is_row_major_beside_blocked_ones() -> None:
    net = Net()
    x = net.conv(net.input(1, 3, 4, 4), 8)
    mask = net.op("math.sigmoid", net.conv(x, 1, 1))
    keeps_meaning(blocked, net.module(net.op("math.mul", x, mask)))


def test_gradients_of_poolings_have_the_layout_of_what_was_pooled() -> None:
    net = Net()
    x = net.conv(net.input(1, 3, 6, 6), 8)
    pool = PoolAttrs("max", (2, 2), (2, 2), ((0, 0), (0, 0)))
    y, choice = net.add("nn.max_pool_choice", [x], pool, hint="y")
    dx = net.op("nn.max_pool_gradient", y, choice, attrs=PoolGradientAttrs.of(pool, (4, 4)))
    assert conversions(net.module(dx)) == ["f32[1,8,4,4]"]


def test_gradients_of_local_response_normalisation_have_the_layout_of_its_input() -> None:
    net = Net()
    x = net.conv(net.input(1, 3, 6, 6), 8)
    dy = net.input(1, 8, 4, 4)
    dx = net.op("nn.lrn_gradient", dy, x, attrs=LrnAttrs(3, 1.0, 0.75, 1.0))
    assert conversions(net.module(dx)) == ["f32[1,8,4,4]{1:4}", "f32[1,8,4,4]"]


def test_what_is_spread_is_blocked_while_it_is_small() -> None:
    net = Net()
    x = net.conv(net.input(1, 3, 6, 6), 8)
    small = net.input(1, 8, 1, 1)
    wide = net.op("math.broadcast", small, attrs=BroadcastAttrs((1, 8, 4, 4)))
    kernel = PoolAttrs("ave", (4, 4), (1, 1), ((0, 0), (0, 0)))
    other = net.op("nn.ave_pool_gradient", small, attrs=PoolGradientAttrs.of(kernel, (4, 4)))
    total = net.op("math.add", net.op("math.mul", x, wide), other)
    assert conversions(net.module(total)) == ["f32[1,8,1,1]{1:4}", "f32[1,8,4,4]"]


def test_what_is_spread_before_any_block_stays_row_major() -> None:
    net = Net()
    x = net.input(1, 8, 1, 1)
    assert conversions(net.module(net.op("math.broadcast", x, attrs=BroadcastAttrs((1, 8, 4, 4))))) == []


def test_sums_and_statistics_of_channels_stay_blocked_and_those_over_channels_do_not() -> None:
    net = Net()
    x = net.conv(net.input(1, 3, 6, 6), 8)
    mean, variance = net.add("nn.moments", [x], MomentsAttrs((0, 2, 3)), hint="m")
    both = net.op("math.add", mean, variance)
    assert conversions(net.module(both)) == ["f32[1,8,1,1]"]
    net = Net()
    x = net.conv(net.input(1, 3, 6, 6), 8)
    total = net.op("tensor.reduce", x, attrs=ReduceAttrs("sum", (1,)))
    assert conversions(net.module(total)) == ["f32[1,8,4,4]"]


def test_dropout_has_the_layout_of_its_operand() -> None:
    net = Net()
    x = net.conv(net.input(1, 3, 6, 6), 8)
    state = net.arg("state", STATE, "input")
    assert conversions(net.module(net.op("random.dropout", x, state, attrs=RandomDropoutAttrs(0.5, 0)))) == [
        "f32[1,8,4,4]"
    ]


def test_concat_at_odd_boundaries_is_row_major() -> None:
    net = Net()
    x = net.input(1, 3, 4, 4)
    module = net.module(net.relu(net.concat(net.conv(x, 6), net.conv(x, 4))))
    assert conversions(module) == ["f32[1,6,2,2]", "f32[1,4,2,2]"]


def test_weights_that_are_data_are_not_converted() -> None:
    text = main("%x: f32[1,8,3,3], %w: f32[8,8,1,1]", f"%y: f32[1,8,3,3] = nn.conv %x, %w {UNIT}")
    stays(blocked, text)


def test_weights_that_are_states_are_converted_where_they_are_used() -> None:
    before = main("%x: f32[1,8,4,4], %w: state f32[8,8,1,1]", f"%y: f32[1,8,4,4] = nn.conv %x, %w {UNIT}")
    after = main(
        "%x: f32[1,8,4,4], %w: state f32[8,8,1,1]",
        f"""
        %xb: f32[1,8,4,4]{{1:4}} = layout.convert %x {{axis = 1, size = 4}}
        %wb: f32[8,8,1,1]{{0:4}} = layout.convert %w {{axis = 0, size = 4}}
        %c: f32[1,8,4,4]{{1:4}} = nn.conv %xb, %wb {UNIT}
        %y: f32[1,8,4,4] = layout.convert %c {{axis = none, size = 1}}
        """,
    )
    becomes(blocked, before, after)


def test_the_gradient_of_a_weight_is_blocked_and_what_is_computed_of_it_is_not() -> None:
    attrs = UNIT.replace("{", "{kernel = [1, 1], ")
    before = main(
        "%x: f32[1,3,4,4], %dy: f32[1,8,4,4], %w: state f32[8,3,1,1]",
        f"""
        %d: f32[8,3,1,1] = nn.conv_weight_gradient %x, %dy {attrs}
        %y: f32[8,3,1,1] = math.sub %w, %d
        """,
    )
    after = main(
        "%x: f32[1,3,4,4], %dy: f32[1,8,4,4], %w: state f32[8,3,1,1]",
        f"""
        %dyb: f32[1,8,4,4]{{1:4}} = layout.convert %dy {{axis = 1, size = 4}}
        %d: f32[8,3,1,1]{{0:4}} = nn.conv_weight_gradient %x, %dyb {attrs}
        %dr: f32[8,3,1,1] = layout.convert %d {{axis = none, size = 1}}
        %y: f32[8,3,1,1] = math.sub %w, %dr
        """,
    )
    becomes(blocked, before, after)
