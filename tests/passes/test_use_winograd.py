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
