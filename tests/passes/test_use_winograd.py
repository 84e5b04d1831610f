"""use_winograd: 3x3 convolutions of stride 1 become Winograd's."""

from __future__ import annotations

import pytest
from checks import keeps_meaning, main, stays
from nets import NETS, Net

from netc.ir.core import Module
from netc.ir.parser import parse_module
from netc.ir.verify import verify
from netc.passes.assign_layouts import assign_layouts
from netc.passes.hoist_prepare import hoist_prepare
from netc.passes.use_winograd import use_winograd


def with_tiles_of_two(module: Module) -> Module:
    return use_winograd(module, choose=lambda conv: 2)


@pytest.mark.parametrize("name", sorted(NETS))
def test_the_meaning_stays(name: str) -> None:
    keeps_meaning(with_tiles_of_two, NETS[name]())


def test_the_transform_of_the_weight_is_prepared_once() -> None:
    net = Net()
    module = net.module(net.relu(net.conv(net.input(1, 8, 6, 6), 8, 3)))
    prepared = hoist_prepare(assign_layouts(with_tiles_of_two(module), block=4))
    assert [op.name for op in prepared.func("prepare").ops].count("nn.winograd_weight") == 1
    main_ops = [op.name for op in prepared.func("main").ops]
    assert "nn.winograd_conv" in main_ops
    assert "nn.conv" not in main_ops


def test_weights_may_come_as_they_are() -> None:
    net = Net()
    module = net.module(net.relu(net.conv(net.input(1, 8, 6, 6), 8, 3)))

    def run(module: Module) -> Module:
        return use_winograd(module, choose=lambda conv: 2, keeps_weights=lambda conv, tile: tile == 2)

    keeps_meaning(run, module)
    lowered = hoist_prepare(assign_layouts(run(module), block=4))
    names = [op.name for func in lowered.funcs for op in func.ops]
    assert "nn.winograd_conv" in names
    assert "nn.winograd_weight" not in names


def test_a_convolution_that_the_choice_leaves_out_stays() -> None:
    net = Net()
    module = net.module(net.conv(net.input(1, 8, 6, 6), 8, 3))
    assert use_winograd(module, choose=lambda conv: None) == module


@pytest.mark.parametrize(
    ("kernel", "extents", "attrs"),
    [
        ("3,3", "2,2", "stride = [2, 2], pad = [[0, 0], [0, 0]], dilation = [1, 1]"),
        ("3,3", "3,3", "stride = [1, 1], pad = [[1, 1], [1, 1]], dilation = [2, 2]"),
        ("1,3", "5,3", "stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]"),
    ],
)
def test_other_windows_stay(kernel: str, extents: str, attrs: str) -> None:
    args = f"%x: f32[1,4,5,5], %w: param f32[4,4,{kernel}]"
    module = parse_module(main(args, f"%y: f32[1,4,{extents}] = nn.conv %x, %w {{{attrs}}}"))
    verify(module)
    assert with_tiles_of_two(module) == module


def test_weights_that_are_data_stay() -> None:
    attrs = "{stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}"
    stays(
        with_tiles_of_two,
        main("%x: f32[1,8,3,3], %w: f32[8,8,3,3]", f"%y: f32[1,8,1,1] = nn.conv %x, %w {attrs}"),
    )


def test_weights_that_learn_are_transformed_in_each_run_where_that_is_chosen() -> None:
    attrs = "{stride = [1, 1], pad = [[1, 1], [1, 1]], dilation = [1, 1]}"
    text = main("%x: f32[1,8,6,6], %w: state f32[8,8,3,3]", f"%y: f32[1,8,6,6] = nn.conv %x, %w {attrs}")
    stays(with_tiles_of_two, text)

    def in_each_run(module: Module) -> Module:
        return use_winograd(module, choose=lambda conv: None, choose_each_run=lambda conv: 2)

    module = parse_module(text)
    keeps_meaning(in_each_run, module)
    placed = assign_layouts(in_each_run(module), block=4)
    keeps_meaning(lambda m: assign_layouts(in_each_run(m), block=4), module)
    weights = [op for op in placed.func("main").ops if op.name == "nn.winograd_weight"]
    assert [op.attrs.block for op in weights] == [4]  # made as it is read: nothing is converted
    assert [op.name for op in placed.func("main").ops].count("layout.convert") == 2  # x and y
