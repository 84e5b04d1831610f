"""What a function costs."""

from __future__ import annotations

from checks import UNIT, main
from nets import NETS

from netc.ir.cost import func_cost
from netc.ir.dim import symbol
from netc.ir.parser import parse_module
from netc.passes.fuse import fuse


def test_multiply_accumulates_of_the_matrix_like_ops() -> None:
    args = "%x: f32[N,4,5,5], %w: param f32[6,2,3,3], %v: param f32[4,3,1,1], %u: param f32[7,36]"
    grouped = UNIT.replace("}", ", group = 2}")
    ops = f"""
        %c: f32[N,6,3,3] = nn.conv %x, %w {grouped}
        %d: f32[N,6,5,5] = nn.deconv %x, %v {grouped}
        %y: f32[N,7] = nn.inner_product %f, %u {{transpose = false}}"""
    module = parse_module(main(f"{args}, %f: f32[N,36]", ops))
    n = symbol("N")
    cost = func_cost(module.func("main"))
    assert cost.macs == n * (6 * 9 * 2 * 9 + 4 * 25 * 3 + 36 * 7)
    assert cost.flops == cost.macs * 2
    assert cost.param_bytes == 4 * (108 + 12 + 252)
    assert cost.activation_bytes == n * 4 * (54 + 150 + 7)
    assert cost.ops == 3


def test_fusing_does_not_change_the_work() -> None:
    module = NETS["residual"]()
    before, after = func_cost(module.func("main")), func_cost(fuse(module).func("main"))
    assert (before.ops, before.macs, before.param_bytes) == (after.ops, after.macs, after.param_bytes)


def test_the_ops_of_a_backward_pass_cost_what_the_convolution_does() -> None:
    stride = "stride = [2, 2], pad = [[0, 0], [0, 0]], dilation = [1, 1]"
    ops = f"""
        %y: f32[2,6,3,3] = nn.conv %x, %w {{{stride}}}
        %d: f32[6,4,3,3] = nn.conv_weight_gradient %x, %y {{kernel = [3, 3], {stride}}}
        %v: f32[4,6,3,3] = nn.adjoint_weight %w {{group = 1}}
        %e: f32[2,4,7,7] = nn.fractional_conv %y, %v {{spread = [2, 2], pad = [[2, 2], [2, 2]]}}"""
    module = parse_module(main("%x: f32[2,4,7,7], %w: param f32[6,4,3,3]", ops, "e = %e"))
    assert func_cost(module.func("main")).macs == 3 * (2 * 6 * 9 * 4 * 9)
