"""Low precision of whole nets: near float32, on every level, from a file; and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.backends.llvm.target import parse_target
from netc.ir.diagnostics import NetcError
from netc.runtime.options import CompileOptions
from netc.runtime.ranges import ActivationRanges, read_ranges, write_ranges

ROOT = Path(__file__).parents[2]
LENET = ROOT / "examples" / "lenet"
NSFW = ROOT.parent / "shared" / "zoo" / "open_nsfw"
NET = """name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 15 dim: 13 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param { num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "tanh" type: "TanH" bottom: "conv2" top: "conv2" }
layer { name: "left" type: "Convolution" bottom: "conv2" top: "left"
  convolution_param { num_output: 32 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "right" type: "Convolution" bottom: "conv2" top: "right"
  convolution_param { num_output: 48 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "concat" type: "Concat" bottom: "left" bottom: "right" top: "concat" }
layer { name: "relu2" type: "ReLU" bottom: "concat" top: "concat" }
layer { name: "pool" type: "Pooling" bottom: "concat" top: "pool" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "conv3" type: "Convolution" bottom: "pool" top: "conv3"
  convolution_param { num_output: 32 kernel_size: 3 stride: 2 weight_filler { type: "msra" } } }
layer { name: "fc" type: "InnerProduct" bottom: "conv3" top: "fc"
  inner_product_param { num_output: 20 weight_filler { type: "msra" } } }
"""
SHAPE = (2, 3, 15, 13)
LEVELS = [t for t in ("cpu:sse2", "cpu:avx2", "cpu:avx512") if parse_target(t).lacking_here is None]


@pytest.fixture(scope="module")
def data() -> Any:
    return np.random.default_rng(0).uniform(-1, 1, SHAPE).astype(np.float32)


@pytest.fixture(scope="module")
def ranges(data: Any) -> ActivationRanges:
    return netc.calibrate(NET, None, {"data": data}, method="max")


def narrow_ops(module: netc.Module) -> set[str]:
    ops = [inner for op in module.compiled.main.ops for inner in (op.body.ops if op.body else [op])]
    return {op.name for op in ops if op.name.startswith(("nn.bf16", "nn.int8"))}


def off_by(module: netc.Module, data: Any, **options: Any) -> float:
    exact = netc.compile(NET, exact=True, **options).run(data=data)["fc"].copy()
    return float(np.abs(module.run(data=data)["fc"] - exact).max() / np.abs(exact).max())


@pytest.mark.parametrize("target", ["cpu", *LEVELS])
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_net_in_low_precision_stays_near_float32(
    precision: Any, target: str, data: Any, ranges: ActivationRanges
) -> None:
    own = ranges if precision == "int8" else None
    module = netc.compile(NET, precision=precision, ranges=own, target=target)
    assert narrow_ops(module) == {f"nn.{precision}_conv", f"nn.{precision}_inner_product"}
    assert off_by(module, data) < (0.02 if precision == "bf16" else 0.05)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_sizes_may_be_symbols(precision: Any, data: Any, ranges: ActivationRanges) -> None:
    own = ranges if precision == "int8" else None
    net = NET.rpartition('layer { name: "fc"')[0]
    if precision == "int8":
        own = netc.calibrate(net, None, {"data": data}, method="max")
    module = netc.compile(net, precision=precision, ranges=own, input_shapes={"data": ("N", 3, "H", "W")})
    assert narrow_ops(module)
    for shape in (SHAPE, (3, 3, 9, 21)):
        x = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
        exact = netc.compile(net, exact=True, input_shapes={"data": shape}).run(data=x)["conv3"]
        assert np.abs(module.run(data=x)["conv3"] - exact).max() < 0.06 * np.abs(exact).max()


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_file_holds_what_other_shapes_need(
    precision: Any, data: Any, ranges: ActivationRanges, tmp_path: Path
) -> None:
    own = ranges if precision == "int8" else None
    module = netc.compile(NET, precision=precision, ranges=own)
    module.save(tmp_path / "small.netc")
    loaded = netc.load(tmp_path / "small.netc")
    np.testing.assert_array_equal(loaded.run(data=data)["fc"], module.run(data=data)["fc"])
    one = data[:1]  # compiled anew, from what the file holds
    np.testing.assert_array_equal(loaded.run(data=one)["fc"], module.run(data=one)["fc"])
    assert loaded.compiled.options.ranges == own


def test_weights_that_change_are_made_narrow_again(data: Any) -> None:
    module = netc.compile(NET, precision="bf16")
    before = module.run(data=data)["fc"].copy()
    weights = module.params["fc"]
    weights[0][...] *= 2
    np.testing.assert_array_equal(module.run(data=data)["fc"], 2 * before)


def test_lenet_ranks_the_classes_of_the_digits_as_in_float32() -> None:
    image = pytest.importorskip("PIL.Image")
    files = sorted((LENET / "digits").glob("*.png"))
    digits = np.stack([np.asarray(image.open(f).convert("L"), np.float32)[None] / 256 for f in files])
    net, weights = LENET / "lenet.prototxt", LENET / "lenet_iter_10000.caffemodel"
    shapes = {"data": digits.shape}
    exact = netc.compile(net, weights, input_shapes=shapes).run(data=digits)["prob"]
    ranges = netc.calibrate(net, weights, {"data": digits}, input_shapes=shapes)
    for precision, own in (("bf16", None), ("int8", ranges)):
        module = netc.compile(net, weights, input_shapes=shapes, precision=precision, ranges=own)  # type: ignore[arg-type]
        got = module.run(data=digits)["prob"]
        np.testing.assert_array_equal(got.argmax(1), exact.argmax(1))
        np.testing.assert_allclose(got, exact, atol=0.05)


@pytest.mark.skipif(not NSFW.is_dir(), reason="the collection of models is not beside the project")
def test_a_resnet_with_trained_weights_gives_nearly_the_scores_of_float32() -> None:
    net, weights = NSFW / "deploy.prototxt", NSFW / "resnet_50_1by2_nsfw.caffemodel"
    pixels = np.random.default_rng(0).uniform(-120, 130, (1, 3, 224, 224)).astype(np.float32)
    exact = netc.compile(net, weights).run(data=pixels)["prob"]
    ranges = netc.calibrate(net, weights, {"data": pixels})
    for precision, own, most in (("bf16", None, 0.01), ("int8", ranges, 0.05)):
        module = netc.compile(net, weights, precision=precision, ranges=own)  # type: ignore[arg-type]
        np.testing.assert_allclose(module.run(data=pixels)["prob"], exact, atol=most)


# --- files of ranges ---
def test_ranges_are_read_as_they_were_written(ranges: ActivationRanges, tmp_path: Path) -> None:
    write_ranges(tmp_path / "r.json", ranges)
    assert read_ranges(tmp_path / "r.json") == ranges
    module = netc.compile(NET, precision="int8", ranges=tmp_path / "r.json")
    assert module.compiled.options.ranges == ranges


def test_ranges_of_another_net_are_refused(ranges: ActivationRanges) -> None:
    other = NET.replace("num_output: 20", "num_output: 21")
    with pytest.raises(NetcError, match="ranges are those of another net") as caught:
        netc.compile(other, precision="int8", ranges=ranges)
    assert "netc calibrate" in str(caught.value.remedy)


def test_ranges_serve_other_batches(data: Any, ranges: ActivationRanges) -> None:
    module = netc.compile(NET, precision="int8", ranges=ranges, input_shapes={"data": (5, *SHAPE[1:])})
    assert narrow_ops(module)


def test_ranges_serve_the_net_with_its_inputs_from_elsewhere(ranges: ActivationRanges) -> None:
    fields = 'input: "data" input_shape { dim: 2 dim: 3 dim: 15 dim: 13 }'
    before, _, after = NET.partition('layer { name: "data"')
    other = before + fields + after.partition("\n")[2]
    assert narrow_ops(netc.compile(other, precision="int8", ranges=ranges))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON"),
        ("[1]", "no ranges of format"),
        ('{"format": 2}', "no ranges of format"),
        ('{"format": 1, "net": "n"}', "are missing"),
        ("[" * 100_000, "no JSON"),
        (
            '{"format": 1, "net": "n", "digest": "d", "method": "max", "samples": 1, "ranges": {"x": [2, 1]}}',
            "range of 'x'",
        ),
        (
            '{"format": 1, "net": "n", "digest": "d", "method": "max", "samples": 1, "ranges": {"x": [0, NaN]}}',
            "range of 'x'",
        ),
        (
            '{"format": 1, "net": "n", "digest": "d", "method": "max", "samples": 1, "ranges": {"x": [0, 1'
            + 400 * "0"
            + "]}}",
            "range of 'x'",
        ),
    ],
)
def test_a_file_that_holds_no_ranges_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(NetcError, match=message):
        read_ranges(path)
    with pytest.raises(NetcError, match="No such file"):
        read_ranges(tmp_path / "none.json")


# --- what does not go together ---
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "one of fp32, tf32, bf16, fp16, int8"),
        ({"precision": "fp16"}, "no kernels for fp16"),
        ({"precision": "int8"}, "needs the ranges"),
        ({"precision": "int8", "target": "cuda:sm_90"}, "no kernels for int8"),
        ({"precision": "bf16", "target": "numpy"}, "computes in float32"),
        ({"precision": "bf16", "phase": "TRAIN"}, "training, and so the phase TRAIN, is in float32"),
        ({"precision": "bf16", "exact": True}, "exact forbids"),
        ({"precision": "bf16", "opt_level": 2}, "needs the optimisation level 3"),
    ],
)
def test_a_precision_that_cannot_be_had_is_refused(options: Any, message: str) -> None:
    with pytest.raises(NetcError, match=message):
        CompileOptions(**options)


def test_ranges_are_for_int8_alone(ranges: ActivationRanges) -> None:
    with pytest.raises(NetcError, match="ranges are for the precision int8"):
        CompileOptions(precision="bf16", ranges=ranges)
    assert replace(CompileOptions(precision="int8", ranges=ranges), threads=1).ranges == ranges


def test_nothing_goes_backward_in_low_precision() -> None:
    with pytest.raises(NetcError, match="backward"):
        netc.compile(NET, precision="bf16", training=True)
