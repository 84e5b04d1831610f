"""The pipeline as a whole: whatever the level, the net computes what it computed before."""

from __future__ import annotations

import numpy as np
import pytest
from buffer_machine import run_buffers
from hypothesis import HealthCheck, given, settings
from nets import NETS, arguments, prepared_arguments, random_nets, run_main

from netc.ir.core import Module
from netc.ir.parser import parse_module
from netc.ir.printer import print_module
from netc.ir.rewrite import bind_symbols
from netc.ir.verify import verify
from netc.passes.pipeline import OptLevel, place_buffers, run_pipeline, tensor_pipeline

LEVELS: tuple[OptLevel, ...] = (0, 1, 2, 3)


def check_all_stages(module: Module, opt_level: OptLevel, block: int = 4) -> None:
    """Every tensor stage equals the original in float64; the buffer module equals it in float32."""
    verify(module)
    args = arguments(module)
    expected = run_main(module, args)

    def check(stage: str, outcome: Module) -> None:
        verify(outcome)
        if outcome.level == "tensor":
            for a, b in zip(run_main(outcome, args), expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=f"after {stage}")

    lowered = run_pipeline(module, opt_level=opt_level, block=block, on_stage=check)
    prepared = prepared_arguments(lowered.tensor, args, "f32")
    in_f32 = run_main(lowered.tensor, args, "f32")
    for a, b in zip(run_buffers(lowered.buffer, prepared), in_f32, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("opt_level", LEVELS)
@pytest.mark.parametrize("name", sorted(NETS))
def test_every_stage_computes_what_the_net_computes(name: str, opt_level: OptLevel) -> None:
    check_all_stages(NETS[name](), opt_level)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(module=random_nets())
def test_random_nets_survive_all_optimizations(module: Module) -> None:
    check_all_stages(module, 3)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(module=random_nets())
def test_random_nets_survive_without_optimizations(module: Module) -> None:
    check_all_stages(module, 0)


@pytest.mark.parametrize("name", sorted(NETS))
def test_lowering_twice_gives_the_same_text_and_the_text_reads_back(name: str) -> None:
    first = run_pipeline(NETS[name](), opt_level=3, block=4)
    again = run_pipeline(NETS[name](), opt_level=3, block=4)
    for a, b in ((first.tensor, again.tensor), (first.buffer, again.buffer)):
        assert print_module(a) == print_module(b)
        assert parse_module(print_module(a)) == a


SYMBOLIC = """
module m tensor {
func @main(%x: f32[N,3,H,W], %w: param f32[8,3,3,3], %v: param f32[4,8,1,1]) -> (y = %y, z = %z) {
  %c: f32[N,8,H,W] = nn.conv %x, %w {stride = [1, 1], pad = [[1, 1], [1, 1]], dilation = [1, 1]}
  %r: f32[N,8,H,W] = math.relu %c
  %p: f32[N,8,floordiv(H+1,2),floordiv(W+1,2)] = nn.pool %r
      {kind = max, kernel = [2, 2], stride = [2, 2], pad = [[0, 0], [0, 0]]}
  %y: f32[N,4,floordiv(H+1,2),floordiv(W+1,2)] = nn.conv %p, %v
      {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}
  %z: f32[N,16,H,W] = tensor.concat %r, %c {axis = 1}
}
}
"""


@pytest.mark.parametrize("opt_level", LEVELS)
def test_a_net_of_any_size_is_lowered_once_and_placed_for_each_size(opt_level: OptLevel) -> None:
    module = parse_module(SYMBOLIC)
    lowered = run_pipeline(module, opt_level=opt_level, block=4, verify_each=True)
    for sizes in ({"N": 1, "H": 5, "W": 8}, {"N": 3, "H": 2, "W": 2}):
        placed = place_buffers(lowered.buffer, sizes, opt_level=opt_level)
        verify(placed)
        bound = bind_symbols(module, sizes)
        args = arguments(bound)
        tensor = bind_symbols(lowered.tensor, sizes)
        prepared = prepared_arguments(tensor, args, "f32")
        for a, b in zip(run_buffers(placed, prepared), run_main(bound, args, "f32"), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_every_stage_says_why_it_stands_where_it_does() -> None:
    stages = tensor_pipeline(3, block=16, fully_convolutional={})
    assert all(stage.why_here for stage in stages)
    assert [stage.name for stage in stages] == [
        "eliminate_dropout",
        "inner_product_to_conv",
        "canonicalize",
        "cse",
        "join_pads",
        "fold_affine",
        "conv_to_inner_product",
        "canonicalize",
        "deconv_to_conv",
        "dce",
        "widen_groups",
        "assign_layouts",
        "hoist_prepare",
        "fuse",
    ]
