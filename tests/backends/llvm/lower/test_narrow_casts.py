"""Conversions to narrow numbers and back, as kernels, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from harness import LANES, TARGETS, Array, launch_of, one_op, run_launch

from netc.ir.builder import FuncBuilder
from netc.ir.core import Value
from netc.ir.layout import Blocked
from netc.ir.opdef import NoAttrs, opdef
from netc.ir.ops.elementwise import ReluAttrs
from netc.ir.ops.int8 import AffineCode
from netc.ir.types import TensorType

BITS = np.random.default_rng(0).integers(0, 2**32, 40 * 31, dtype=np.uint64).astype(np.uint32)
TIES = np.array([0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0x7F7FFFFF, 0xFF7FFFFF], np.uint32)
SPECIAL = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e30], np.float32)


def floats() -> Array:
    """Numbers of any size; what vanishes in bf16's smallest is left out, as instructions differ in that."""
    found = np.concatenate([TIES.view(np.float32), SPECIAL, BITS.view(np.float32)])[: 40 * 31]
    return np.where(np.abs(found) < 1e-37, np.float32(0), found).reshape(40, 31)


@pytest.mark.parametrize("target", ["cpu", *TARGETS])
def test_rounding_to_bf16_goes_to_the_nearest_and_ties_to_even(target: str) -> None:
    x = floats()
    launch = launch_of([TensorType("f32", x.shape)], one_op("math.to_bf16", NoAttrs()))
    (got,) = [m.logical() for m in run_launch(launch, [x], target=target).outputs]
    (wanted,) = opdef("math.to_bf16").reference((x,), NoAttrs())  # type: ignore[misc]
    quiet = np.isnan(x)  # any quiet NaN will do
    np.testing.assert_array_equal(got[~quiet], wanted[~quiet])
    assert ((got[quiet] & 0x7FC0) == 0x7FC0).all()


@pytest.mark.parametrize("target", ["cpu", *TARGETS])
def test_every_bf16_has_its_value(target: str) -> None:
    bits = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    launch = launch_of([TensorType("bf16", bits.shape)], one_op("math.from_bf16", NoAttrs()))
    (got,) = [m.logical() for m in run_launch(launch, [bits], target=target).outputs]
    np.testing.assert_array_equal(got.view(np.uint32) >> 16, bits)


@pytest.mark.parametrize("code", [AffineCode(0.037), AffineCode(0.01, 128)])
@pytest.mark.parametrize("target", ["cpu", *TARGETS])
def test_codes_are_the_references(code: AffineCode, target: str) -> None:
    x = np.concatenate([SPECIAL, np.linspace(-15, 15, 1001, dtype=np.float32)])
    launch = launch_of([TensorType("f32", x.shape)], one_op("math.to_u8", code))
    (got,) = [m.logical() for m in run_launch(launch, [x], target=target).outputs]
    np.testing.assert_array_equal(got, opdef("math.to_u8").reference((x,), code)[0])  # type: ignore[misc]
    back = launch_of([TensorType("u8", x.shape)], one_op("math.from_u8", code))
    (values,) = [m.logical() for m in run_launch(back, [got], target=target).outputs]
    np.testing.assert_array_equal(values, opdef("math.from_u8").reference((got,), code)[0])  # type: ignore[misc]


@pytest.mark.parametrize("target", ["cpu", *TARGETS])
def test_a_sweep_reads_and_writes_numbers_of_several_widths(target: str) -> None:
    layout = Blocked(1, LANES.get(target, 16))
    code = AffineCode(0.05)
    types = [TensorType("u8", (2, 20, 5, 3), layout), TensorType("f32", (2, 20, 5, 3), layout)]

    def build(b: FuncBuilder, args: list[Value]) -> Value:
        value = b.add1("math.from_u8", args[:1], code, hint="v")
        total = b.add1("math.add", [value, args[1]], NoAttrs(), hint="t")
        positive = b.add1("math.relu", [total], ReluAttrs(), hint="r")
        return b.add1("math.to_bf16", [positive], NoAttrs(), hint="q")

    generator = np.random.default_rng(1)
    q = generator.integers(0, 256, (2, 20, 5, 3)).astype(np.uint8)
    x = (generator.integers(-64, 64, q.shape) / 16).astype(np.float32)
    (got,) = [m.logical() for m in run_launch(launch_of(types, build), [q, x], target=target).outputs]
    total = np.maximum(q.astype(np.float32) * np.float32(code.scale) + x, 0)
    wanted = opdef("math.to_bf16").reference((total,), NoAttrs())[0]  # type: ignore[misc]
    # a product and a sum may be rounded once or twice
    assert np.abs(got.astype(int) - wanted.astype(int)).max() <= 1
