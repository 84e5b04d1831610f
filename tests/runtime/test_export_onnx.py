"""ONNX files compute what netc computes. Checked by onnxruntime, where it is installed."""

from pathlib import Path

import numpy as np
import pytest

import netc
from netc.cli import main
from netc.frontend.dsl.read import parse_dsl
from netc.frontend.net_file import load_net
from netc.ir.diagnostics import NetcError
from netc.ir.location import Source
from netc.runtime.export import export_onnx
from netc.runtime.options import CompileOptions, as_input_shapes

ROOT = Path(__file__).parents[2]
GOLDENS = ROOT / "tests" / "goldens"
RELATIVE = 1e-4


def test_without_the_package_the_extra_is_named(tmp_path):
    try:
        import onnx  # noqa: F401
    except ImportError:
        with pytest.raises(NetcError, match=r"netc\[onnx\]"):
            export_onnx(ROOT / "examples/zoo/lenet.net", None, tmp_path / "x.onnx", CompileOptions())
    else:
        pytest.skip("onnx is installed")


def check(net, inputs, tmp_path, options=None, weights=None):
    """Export, run both, compare every output."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    path = tmp_path / "x.onnx"
    export_onnx(net, weights, path, options or CompileOptions())
    session = runtime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    shapes = {name: array.shape for name, array in inputs.items()}
    wanted = netc.compile(net, weights, target="numpy", input_shapes=shapes).run(**inputs)
    got = dict(zip([o.name for o in session.get_outputs()], session.run(None, dict(inputs)), strict=True))
    assert got.keys() == wanted.keys()
    for name, array in wanted.items():
        scale = np.abs(array).max() + 1e-6
        assert got[name].shape == array.shape
        np.testing.assert_allclose(got[name] / scale, array / scale, atol=RELATIVE)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


LAYERS = {
    "conv": "Convolution(x, num_output=6, kernel_size=3, pad=1, stride=2, group=2, dilation=2, weight_filler=f)",
    "deconv": "Deconvolution(x, num_output=4, kernel_size=4, stride=2, pad=1, weight_filler=f, bias_filler=f)",
    "max": "Pooling(x, kernel_size=3, stride=2)",
    "max_padded": "Pooling(x, kernel_size=3, stride=2, pad=1)",
    "max_clipped": "Pooling(x, kernel_size=2, stride=2, pad=1)",
    "ave": "Pooling(x, kernel_size=3, stride=2, pad=1, pool=AVE)",
    "ave_ceil": "Pooling(x, kernel_size=4, stride=3, pool=AVE)",
    "ave_even": "Pooling(x, kernel_size=3, stride=1, pool=AVE)",
    "floor": "Pooling(x, kernel_size=2, stride=2, round_mode=FLOOR)",
    "global": "Pooling(x, global_pooling=true, pool=AVE)",
    "global_max": "Pooling(x, global_pooling=true)",
    "lrn": "LRN(x, local_size=3, alpha=0.1, beta=0.6, k=2)",
    "lrn_within": "LRN(x, local_size=3, alpha=0.1, norm_region=WITHIN_CHANNEL)",
    "softmax": "Softmax(x)",
    "softmax2": "Softmax(x, axis=2)",
    "ip": "InnerProduct(x, num_output=5, weight_filler=f, bias_filler=f)",
    "ip_transposed": "InnerProduct(x, num_output=5, transpose=true, axis=2, bias_term=false, weight_filler=f)",
    "relu": "ReLU(x)",
    "leaky": "ReLU(x, negative_slope=0.1)",
    "elu": "ELU(x, alpha=0.5)",
    "sigmoid": "Sigmoid(x)",
    "tanh": "TanH(x)",
    "abs": "AbsVal(x)",
    "power": "Power(AbsVal(x), power=0.5, scale=2, shift=1)",
    "power1": "Power(x, scale=2)",
    "exp": "Exp(x, base=2, scale=0.5, shift=1)",
    "log": "Log(AbsVal(x), shift=1)",
    "prelu": "PReLU(x, filler=f)",
    "bn": "BatchNorm(x)",
    "scale": "Scale(x, filler=f, bias_term=true, bias_filler=f)",
    "bias": "Bias(x, filler=f)",
    "eltwise": "Eltwise(x, ReLU(x), coeff=[1, -2])",
    "product": "Eltwise(x, TanH(x), operation=PROD)",
    "maximum": "Eltwise(x, TanH(x), operation=MAX)",
    "concat": "Concat(x, ReLU(x), axis=2)",
    "slice": "Slice(x, axis=2, slice_point=[2, 3])[1]",
    "flatten": "Flatten(x, axis=2)",
    "reshape": "Reshape(x, shape={dim: [0, -1, 2]})",
    "crop": "Crop(x, Pooling(x, kernel_size=2, stride=2), axis=2, offset=1)",
    "permute": "Permute(x, order=[0, 2, 3, 1])",
    "dropout": "Dropout(x)",
}


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_a_layer_computes_the_same_in_onnx(name, tmp_path):
    slices = "a, b, c = Slice(x, axis=2, slice_point=[2, 3])" if name == "slice" else f"y = {LAYERS[name]}"
    text = f'f = {{type: "gaussian", std: 0.5}}\nx = Input(shape={{dim: [2, 4, 8, 8]}})\n{slices}\n'
    check(parse_dsl(Source("x.net", text)), {"x": random(2, 4, 8, 8)}, tmp_path)


@pytest.mark.parametrize("name", ["lenet", "squeezenet_v1.1", "mobilenet_v1", "googlenet", "resnet50"])
def test_a_net_of_the_zoo_computes_the_same_in_onnx(name, tmp_path):
    pytest.importorskip("onnxruntime")
    net = load_net(ROOT / "examples/zoo" / f"{name}.net")
    for layer in net.messages("layer"):
        own = {"Convolution": "convolution_param", "InnerProduct": "inner_product_param"}.get(
            layer.text("type")
        )
        if own:
            layer.message(own).ensure("weight_filler").set("type", "msra")
    shape = net.messages("layer")[0].message("input_param").messages("shape")[0].integers("dim")
    check(net, {"data": random(*shape)}, tmp_path)


def test_inputs_of_any_size_stay_symbols(tmp_path):
    net = parse_dsl(
        Source(
            "x",
            'x = Input()\ny = Convolution(x, num_output=2, kernel_size=3, weight_filler={type: "xavier"})',
        )
    )
    options = CompileOptions(input_shapes=as_input_shapes({"x": ("N", 3, "H", "W")}))
    check(net, {"x": random(2, 3, 9, 7)}, tmp_path, options)


def test_a_size_that_must_be_known_is_asked_for(tmp_path):
    pytest.importorskip("onnx")
    net = parse_dsl(Source("x.net", "x = Input()\ny = Pooling(x, kernel_size=3)"))
    options = CompileOptions(input_shapes=as_input_shapes({"x": ("N", 3, "H", "W")}))
    with pytest.raises(NetcError, match="needs sizes that are numbers") as caught:
        export_onnx(net, None, tmp_path / "x.onnx", options)
    assert str(caught.value.location) == "x.net:2:5"


def test_the_command_writes_the_file(tmp_path, capsys):
    pytest.importorskip("onnx")
    assert main(["export", str(ROOT / "examples/zoo/lenet.net"), str(tmp_path / "x.onnx")]) == 0
    assert "opset 13" in capsys.readouterr().out


def test_the_command_refuses_other_formats(tmp_path, capsys):
    assert main(["export", str(ROOT / "examples/zoo/lenet.net"), str(tmp_path / "x.tflite")]) == 2
    assert "netc exports to .onnx" in capsys.readouterr().err
