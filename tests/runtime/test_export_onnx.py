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
    "bnll": "BNLL(x)",
    "clip": "Clip(x, min=-0.5, max=0.25)",
    "relu6": "ReLU6(x)",
    "hard_swish": "HardSwish(x)",
    "swish": "Swish(x)",
    "threshold": "Threshold(x, threshold=0.2)",
    "argmax": "ArgMax(x, axis=1)",
    "argmax_ties": "ArgMax(Threshold(x), axis=2, top_k=3)",
    "best": "ArgMax(x, top_k=5, out_max_val=true)",
    "tile": "Tile(x, axis=2, tiles=3)",
    "pad": 'layer("Pad", x, paddings=[0, 0, 0, 0, 1, 2, 3, 0], constant_values=1.5)',
    "im2col": "Im2col(x, kernel_size=3, stride=2, pad=1, dilation=2)",
    "interp": "Interp(x, height=13, width=5)",
    "nearest": "Resize(x, height=16, width=12, type=NEAREST)",
    "bilinear": "Resize(x, height=5, width=12)",
    "mvn": "MVN(x)",
    "normalize": "Normalize(x, scale_filler=f)",
    "reduction": "Reduction(x, axis=2, operation=SUMSQ, coeff=2)",
    "spp": "SPP(x, pyramid_height=3)",
    "reorg": "Reorg(x, stride=2)",
    "shuffle": "ShuffleChannel(x, group=2)",
    "priors": "PriorBox(x, x, min_size=3, max_size=5, aspect_ratio=2, flip=true, variance=[0.1, 0.1, 0.2, 0.2])",
    "loss": "EuclideanLoss(x, TanH(x))",
    "cross_entropy": "SigmoidCrossEntropyLoss(x, Sigmoid(x))",
}


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_a_layer_computes_the_same_in_onnx(name, tmp_path):
    slices = "a, b, c = Slice(x, axis=2, slice_point=[2, 3])" if name == "slice" else f"y = {LAYERS[name]}"
    text = f'f = {{type: "gaussian", std: 0.5}}\nx = Input(shape={{dim: [2, 4, 8, 8]}})\n{slices}\n'
    check(parse_dsl(Source("x.net", text)), {"x": random(2, 4, 8, 8)}, tmp_path)


LABELS = np.array([[0, 3, 1], [2, 7, -1]], np.float32)  # some are no class of four
LABELLED = {
    "softmax_loss": "SoftmaxWithLoss(x, l)",
    "softmax_loss_ignore": "SoftmaxWithLoss(x, l, ignore_label=2)",
    "multinomial": "MultinomialLogisticLoss(Softmax(Flatten(x)), l0)",
    "hinge": "HingeLoss(Flatten(x), l0)",
    "infogain": "InfogainLoss(Flatten(x), l0, Eltwise(i, i))",
    "accuracy": "Accuracy(x, l)",
    "accuracy_ties": "Accuracy(Threshold(x), l, top_k=2)",
    "accuracy_ignore": "Accuracy(x, l, top_k=2, ignore_label=1)",
    "embed": "Embed(l, input_dim=4, num_output=3, weight_filler=f, bias_filler=f)",
    "reindex": "BatchReindex(x, l0)",
}


@pytest.mark.parametrize("name", sorted(LABELLED))
def test_a_layer_that_takes_labels_or_indices_computes_the_same_in_onnx(name, tmp_path):
    text = f"""f = {{type: "gaussian", std: 0.5}}
x = Input(shape={{dim: [2, 4, 3]}})
l = Input(shape={{dim: [2, 3]}})
l0 = Input(shape={{dim: [2]}})
i = Input(shape={{dim: [1, 1, 12, 12]}})
y = {LABELLED[name]}
Silence(x, l, l0, i)
"""
    inputs = {
        "x": random(2, 4, 3),
        "l": LABELS,
        "l0": np.array([3, 1], np.float32),
        "i": random(1, 1, 12, 12),
    }
    check(parse_dsl(Source("x.net", text)), inputs, tmp_path)


def test_accuracies_by_class_are_the_same_in_onnx(tmp_path):
    text = """x = Input(shape={dim: [9, 4]})
l = Input(shape={dim: [9]})
all, each = Accuracy(x, l, ignore_label=0)
"""
    labels = np.array([0, 1, 1, 2, 5, 2, 1, 0, 2], np.float32)
    check(parse_dsl(Source("x.net", text)), {"x": random(9, 4), "l": labels}, tmp_path)


def test_values_go_back_to_where_a_pooling_found_them_in_onnx(tmp_path):
    text = """x = Input(shape={dim: [2, 3, 9, 8]})
small, mask = Pooling(x, kernel_size=2, stride=2)
y = Upsample(TanH(small), mask, upsample_h=9, upsample_w=8)
z, padded = Pooling(x, kernel_size=3, stride=2, pad=1)
"""
    check(parse_dsl(Source("x.net", text)), {"x": random(2, 3, 9, 8)}, tmp_path)


def test_regions_are_pooled_the_same_in_onnx(tmp_path):
    text = """x = Input(shape={dim: [2, 3, 12, 16]})
r = Input(shape={dim: [4, 5]})
y = ROIPooling(x, r, pooled_h=3, pooled_w=4, spatial_scale=0.25)
"""
    rois = np.array(
        [[0, 0, 0, 63, 47], [1, 5, 9, 31, 20], [1, 40, 30, 41, 31], [0, 33, 2, 90, 11]], np.float32
    )
    check(parse_dsl(Source("x.net", text)), {"x": random(2, 3, 12, 16), "r": rois}, tmp_path)


def test_hidden_states_become_inputs_and_outputs(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    text = """x = Input(shape={dim: [1, 2, 3]})
c = Input(shape={dim: [1, 2]})
y = LSTM(x, c, num_output=4, weight_filler={type: "gaussian", std: 0.5})
"""
    net = parse_dsl(Source("x.net", text))
    export_onnx(net, None, tmp_path / "x.onnx", CompileOptions())
    session = runtime.InferenceSession((tmp_path / "x.onnx").read_bytes(), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs() if each.name not in ("x", "c")]
    states = {name: np.zeros((1, 2, 4), np.float32) for name in names}
    assert len(states) == 2
    module = netc.compile(net, target="numpy")
    for seed in range(3):
        inputs = {"x": random(1, 2, 3, seed=seed), "c": np.ones((1, 2), np.float32)}
        outputs = dict(
            zip([o.name for o in session.get_outputs()], session.run(None, inputs | states), strict=True)
        )
        np.testing.assert_allclose(outputs["y"], module.run(**inputs)["y"], atol=1e-5)
        states = {name: outputs[f"{name}.next"] for name in names}


@pytest.mark.parametrize(
    ("layer", "phase", "message"),
    [
        ("Dropout(x)", "TRAIN", "draws random numbers, which is for training"),
        ("Pooling(x, kernel_size=2, pool=STOCHASTIC)", "TRAIN", "which is for training"),
        ("BatchNorm(x)", "TRAIN", "a run changes the parameters of this layer"),
        ("Filter(x, s)", "TEST", "how many rows its result has is found in the run"),
        ("PSROIPooling(x, r, output_dim=1, group_size=2, spatial_scale=1)", "TEST", "no counterpart in ONNX"),
    ],
)
def test_what_onnx_lacks_is_refused_at_its_layer(layer, phase, message, tmp_path):
    pytest.importorskip("onnx")
    text = f"""x = Input(shape={{dim: [2, 4, 6, 6]}})
s = Input(shape={{dim: [2]}})
r = Input(shape={{dim: [3, 5]}})
y = {layer}
"""
    with pytest.raises(NetcError, match=message) as caught:
        export_onnx(parse_dsl(Source("x.net", text)), None, tmp_path / "x.onnx", CompileOptions(phase=phase))
    assert str(caught.value.location) == "x.net:4:5"
    assert caught.value.remedy is not None
    assert not (tmp_path / "x.onnx").exists()


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
