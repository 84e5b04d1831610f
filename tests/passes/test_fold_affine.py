"""fold_affine: BatchNorm, Scale and the like disappear into weights."""

from __future__ import annotations

import numpy as np
import pytest
from checks import UNIT, becomes, keeps_meaning, main, stays
from hypothesis import HealthCheck, given, settings
from nets import NETS, Net, arguments, random_nets, run_main

from netc.ir.core import Module
from netc.passes.dce import dce
from netc.passes.fold_affine import fold_affine
from netc.passes.hoist_prepare import hoist_prepare


def data_ops(module: Module) -> list[str]:
    """The ops that are left for every run, after folding."""
    return [op.name for op in hoist_prepare(dce(fold_affine(module))).func("main").ops]


@pytest.mark.parametrize("name", sorted(NETS))
def test_the_meaning_stays(name: str) -> None:
    keeps_meaning(fold_affine, NETS[name]())


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(module=random_nets())
def test_the_meaning_of_random_nets_stays(module: Module) -> None:
    keeps_meaning(fold_affine, module)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("group", [1, 2, 4])
def test_batch_norm_and_scale_fold_into_a_convolution(group: int, bias: bool) -> None:
    net = Net()
    x = net.conv(net.input(2, 4, 5, 5), 8, group=group, bias=bias)
    module = net.module(net.scale(net.batch_norm(x)))
    keeps_meaning(fold_affine, module)
    assert data_ops(module) == ["nn.conv"]


@pytest.mark.parametrize("group", [1, 2, 4])
def test_batch_norm_and_scale_fold_into_a_deconvolution(group: int) -> None:
    net = Net()
    module = net.module(net.scale(net.batch_norm(net.deconv(net.input(2, 4, 3, 3), 8, group=group))))
    keeps_meaning(fold_affine, module)
    assert data_ops(module) == ["nn.deconv"]


@pytest.mark.parametrize("transpose", [True, False])
def test_batch_norm_and_scale_fold_into_an_inner_product(transpose: bool) -> None:
    net = Net()
    module = net.module(net.scale(net.batch_norm(net.inner_product(net.input(3, 6), 4, transpose=transpose))))
    keeps_meaning(fold_affine, module)
    assert data_ops(module) == ["nn.inner_product"]


def test_batch_norm_before_a_convolution_becomes_one_mul_and_one_add() -> None:
    net = Net()
    module = net.module(net.conv(net.relu(net.scale(net.batch_norm(net.input(1, 4, 4, 4)))), 4))
    keeps_meaning(fold_affine, module)
    assert data_ops(module) == ["math.mul", "math.add", "math.relu", "nn.conv"]


def test_numbers_fold_without_a_param() -> None:
    args = "%x: f32[1,2,4,4], %w: param f32[3,2,1,1]"
    before = f"""
        %c: f32[1,3,4,4] = nn.conv %x, %w {UNIT}
        %y: f32[1,3,4,4] = math.affine %c {{scale = 2.0, shift = 0.5}}"""
    after = f"""
        %v: f32[3,2,1,1] = math.affine %w {{scale = 2.0, shift = 0.0}}
        %b: f32[3] = tensor.fill {{tensor = <f32[3]>, value = 0.5}}
        %y: f32[1,3,4,4] = nn.conv %x, %v, %b {UNIT}"""
    becomes(fold_affine, main(args, before), main(args, after))


def test_one_number_for_all_channels_folds() -> None:
    args = "%x: f32[1,2,4,4], %w: param f32[3,2,1,1], %s: param f32[1,1,1,1]"
    before = f"""
        %c: f32[1,3,4,4] = nn.conv %x, %w {UNIT}
        %m: f32[1,3,4,4] = math.mul %c, %s
        %y: f32[1,3,4,4] = math.sub %s, %m"""
    module_ops = f"""
        %n: f32[1,1,1,1] = math.affine %s {{scale = -1.0, shift = 0.0}}
        %v: f32[3,2,1,1] = math.mul %w, %n
        %t: f32[1] = tensor.reshape %s {{shape = [1]}}
        %z: f32[3] = tensor.fill {{tensor = <f32[3]>, value = 0.0}}
        %b: f32[3] = math.add %z, %t
        %y: f32[1,3,4,4] = nn.conv %x, %v, %b {UNIT}"""
    becomes(fold_affine, main(args, before), main(args, module_ops))


def test_data_times_zero_in_a_chain_without_an_anchor_keeps_what_is_added() -> None:
    before = """
        %z: f32[1,3,4,4] = math.affine %x {scale = 0.0, shift = 0.0}
        %a: f32[1,3,4,4] = math.add %z, %s
        %y: f32[1,3,4,4] = math.add %a, %s"""
    after = """
        %t: f32[1,3,1,1] = math.add %s, %s
        %z: f32[1,3,4,4] = math.affine %x {scale = 0.0, shift = 0.0}
        %y: f32[1,3,4,4] = math.add %z, %t"""
    args = "%x: f32[1,3,4,4], %s: param f32[1,3,1,1]"
    becomes(fold_affine, main(args, before), main(args, after))


CONV = f"%c: f32[1,3,4,4] = nn.conv %x, %w {UNIT}"
STAYS = {
    "the result of the convolution is read twice": f"""
        {CONV}
        %m: f32[1,3,4,4] = math.mul %c, %s
        %y: f32[1,3,4,4] = math.add %m, %c""",
    "the param has one number a place": f"""
        {CONV}
        %y: f32[1,3,4,4] = math.mul %c, %places""",
    "a param is divided by data": f"""
        {CONV}
        %y: f32[1,3,4,4] = math.div %s, %c""",
    "the other operand is data": f"""
        {CONV}
        %y: f32[1,3,4,4] = math.mul %c, %data""",
    "the weights are data": f"""
        %c: f32[1,3,4,4] = nn.conv %x, %dataw {UNIT}
        %y: f32[1,3,4,4] = math.mul %c, %s""",
    "the op widens its operand": f"""
        %c: f32[1,1,4,4] = nn.conv %x, %narrow {UNIT}
        %y: f32[1,3,4,4] = math.mul %c, %s""",
}


@pytest.mark.parametrize("case", sorted(STAYS))
def test_what_is_not_affine_per_channel_stays(case: str) -> None:
    args = (
        "%x: f32[1,2,4,4], %w: param f32[3,2,1,1], %s: param f32[1,3,1,1], %places: param f32[1,3,4,4], "
        "%data: f32[1,3,1,1], %dataw: f32[3,2,1,1], %narrow: param f32[1,2,1,1]"
    )
    stays(fold_affine, main(args, STAYS[case]))


def test_a_result_of_the_function_keeps_its_value() -> None:
    net = Net()
    x = net.conv(net.input(1, 2, 4, 4), 3)
    module = net.module(net.scale(x), x)
    args = arguments(module)
    for a, b in zip(run_main(fold_affine(module), args), run_main(module, args), strict=True):
        np.testing.assert_array_equal(a, b)
