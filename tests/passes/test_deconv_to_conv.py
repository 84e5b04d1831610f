"""deconv_to_conv: which deconvolutions are other convolutions, and that nothing else changes."""

from __future__ import annotations

import pytest
from checks import becomes, keeps_meaning, main, stays

from netc.ir.core import Module
from netc.ir.parser import parse_module
from netc.passes.assign_layouts import assign_layouts
from netc.passes.deconv_to_conv import deconv_to_conv


def fractional(module: Module) -> Module:
    return deconv_to_conv(module, fractional=True)


def deconv(weight: str, result: str, attrs: str) -> str:
    """A module with one deconvolution of %x, [2,8,5,6]."""
    return main(
        f"%x: f32[2,8,5,6], %w: state f32{weight}, %b: f32[{result.split(',')[1]}]",
        f"%y: f32{result} = nn.deconv %x, %w, %b {attrs}",
    )


@pytest.mark.parametrize(
    ("weight", "result", "attrs"),
    [
        ("[8,3,3,3]", "[2,3,7,8]", "{stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}"),
        ("[8,3,3,5]", "[2,3,5,9]", "{stride = [1, 1], pad = [[1, 1], [2, -1]], dilation = [1, 1]}"),
        ("[8,3,3,3]", "[2,3,7,8]", "{stride = [1, 1], pad = [[1, 1], [0, 2]], dilation = [2, 2]}"),
        ("[8,1,3,3]", "[2,8,5,6]", "{stride = [1, 1], pad = [[1, 1], [1, 1]], dilation = [1, 1], group = 8}"),
        ("[8,3,1,1]", "[2,6,5,6]", "{stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1], group = 2}"),
    ],
)
def test_stride_one_becomes_a_convolution(weight: str, result: str, attrs: str) -> None:
    module = parse_module(deconv(weight, result, attrs), "<test>")
    keeps_meaning(deconv_to_conv, module)
    names = [op.name for op in deconv_to_conv(module).func("main").ops]
    assert names == ["nn.adjoint_weight", "nn.conv"]
    keeps_meaning(lambda m: assign_layouts(deconv_to_conv(m), block=4), module)


@pytest.mark.parametrize(
    ("weight", "result", "attrs"),
    [
        ("[8,3,3,3]", "[2,3,9,12]", "{stride = [2, 2], pad = [[1, 1], [1, 0]], dilation = [1, 1]}"),
        ("[8,3,1,1]", "[2,3,10,12]", "{stride = [2, 2], pad = [[0, -1], [0, -1]], dilation = [1, 1]}"),
        ("[8,3,4,2]", "[2,3,16,6]", "{stride = [3, 1], pad = [[0, 0], [1, 0]], dilation = [1, 1]}"),
    ],
)
def test_a_larger_stride_becomes_a_fractional_one_where_asked_for(
    weight: str, result: str, attrs: str
) -> None:
    text = deconv(weight, result, attrs)
    module = parse_module(text, "<test>")
    stays(deconv_to_conv, text)
    keeps_meaning(fractional, module)
    assert [op.name for op in fractional(module).func("main").ops][1:] == ["nn.fractional_conv"]
    keeps_meaning(lambda m: assign_layouts(fractional(m), block=4), module)


@pytest.mark.parametrize(
    ("weight", "result", "attrs"),
    [
        # pads that a convolution cannot have
        ("[8,3,1,1]", "[2,3,3,6]", "{stride = [1, 1], pad = [[1, 1], [0, 0]], dilation = [1, 1]}"),
        # too many phases, groups, strided and dilated
        ("[8,3,8,8]", "[2,3,40,48]", "{stride = [8, 8], pad = [[0, 0], [0, 0]], dilation = [1, 1]}"),
        ("[8,1,4,4]", "[2,8,12,14]", "{stride = [2, 2], pad = [[0, 0], [0, 0]], dilation = [1, 1], group = 8}"),
        ("[8,3,3,3]", "[2,3,13,15]", "{stride = [2, 2], pad = [[0, 0], [0, 0]], dilation = [2, 2]}"),
    ],
)  # fmt: skip
def test_other_deconvolutions_stay(weight: str, result: str, attrs: str) -> None:
    stays(fractional, deconv(weight, result, attrs))


def test_the_adjoint_weight_is_made_in_the_layout_of_its_reader() -> None:
    attrs = "{stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}"
    before = main("%x: f32[1,8,4,4], %w: state f32[8,8,1,1]", f"%y: f32[1,8,4,4] = nn.deconv %x, %w {attrs}")
    after = main(
        "%x: f32[1,8,4,4], %w: state f32[8,8,1,1]",
        f"""
        %xb: f32[1,8,4,4]{{1:4}} = layout.convert %x {{axis = 1, size = 4}}
        %v: f32[8,8,1,1]{{0:4}} = nn.adjoint_weight %w {{group = 1, block = 4}}
        %c: f32[1,8,4,4]{{1:4}} = nn.conv %xb, %v {attrs}
        %y: f32[1,8,4,4] = layout.convert %c {{axis = none, size = 1}}
        """,
    )
    becomes(lambda m: assign_layouts(deconv_to_conv(m), block=4), before, after)
