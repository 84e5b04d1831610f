"""Winograd's convolution on GPUs: its kernels in the emulator, where it is used, and its error in a net."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_harness import check_launch, needs_emulator
from emulated_device import emulated_gpu
from harness import added_and_rectified, launch_of, random

import netc
from netc.backends.cuda.lower.table import has_kernel
from netc.backends.cuda.lower.winograd_cost import choose_winograd_tile, winograd_costs
from netc.backends.cuda.target import ARCHITECTURES
from netc.ir.builder import infer_types
from netc.ir.core import Op, Value
from netc.ir.dim import evaluate, symbol
from netc.ir.ops.conv import ConvAttrs
from netc.ir.ops.winograd import WinogradConvAttrs
from netc.ir.types import TensorType

# shape, outputs, pad
CASES = [
    ((1, 16, 8, 8), 16, ((1, 1), (1, 1))),  # whole tiles
    ((1, 20, 7, 9), 37, ((1, 1), (1, 1))),  # tiles that overhang, sides that are no multiples of four
    ((3, 5, 5, 6), 18, ((0, 0), (0, 0))),  # several images
    ((1, 32, 1, 1), 16, ((2, 2), (2, 2))),  # all padding but one element
    ((2, 12, 6, 6), 33, ((2, 1), (0, 3))),  # uneven padding
]
SIZES = [(2, 3), (4, 3), (2, 5)]
TOLERANCES = {4: 4e-6, 6: 4e-5}  # by extent, as on the CPU


def winograd_launch(
    case: Any, tile: int, taps: int, *, many: bool = False
) -> tuple[Op, list[Any], dict[str, int]]:
    """Convolution + residual sum + ReLU; ``many``: the number of images is a symbol."""
    extents, outputs, pad = case
    x = TensorType("f32", (symbol("N"), *extents[1:]) if many else extents)
    u = TensorType("f32", (outputs, (tile + taps - 1) ** 2, extents[1]))
    b = TensorType("f32", (outputs,))
    attrs = WinogradConvAttrs(tile, taps, pad)
    operands = tuple(Value(f"v{i}", t) for i, t in enumerate((x, u, b)))
    (y,) = infer_types("nn.winograd_conv", operands, attrs)

    symbols = {"N": extents[0]} if many else {}
    residual = random(tuple(evaluate(d, symbols) for d in y.shape), 4)
    arrays = [random(extents, 1), random(u.static_shape, 2), random((outputs,), 3), residual]
    return launch_of([x, u, b, y], added_and_rectified("nn.winograd_conv", attrs)), arrays, symbols


@needs_emulator
@pytest.mark.parametrize(("tile", "taps"), SIZES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_winograd_convolution_computes_what_the_reference_does(case: Any, tile: int, taps: int) -> None:
    launch, arrays, _ = winograd_launch(case, tile, taps)
    kernel = check_launch(launch, arrays, tolerance=TOLERANCES[tile + taps - 1])
    assert [stage.name for stage in kernel.stages] == ["kernel", "kernel_product", "kernel_out"]


@needs_emulator
def test_one_kernel_serves_any_number_of_images() -> None:
    launch, arrays, symbols = winograd_launch(CASES[2], 4, 3, many=True)
    check_launch(launch, arrays, symbols=symbols, tolerance=TOLERANCES[6])


@needs_emulator
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_small_tiles_on_tensor_cores_keep_the_error_of_their_precision(precision: str) -> None:
    launch, arrays, _ = winograd_launch(((1, 32, 9, 9), 32, ((1, 1), (1, 1))), 2, 3)
    kernel = check_launch(launch, arrays, precision=precision)
    assert "mma_m16" in kernel.stages[1].text


def test_groups_and_large_tiles_have_no_kernel() -> None:
    launch, _, _ = winograd_launch(CASES[0], 6, 3)
    assert not has_kernel(launch)


# --- where it pays ---
def conv_op(channels: int, size: int, outputs: int, *, images: Any = 1, taps: int = 3, group: int = 1) -> Op:
    x = Value("x", TensorType("f32", (images, channels, size, size)))
    w = Value("w", TensorType("f32", (outputs, channels // group, taps, taps)))
    pad = (taps // 2, taps // 2)
    attrs = ConvAttrs((1, 1), (pad, pad), (1, 1), group)
    (y,) = infer_types("nn.conv", (x, w), attrs)
    return Op("nn.conv", (x, w), attrs, (Value("y", y),))


H100 = ARCHITECTURES["sm_90"]


def test_wide_convolutions_in_fp32_become_winograd_s_and_thin_or_tf32_ones_stay() -> None:
    wide = conv_op(256, 28, 256, images=8)
    assert choose_winograd_tile(wide, H100, "fp32") == 4
    assert choose_winograd_tile(conv_op(3, 224, 16), H100, "fp32") is None
    assert choose_winograd_tile(wide, H100, "tf32") is None


def test_only_the_smallest_tile_is_weighed_where_factors_are_rounded() -> None:
    assert set(winograd_costs(conv_op(256, 28, 256), H100, "tf32")) == {None, 2}
    assert set(winograd_costs(conv_op(256, 28, 256), H100, "fp32")) == {None, 2, 4}


def test_groups_unknown_sizes_and_too_much_memory_are_left_to_direct_kernels() -> None:
    assert set(winograd_costs(conv_op(64, 28, 64, group=2), H100, "fp32")) == {None}
    assert set(winograd_costs(conv_op(64, 224, 64, images=128), H100, "fp32")) == {None}
    unknown = conv_op(64, 28, 64, images=symbol("N"))
    assert set(winograd_costs(unknown, H100, "fp32")) == {None}


NET = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 128 dim: 28 dim: 28 } } }
layer { name: "a" type: "Convolution" bottom: "data" top: "a" convolution_param {
  num_output: 256 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } bias_filler { type: "constant" value: 0.1 } } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
"""


@needs_emulator
def test_a_net_computes_with_it_what_it_does_without_and_exact_forbids_it() -> None:
    data = np.random.default_rng(0).standard_normal((1, 128, 28, 28)).astype(np.float32)

    def run(**options: Any) -> tuple[Any, set[str]]:
        module = netc.compile(NET, weights, target="cuda:sm_90", precision="fp32", **options)
        ops = module.compiled.tensor.func("main").ops
        return module.run(data=data)["a"], {o.name for op in ops for o in (op.body.ops if op.body else (op,))}

    weights = netc.compile(NET, target="numpy").params
    with emulated_gpu(checks=False):
        quick, with_winograd = run()
        direct, without = run(exact=True)
        assert "nn.winograd_conv" not in run(opt_level=2)[1]
    assert "nn.winograd_conv" in with_winograd
    assert "nn.winograd_conv" not in without
    assert 0 < np.max(np.abs(quick - direct)) <= TOLERANCES[6] * np.max(np.abs(direct))
