"""What kernels are written with: C expressions, targets, tiles, names."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from harness import launch_of, one_op
from hypothesis import given
from hypothesis import strategies as st

from netc.backends.cuda.backend import kernel_name, lower_module
from netc.backends.cuda.lower.table import lower_launch
from netc.backends.cuda.lower.tiling import SIMT_TILES, TENSOR_TILES, choose
from netc.backends.cuda.target import ARCHITECTURES, parse_cuda_target
from netc.backends.cuda.text import c_dim, c_float, linear, plus, split_index, times
from netc.ir.diagnostics import NetcError
from netc.ir.dim import ceildiv, minimum, symbol
from netc.ir.location import Location
from netc.ir.ops.elementwise import ReluAttrs
from netc.ir.ops.pick import TopKAttrs
from netc.ir.ops.shape import TransposeAttrs
from netc.ir.parser import parse_module
from netc.ir.types import TensorType


def value_of(text: str, **names: int) -> int:
    """A C expression over non-negative ints, evaluated."""
    given = {**names, "floor_div": lambda a, b: a // b, "min": min}
    return int(eval(text.replace("/", "//"), {"__builtins__": {}}, given))


# --- expressions ---
@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.data())
def test_the_indices_of_a_linear_index_are_numpy_s(extents: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, math.prod(extents) - 1))
    found = [value_of(text, item=at) for text in split_index("item", extents)]
    assert found == [int(i) for i in np.unravel_index(at, extents)]


@given(st.integers(1, 50), st.integers(1, 50))
def test_dimensions_of_symbols_have_their_values(n: int, h: int) -> None:
    a, b = symbol("N"), symbol("H")
    for dim, wanted in (
        (a * 3 + 2, 3 * n + 2),
        (a * b - 1, n * h - 1),
        (ceildiv(b - 3, 2) + 1, -(-(h - 3) // 2) + 1),
        (minimum(a, b * 2), min(n, 2 * h)),
    ):
        assert value_of(c_dim(dim), size_N=n, size_H=h) == wanted
        assert value_of(times("i + 1", dim), size_N=n, size_H=h, i=4) == 5 * wanted


def test_what_is_known_is_folded() -> None:
    assert plus("0", "a", "0") == "a"
    assert plus("0") == "0"
    assert times("i", 0) == times("0", 5) == "0"
    assert times("i", 1) == "i"
    assert linear(["n", "0", "x"], [12, 4, 1]) == "n * 12 + x"
    assert split_index("i", [1, 1]) == ["0", "0"]


@pytest.mark.parametrize("number", [0.1, -2.5e-8, 3.0, 1e30, -0.0, 1e-45])
def test_a_float_keeps_its_bits(number: float) -> None:
    text = c_float(number)
    assert text.endswith("f")
    assert np.float32(text[:-1]).tobytes() == np.float32(number).tobytes()


def test_what_is_no_number_is_written_by_its_bits() -> None:
    assert c_float(float("inf")) == "netc_bits_to_float(0x7f800000u)"
    assert c_float(float("nan")).startswith("netc_bits_to_float(0x7fc")


# --- targets ---
def test_a_target_names_all_architectures_some_or_one() -> None:
    assert [a.name for a in parse_cuda_target("cuda").architectures] == list(ARCHITECTURES)
    assert parse_cuda_target("CUDA:sm_90, sm_80,sm_90").name == "cuda:sm_80,sm_90"
    assert parse_cuda_target("cuda:sm_75").precision == "tf32"


@pytest.mark.parametrize("text", ["cuda:", "cuda:90", "cuda:sm_60", "cpu:sm_90", "cuda:sm_90,"])
def test_other_targets_are_errors_that_list_those_known(text: str) -> None:
    with pytest.raises(NetcError, match="unknown CUDA target") as error:
        parse_cuda_target(text)
    assert "sm_120" in str(error.value.remedy)


def test_architectures_without_the_tensor_cores_compute_in_full_precision() -> None:
    wanted = {name: a.units("bf16") for name, a in ARCHITECTURES.items()}
    assert {name for name, units in wanted.items() if units.precision == "fp32"} == {"sm_70", "sm_75"}
    assert {a.compiled_as for a in ARCHITECTURES.values() if wanted[a.name].warpgroups} == {"sm_90a"}
    assert not any(a.portable_units("bf16").warpgroups for a in ARCHITECTURES.values())
    assert ARCHITECTURES["sm_75"].peak("tf32") == ARCHITECTURES["sm_75"].fp32
    assert ARCHITECTURES["sm_90"].peak("fp16") > ARCHITECTURES["sm_90"].peak("tf32")


# --- tiles ---
@given(st.integers(1, 3000), st.integers(1, 100_000), st.integers(1, 30_000), st.sampled_from([1, 2, 32]))
def test_parts_cover_the_sum_and_none_is_empty(m: int, n: int, k: int, groups: int) -> None:
    for tiles in (SIMT_TILES, TENSOR_TILES):
        schedule = choose(tiles, m, n, k, groups)
        assert (schedule.parts - 1) * schedule.share < k <= schedule.parts * schedule.share
        assert schedule.share % schedule.tile.k == 0


def test_long_sums_of_few_results_are_cut_and_others_are_not() -> None:
    assert choose(SIMT_TILES, 64, 64, 50_000, 1).parts > 4
    assert choose(SIMT_TILES, 512, 50_000, 4608, 1).parts == 1
    assert choose(SIMT_TILES, 64, symbol("N"), 50_000, 1).parts == 1


@pytest.mark.parametrize("tile", [*SIMT_TILES, *TENSOR_TILES], ids=str)
def test_the_threads_of_a_tile_share_its_elements_evenly(tile) -> None:
    for rows in (tile.m, tile.n):
        assert rows * tile.k % tile.threads == 0
        for line in (rows, tile.k):
            assert tile.threads % line == 0
    shared = 3 * tile.k * (tile.m + tile.n) * 4
    assert tile in SIMT_TILES or shared <= 48 << 10


# --- names ---
def test_equal_launches_share_a_kernel_whatever_their_names_and_places() -> None:
    type_ = TensorType("f32", (2, 8))
    one = launch_of([type_], one_op("math.relu", ReluAttrs(0.0)))
    moved = replace(one, location=Location("net.prototxt", 3, 1))
    assert kernel_name(one, "fp32", (True, True)) == kernel_name(moved, "fp32", (True, True))
    assert kernel_name(one, "fp32", (True, True)) != kernel_name(one, "fp32", (True, False))
    other = launch_of([type_], one_op("math.relu", ReluAttrs(0.5)))
    assert kernel_name(one, "fp32", (True, True)) != kernel_name(other, "fp32", (True, True))


VIEWS = """
module m buffer {
func @main(%x: buffer f32[4,8], %y: output buffer f32[4,3]) -> () {
  %a: buffer f32[4,3] strides(8,1) = buffer.view %x {start = [0, 4], shape = [4, 3]}
  %b: buffer f32[4,3] strides(8,1) = buffer.view %x {start = [0, 5], shape = [4, 3]}
  buffer.launch %a, %y {writes = 1, kernel = none} (%v: f32[4,3]) {
    yield %v
  }
  buffer.launch %b, %y {writes = 1, kernel = none} (%w: f32[4,3]) {
    yield %w
  }
}
}
"""


def test_views_that_begin_at_other_alignments_have_kernels_of_their_own() -> None:
    code = lower_module(parse_module(VIEWS), "fp32")
    assert len(code.kernels) == 2


def test_a_launch_without_a_lowering_is_an_error_with_its_op() -> None:
    integers = launch_of([TensorType("i64", (2, 3))], one_op("tensor.transpose", TransposeAttrs((1, 0))))
    with pytest.raises(NetcError, match=r"no kernel for tensor\.transpose"):
        lower_launch("k", integers, "fp32", [True, True])
    several = launch_of([TensorType("f32", (9,))], one_op("tensor.top_k", TopKAttrs(0, 2, "values")))
    with pytest.raises(NetcError, match=r"no kernel for tensor\.top_k"):
        lower_launch("k", several, "fp32", [True, True])
