"""The gradient of every layer that has one, along random directions, against differences in float64."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.backends.numpy_reference import run_func
from netc.frontend.imported_net import ImportedNet
from netc.frontend.layers.registry import layer_type, layer_type_names
from netc.ir.diagnostics import NetcError
from netc.ir.ops.random import STATE
from netc.ir.verify import verify
from netc.passes.differentiate import differentiate, gradient_name

STEP = 1e-6
DIRECTIONS = 3
X = (2, 4, 4, 6)
ROIS = np.array([[0.0, 0, 0, 9, 7], [1, 2, 1, 10, 6], [0, 4, 2, 5, 7]])
CONT = np.array([[0, 1], [1, 1], [1, 0]])

# they make data, or what nobody takes a gradient of: boxes, indices, scores of a net
WITHOUT = {
    *("Accuracy", "ArgMax", "DetectionOutput", "HDF5Output", "PriorBox", "Proposal", "Silence", "Threshold"),
    *("Python", "Python:rpn.proposal_layer.ProposalLayer", "YoloDetectionOutput", "Yolov3DetectionOutput"),
    *("AnnotatedData", "Data", "DummyData", "HDF5Data", "ImageData", "ImageLabelmapData", "Input"),
    *("MemoryData", "VideoData", "WindowData", "ContinuationIndicator"),
    # no rules yet
    *("Correlation", "Correlation1D", "FlowWarp", "Resample"),
}
TEST_ONLY = {"SeLUDropout", "SeLuDropout", "SpatialDropout", "Python:spatial_dropout.SpatialDropoutLayer"}
# checked on the least net of each type, which the layer table is made of
LEAST = {
    *("Add", "CReLU", "ChannelNorm", "DepthToSpace", "Div", "Flip", "HardTanH", "LogSoftmax", "Lstm"),
    *("Maximum", "Minimum", "MirrorPad", "Mish", "Python:spatial_dropout.SpatialDropoutLayer", "ReduceL1"),
    *("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Reverse", "SELU", "ScaledTanH"),
    *("SeLU", "SeLUDropout", "SeLu", "SeLuDropout", "Selu", "SmoothL1Loss", "SmoothL1LossOHEM"),
    *("SoftmaxWithLossOHEM", "Softplus", "Softsign", "SpaceToDepth", "SpatialDropout", "Sub"),
    *("ThresholdedReLU", "Transpose", "Unpooling", "UpsampleDarknet"),
}


@dataclass(frozen=True)
class Net:
    """A layer, the shapes of its inputs, and the values of those that have no gradient.

    ``positive``: its inputs are above 0.
    """

    type: str
    settings: str = ""
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: {"x": X})
    given: Mapping[str, Any] = field(default_factory=dict)
    tops: str = "y"
    phase: str = "TRAIN"
    positive: bool = False

    def __str__(self) -> str:
        return f"{self.type} {self.settings}"

    @property
    def text(self) -> str:
        bottoms = [*self.inputs, *self.given]
        blobs = " ".join([f'bottom: "{b}"' for b in bottoms] + [f'top: "{t}"' for t in self.tops.split()])
        return f'layer {{ name: "l" type: "{self.type}" {blobs} {self.settings} }}'


TWO = {"x": X, "z": X}
ROWS = {"x": (4, 6)}
LABELS = {"label": np.array([1, 0, 5, 2])}
MASK = np.random.default_rng(0).permuted(np.tile(np.arange(96.0), (2, 4, 1)), axis=2)[..., :24].reshape(X)
CONV = 'num_output: 4 weight_filler { type: "gaussian" }'
RECURRENT = 'recurrent_param { num_output: 3 weight_filler { type: "gaussian" } }'

NETS = [
    *[Net(t) for t in ("AbsVal", "BNLL", "ELU", "Flatten", "PReLU", "Sigmoid", "Softmax", "Swish", "TanH")],
    *[
        Net(t)
        for t in ("BatchNorm", "Dropout", "HardSigmoid", "HardSwish", "MVN", "Normalize", "Scale", "Bias")
    ],
    Net("BatchNorm", phase="TEST"),
    Net("Dropout", phase="TEST"),
    Net("Axpy", inputs={"a": (2, 4), "x": X, "z": X}),
    Net("BN", "bn_param { eps: 0.001 scale_filler { value: 1 } shift_filler { value: 0 } }"),
    Net("BatchReindex", inputs={"x": (4, 3)}, given={"i": np.array([3, 0, 0, 2, 0])}),
    Net("BatchToSpaceND", "batch_to_space_nd_param { block_shape: 2 crops: 1 crops: 0 }"),
    Net("SpaceToBatchND", "space_to_batch_nd_param { block_shape: 3 paddings: 1 paddings: 1 }"),
    Net("Bias", inputs={"x": X, "b": (4,)}),
    Net("Clip", "clip_param { min: -0.5 max: 0.8 }"),
    Net("Concat", inputs=TWO),
    Net("ContrastiveLoss", inputs={"x": (4, 6), "z": (4, 6)}, given={"s": np.array([1, 0, 0, 1])}, tops="l"),
    Net(
        "ContrastiveLoss",
        "contrastive_loss_param { legacy_version: true margin: 20 }",
        inputs={"x": (4, 6), "z": (4, 6)},
        given={"s": np.array([1, 0, 0, 1])},
        tops="l",
    ),
    Net("Convolution", f"convolution_param {{ {CONV} kernel_size: 3 stride: 2 pad: 1 }}"),
    Net("ConvolutionDepthwise", f"convolution_param {{ {CONV} kernel_size: 3 }}"),
    Net("DepthwiseConvolution", f"convolution_param {{ {CONV} kernel_size: 2 stride: 2 }}"),
    Net("Deconvolution", f"convolution_param {{ {CONV} kernel_size: 3 stride: 2 group: 2 }}"),
    Net("Crop", "crop_param { axis: 2 offset: 1 }", inputs={"x": X}, given={"ref": np.zeros((2, 4, 2, 3))}),
    Net("ELU", "elu_param { alpha: 0.3 }"),
    *[Net("Eltwise", f"eltwise_param {{ operation: {o} }}", inputs=TWO) for o in ("PROD", "SUM", "MAX")],
    Net("Eltwise", "eltwise_param { operation: MAX }", inputs={**TWO, "v": X}),
    Net("Eltwise", "eltwise_param { coeff: 2 coeff: -1 }", inputs=TWO),
    Net(
        "Embed",
        'embed_param { input_dim: 6 num_output: 3 weight_filler { type: "gaussian" } }',
        inputs={},
        given={"i": np.array([[3, 0, 0], [5, 1, 3]])},
    ),
    Net("EuclideanLoss", inputs=TWO, tops="l"),
    Net("Exp", "exp_param { base: 2 scale: 0.5 shift: 1 }"),
    Net("Filter", inputs={"x": (4, 3)}, given={"s": np.array([1, 0, 1, 1])}),
    Net("HingeLoss", inputs=ROWS, given=LABELS, tops="l"),
    Net("HingeLoss", "hinge_loss_param { norm: L2 }", inputs=ROWS, given=LABELS, tops="l"),
    Net("Im2col", "convolution_param { kernel_size: 3 stride: 2 pad: 1 }"),
    Net("InfogainLoss", inputs=ROWS, given={**LABELS, "h": np.arange(36.0).reshape(1, 1, 6, 6)}, tops="l"),
    Net("InnerProduct", 'inner_product_param { num_output: 3 weight_filler { type: "gaussian" } }'),
    Net("InnerProduct", "inner_product_param { num_output: 3 transpose: true axis: 2 }"),
    Net("Interp", "interp_param { height: 7 width: 5 }"),
    Net("LRN", "lrn_param { local_size: 3 alpha: 0.5 }"),
    Net("LRN", "lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }"),
    Net("LSTM", RECURRENT, inputs={"x": (3, 2, 4)}, given={"cont": CONT}),
    Net("LSTMUnit", inputs={"c": (1, 2, 3), "g": (1, 2, 12)}, given={"cont": CONT[1:2]}, tops="c1 h1"),
    Net("Log", "log_param { base: 10 scale: 2 shift: 1 }", positive=True),
    Net("MVN", "mvn_param { across_channels: true }"),
    Net("MVN", "mvn_param { normalize_variance: false }"),
    Net("Mul", inputs={"x": X, "z": (4, 1, 1)}),
    Net("MultinomialLogisticLoss", inputs=ROWS, given=LABELS, tops="l", positive=True),
    Net("Normalize", "norm_param { across_spatial: true channel_shared: true }"),
    Net("PReLU", "prelu_param { channel_shared: true }"),
    Net(
        "PSROIPooling",
        "psroi_pooling_param { spatial_scale: 0.5 output_dim: 1 group_size: 2 }",
        given={"r": ROIS},
    ),
    Net("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.5 }", given={"r": ROIS}),
    *[
        Net(t, "pad_param { constant_values: 2 " + 4 * "paddings: 1 paddings: 0 " + "}")
        for t in ("Pad", "Padding")
    ],
    Net("Parameter", "parameter_param { shape { dim: 2 dim: 3 } }", inputs={}),
    Net("Permute", "permute_param { order: 0 order: 3 order: 1 order: 2 }"),
    Net("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }"),
    Net("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }"),
    Net("Pooling", "pooling_param { pool: AVE global_pooling: true }"),
    Net("Pooling", "pooling_param { global_pooling: true }"),
    Net("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }", positive=True),
    Net("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }", phase="TEST", positive=True),
    Net("Power", "power_param { power: 3 scale: 0.5 shift: 0.25 }"),
    Net("Power", "power_param { power: 0.5 shift: 0.25 }", positive=True),
    Net("RNN", RECURRENT, inputs={"x": (3, 2, 4)}, given={"cont": CONT}),
    Net("LSTM", RECURRENT, inputs={"x": (3, 2, 4)}, given={"cont": CONT, "s": np.ones((2, 5))}),
    Net("ReLU", "relu_param { negative_slope: 0.1 }"),
    Net("ReLU"),
    Net("ReLU6"),
    *[
        Net("Reduction", f"reduction_param {{ operation: {o} axis: 1 coeff: 2 }}")
        for o in ("SUM", "ASUM", "SUMSQ", "MEAN")
    ],
    Net("Reorg", "reorg_param { stride: 2 }"),
    Net("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }"),
    Net("Resize", "resize_param { height: 7 width: 5 }"),
    Net(
        "ResizeBilinear",
        "resize_bilinear_param { output_height: 7 output_width: 5 half_pixel_centers: true }",
    ),
    *[
        Net(t, "resize_nearest_neighbor_param { output_height: 7 output_width: 5 }")
        for t in ("ResizeNearest", "ResizeNearestNeighbor")
    ],
    *[Net("SPP", f"spp_param {{ pyramid_height: 2 pool: {pool} }}") for pool in ("MAX", "AVE")],
    Net("Scale", "scale_param { axis: 1 num_axes: 2 bias_term: true }"),
    Net("Scale", inputs={"x": X, "s": (4,)}),
    Net("ShuffleChannel", "shuffle_channel_param { group: 2 }"),
    Net("SigmoidCrossEntropyLoss", inputs=TWO, tops="l"),
    Net("Slice", "slice_param { slice_point: 1 }", tops="y z"),
    Net("Softmax", "softmax_param { axis: 2 }"),
    Net("SoftmaxWithLoss", inputs=ROWS, given=LABELS, tops="l"),
    Net("SoftmaxWithLoss", "loss_param { ignore_label: 0 }", inputs=ROWS, given=LABELS, tops="l p"),
    Net("Split", tops="y z"),
    Net("Squeeze", inputs={"x": (2, 1, 3)}),
    Net("Swish", "swish_param { beta: 1.5 }"),
    Net("Tile", "tile_param { axis: 2 tiles: 3 }"),
    Net("Upsample", "upsample_param { scale: 2 }"),
    Net("Upsample", "upsample_param { scale: 2 }", given={"m": MASK}),
]


class _Check:
    """A net with gradients for a random projection of its outputs."""

    def __init__(self, case: Net, net: ImportedNet) -> None:
        self.rng = np.random.default_rng(3)
        self.main = net.module.func("main")
        self.ends = list(dict.fromkeys(net.blobs[top].name for top in case.tops.split()))
        states = {state.value.name for state in net.states}
        params = (info.value.name for info in net.params if info.value.name not in states)
        self.wrt = [*case.inputs, *dict.fromkeys(params)]
        module = differentiate(net.module, seeds=dict.fromkeys(self.ends), wrt=self.wrt)
        verify(module)
        self.func = module.func("main")
        self.values: dict[str, Any] = {}
        for value in self.main.args:
            if value.name in case.given:
                self.values[value.name] = case.given[value.name]
            elif value.type == STATE:  # of the random numbers
                self.values[value.name] = np.array([7, 0])
            else:
                positive = case.positive or value.name in states
                self.values[value.name] = self._numbers(value.type.static_shape, positive)
        late = (v for v in self.func.args if v not in self.main.args)
        self.seeds = {v.name: self._numbers(v.type.static_shape, False) for v in late}

    def _numbers(self, shape: tuple[int, ...], positive: bool) -> Any:
        drawn = self.rng.standard_normal(shape)
        return np.abs(drawn) + 0.5 if positive else drawn

    def objective(self, moved: Mapping[str, Any]) -> float:
        found = run_func(self.main, {**self.values, **moved}, "f64", keep=self.ends)
        return float(sum((self.seeds[gradient_name(e)] * found[e]).sum() for e in self.ends))

    def gradients(self) -> dict[str, Any]:
        return run_func(self.func, {**self.values, **self.seeds}, "f64")

    def differs_by(self, name: str, gradient: Any) -> None:
        start = np.asarray(self.values[name], np.float64)
        for _ in range(DIRECTIONS):
            way = self.rng.standard_normal(start.shape)
            sides = (self.objective({name: start + step * way}) for step in (STEP, -STEP))
            wanted = (next(sides) - next(sides)) / (2 * STEP)
            np.testing.assert_allclose((way * gradient).sum(), wanted, rtol=1e-4, atol=1e-5, err_msg=name)


def test_every_layer_that_has_a_gradient_is_checked():
    entries = [entry for entry in map(layer_type, layer_type_names()) if entry is not None]
    ours = {entry.name for entry in entries if entry.rule.__module__.startswith("netc.")}
    assert {net.type for net in NETS} | LEAST | WITHOUT == ours
    assert not ({net.type for net in NETS} | LEAST) & WITHOUT


@pytest.mark.parametrize("name", sorted(LEAST))
def test_the_gradient_of_a_least_net_is_its_derivative(name):
    net = _examples().import_example(name, "TEST" if name in TEST_ONLY else "TRAIN")
    main = net.module.func("main")
    ends = [v.name for v in dict.fromkeys(main.results) if v.type.dtype == "f32"]
    ways = [v.name for v in (*net.inputs, *main.params)]
    func = differentiate(net.module, seeds=dict.fromkeys(ends), wrt=[], optional=ways).func("main")
    rng = np.random.default_rng(3)
    values = {a.name: rng.standard_normal(a.type.static_shape) for a in main.args if a.type != STATE}
    values |= {a.name: np.array([7, 0]) for a in main.args if a.type == STATE}
    if name == "Unpooling":  # its second input says where elements go
        shape = values["x1"].shape
        values["x1"] = np.broadcast_to(np.arange(shape[2] * shape[3]).reshape(shape[2:]), shape)
    late = {a.name: rng.standard_normal(a.type.static_shape) for a in func.args if a.name not in values}
    gradients = run_func(func, {**values, **late}, "f64")
    reached = [way for way in ways if gradient_name(way) in gradients]
    assert reached, "nothing has a gradient"

    def objective(moved):
        found = run_func(main, {**values, **moved}, "f64", keep=ends)
        return sum((late[gradient_name(e)] * found[e]).sum() for e in ends if gradient_name(e) in late)

    for way in reached:
        step = STEP * rng.standard_normal(values[way].shape)
        wanted = (objective({way: values[way] + step}) - objective({way: values[way] - step})) / 2
        found = (step * gradients[gradient_name(way)]).sum()
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * STEP, err_msg=way)


def _examples() -> Any:
    """The module docs/layer_examples.py."""
    path = Path(__file__).parents[3] / "docs" / "layer_examples.py"
    spec = importlib.util.spec_from_file_location("layer_examples", path)
    module = sys.modules.get("layer_examples") or importlib.util.module_from_spec(spec)
    if "layer_examples" not in sys.modules:
        sys.modules["layer_examples"] = module
        spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("case", NETS, ids=str)
def test_the_gradient_of_a_layer_is_its_derivative(case, imported):
    shapes = {**case.inputs, **{name: np.shape(array) for name, array in case.given.items()}}
    check = _Check(case, imported(case.text, case.phase, **shapes))
    got = check.gradients()
    assert check.wrt
    for name in check.wrt:
        check.differs_by(name, got[gradient_name(name)])


def gradients_of(imported, case, seed=1.0, **values):
    """The gradients of the layer's inputs, for a seed of the first top's shape."""
    arrays = {**{name: np.asarray(a, np.float64) for name, a in values.items()}, **case.given}
    net = imported(case.text, case.phase, **{name: np.shape(a) for name, a in arrays.items()})
    end = net.blobs[case.tops.split()[0]].name
    func = differentiate(net.module, seeds={end: seed}, wrt=list(values)).func("main")
    found = run_func(func, arrays, "f64")
    return [found[gradient_name(name)] for name in values]


def test_the_largest_of_equal_inputs_is_the_second_of_the_first_two(imported):
    case = Net("Eltwise", "eltwise_param { operation: MAX }", inputs={"a": (4,), "b": (4,), "c": (4,)})
    a, b, c = gradients_of(imported, case, a=[1, 1, 2, 0], b=[1, 1, 1, 0], c=[1, 2, 2, -1])
    np.testing.assert_array_equal(a, [0, 0, 1, 0])
    np.testing.assert_array_equal(b, [1, 0, 0, 1])
    np.testing.assert_array_equal(c, [0, 1, 0, 0])


def test_a_contrastive_loss_adds_a_little_to_the_distance_that_its_gradient_divides_by(imported):
    case = Net("ContrastiveLoss", inputs={"x": (2, 2), "z": (2, 2)}, given={"s": np.zeros(2)}, tops="l")
    x, z = gradients_of(imported, case, x=[[0.3, 0.4], [1, 1]], z=[[0, 0], [1, 1]])
    # -(margin - d) / (d + 1e-4) / N times the difference, which is 0 for the second pair
    wanted = -np.array([[0.3, 0.4], [0, 0]]) * 0.5 / (0.5 + 1e-4) / 2
    np.testing.assert_allclose(x, wanted, rtol=1e-12)
    np.testing.assert_allclose(z, -wanted, rtol=1e-12)


def test_a_logistic_loss_has_a_gradient_where_the_probability_is_cut(imported):
    case = Net("MultinomialLogisticLoss", inputs={"x": (1, 2)}, given={"label": np.zeros(1)}, tops="l")
    (x,) = gradients_of(imported, case, x=[[0, 1]])
    np.testing.assert_allclose(x, [[-1e20, 0]])


def test_an_infogain_loss_has_the_gradient_of_the_logarithm_however_far_off_a_score_is(imported):
    given = {"label": np.zeros(1), "h": np.eye(2).reshape(1, 1, 2, 2)}
    case = Net("InfogainLoss", inputs={"x": (1, 2)}, given=given, tops="l")
    (x,) = gradients_of(imported, case, x=[[-2000, 0]])
    np.testing.assert_array_equal(x, [[-1, 1]])


def test_a_constant_plane_is_normalised_with_a_finite_gradient(imported):
    case = Net("MVN", "mvn_param { eps: 0.5 }", inputs={"x": (1, 1, 1, 2)})
    net = imported(case.text, x=(1, 1, 1, 2))
    func = differentiate(net.module, seeds={net.blobs["y"].name: None}, wrt=["x"]).func("main")
    values = {"x": np.full((1, 1, 1, 2), 3.0), gradient_name(net.blobs["y"].name): np.array([[[[1.0, 0.0]]]])}
    got = run_func(func, values, "f64")["x.gradient"]
    # (dy - mean dy) / eps
    np.testing.assert_allclose(got, [[[[1, -1]]]])


@pytest.mark.parametrize(
    "case",
    [
        Net("Embed", "embed_param { input_dim: 4 num_output: 2 }", inputs={"x": (3,)}),
        Net("SoftmaxWithLoss", inputs={"x": (3, 4), "label": (3,)}, tops="l"),
        Net("HingeLoss", inputs={"x": (3, 4), "label": (3,)}, tops="l"),
    ],
    ids=str,
)
def test_labels_and_indices_have_no_gradient(imported, case):
    values = {name: np.zeros(shape) for name, shape in case.inputs.items()}
    net = imported(case.text, case.phase, **case.inputs)
    with pytest.raises(NetcError, match=r"ha(ve|s) no gradient") as caught:
        differentiate(net.module, seeds={net.blobs[case.tops].name: 1.0}, wrt=[list(values)[-1]])
    assert caught.value.location is not None
    assert caught.value.location.line == 2
