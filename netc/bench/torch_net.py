"""Build a Caffe net in PyTorch from its prototxt: a peer to be timed, and an oracle independent of netc.

    net = TorchNet(read_layers(path), load_npz(weights))
    prob, = net(torch.from_numpy(x))

Images in two dimensions. With ``train`` parameters learn, batch norms use the batch's own statistics, and
SoftmaxWithLoss is the mean cross entropy. Weights come as layer name -> list of blobs, in Caffe's order.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netc.bench.net_shapes import Window
from netc.bench.prototext import EMPTY, Message
from netc.bench.weights import Array, Weights

Forward = Callable[[list[Tensor], list[Tensor]], Tensor | list[Tensor]]  # bottoms, blobs -> tops
Op = Callable[[Message], Forward]  # reads the layer's parameters once


class TorchNet(nn.Module):
    """forward(*inputs) returns the blobs that nothing consumes, in the order of the prototxt."""

    def __init__(
        self,
        layers: list[Message],
        weights: Weights,
        ops: dict[str, Op] | None = None,
        *,
        train: bool = False,
    ) -> None:
        super().__init__()
        self.inputs = [top for layer in layers if layer.get("type") == "Input" for top in layer.all("top")]
        layers = _join_scales([layer for layer in layers if layer.get("type") != "Input"])
        self.params = nn.ModuleList(nn.ParameterList(_params(layer, weights, train)) for layer in layers)
        ops = TRAINING_OPS if train else ops or OPS
        self.steps = [
            (layer.all("bottom"), ops[layer.get("type")](layer), layer.all("top")) for layer in layers
        ]
        self.outputs = _unconsumed(self.inputs, layers)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the net."""
        blobs = self.run(*inputs)
        return tuple(blobs[name] for name in self.outputs)

    def run(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Run the net and return the last value of every blob."""
        blobs = dict(zip(self.inputs, inputs, strict=True))
        for (bottoms, forward, tops), params in zip(self.steps, self.params, strict=True):
            results = forward([blobs[name] for name in bottoms], list(params))
            blobs.update(zip(tops, [results] if isinstance(results, Tensor) else results, strict=True))
        return blobs


def _params(layer: Message, weights: Weights, train: bool) -> list[nn.Parameter]:
    names = [layer.get("name"), *layer.all("scale_name")]
    blobs = [blob for name in names for blob in weights.get(name, [])]
    if layer.get("type") == "BatchNorm":
        blobs = _divided_statistics(*blobs)
    statistics = 2 if layer.get("type") == "BatchNorm" else 0
    return [
        nn.Parameter(torch.from_numpy(blob), requires_grad=train and index >= statistics)
        for index, blob in enumerate(blobs)
    ]


def _divided_statistics(mean: Array, variance: Array, factor: Array, *affine: Array) -> list[Array]:
    scale = np.float32(0 if factor == 0 else 1 / factor.item())
    return [mean * scale, variance * scale, *affine]


def _unconsumed(inputs: list[str], layers: list[Message]) -> list[str]:
    pending = dict.fromkeys(inputs)
    for layer in layers:
        for bottom in layer.all("bottom"):
            pending.pop(bottom, None)
        pending.update(dict.fromkeys(layer.all("top")))
    return list(pending)


def _join_scales(layers: list[Message]) -> list[Message]:
    """Make one affine batch norm of a BatchNorm and an in-place Scale after it, as PyTorch's users do."""
    joined: list[Message] = []
    for layer in layers:
        before = joined[-1] if joined else EMPTY
        if before.get("type") == "BatchNorm" and _is_affine_part(layer, before.get("top")):
            merged = Message()
            merged.fields = before.fields | {"scale_name": [layer.get("name")]}
            joined[-1] = merged
        else:
            joined.append(layer)
    return joined


def _is_affine_part(layer: Message, blob: str) -> bool:
    plain = layer.sub("scale_param").fields.keys() <= {"bias_term", "filler", "bias_filler"}
    in_place = layer.all("bottom") == layer.all("top") == [blob]
    return layer.get("type") == "Scale" and plain and in_place


def _convolution(layer: Message) -> Forward:
    param = layer.sub("convolution_param")
    window, groups = Window.of(param), param.get("group", 1)
    geometry = (window.stride, window.pad, window.dilation, groups)

    def forward(bottoms: list[Tensor], blobs: list[Tensor]) -> list[Tensor]:
        bias = blobs[1] if len(blobs) > 1 else None
        return [F.conv2d(x, blobs[0], bias, *geometry) for x in bottoms]

    return forward


def _deconvolution(layer: Message) -> Forward:
    param = layer.sub("convolution_param")
    window, groups = Window.of(param), param.get("group", 1)
    geometry = (window.stride, window.pad, 0, groups, window.dilation)

    def forward(bottoms: list[Tensor], blobs: list[Tensor]) -> list[Tensor]:
        bias = blobs[1] if len(blobs) > 1 else None
        return [F.conv_transpose2d(x, blobs[0], bias, *geometry) for x in bottoms]

    return forward


def _inner_product(layer: Message) -> Forward:
    param = layer.sub("inner_product_param")
    axis, transpose = param.get("axis", 1), param.get("transpose", False)

    def forward(bottoms: list[Tensor], blobs: list[Tensor]) -> Tensor:
        weight = blobs[0].T if transpose else blobs[0]
        return F.linear(bottoms[0].flatten(axis), weight, blobs[1] if len(blobs) > 1 else None)

    return forward


def _pooling(layer: Message) -> Forward:
    param = layer.sub("pooling_param")
    average = param.get("pool", "MAX") == "AVE"
    if param.get("global_pooling", False):
        return _unary(lambda x: F.adaptive_avg_pool2d(x, 1) if average else F.adaptive_max_pool2d(x, 1))
    window = Window.of(param)
    # Like Caffe, torch drops a last window that would start in the far padding, and averages count padding.
    size, ceil = (window.kernel, window.stride, window.pad), window.round_up
    return _unary(
        lambda x: F.avg_pool2d(x, *size, ceil) if average else F.max_pool2d(x, *size, ceil_mode=ceil)
    )


def _lrn(layer: Message) -> Forward:
    param = layer.sub("lrn_param")
    size, alpha, beta = param.get("local_size", 5), param.get("alpha", 1.0), param.get("beta", 0.75)
    k = param.get("k", 1.0)
    if param.get("norm_region") == "WITHIN_CHANNEL":
        return _unary(lambda x: x * (1 + alpha * F.avg_pool2d(x * x, size, 1, size // 2)) ** -beta)
    return _unary(lambda x: F.local_response_norm(x, size, alpha, beta, k))


def _onnx_lrn(layer: Message) -> Forward:
    param = layer.sub("lrn_param")
    attrs = {"size": param.get("local_size", 5), "alpha": float(param.get("alpha", 1))}
    attrs |= {"beta": float(param.get("beta", 0.75)), "bias": float(param.get("k", 1))}
    return _unary(lambda x: torch.onnx.ops.symbolic("LRN", (x,), attrs, dtype=x.dtype, shape=x.shape))


def _batch_norm(layer: Message, *, train: bool = False) -> Forward:
    eps = layer.sub("batch_norm_param").get("eps", 1e-5)

    def forward(bottoms: list[Tensor], blobs: list[Tensor]) -> Tensor:
        mean, variance, *affine = blobs
        weight = affine[0] if affine else None
        bias = affine[1] if len(affine) > 1 else None
        return F.batch_norm(bottoms[0], mean, variance, weight, bias, training=train, eps=eps)

    return forward


def _scale(layer: Message) -> Forward:
    axis = layer.sub("scale_param").get("axis", 1)

    def forward(bottoms: list[Tensor], blobs: list[Tensor]) -> Tensor:
        x, weight, *bias = [*bottoms, *blobs]
        y = x * _along(weight, axis, x.dim())
        return y + _along(bias[0], axis, x.dim()) if bias else y

    return forward


def _bias(layer: Message) -> Forward:
    axis = layer.sub("bias_param").get("axis", 1)

    def forward(bottoms: list[Tensor], blobs: list[Tensor]) -> Tensor:
        x, bias = [*bottoms, *blobs]
        return x + _along(bias, axis, x.dim())

    return forward


def _along(values: Tensor, axis: int, dims: int) -> Tensor:
    if values.numel() == 1:
        return values.reshape(1)
    return values.reshape(values.shape + (1,) * (dims - axis % dims - values.dim()))


def _eltwise(layer: Message) -> Forward:
    param = layer.sub("eltwise_param")
    operation, coeffs = param.get("operation", "SUM"), param.all("coeff")

    def forward(bottoms: list[Tensor], _blobs: list[Tensor]) -> Tensor:
        if operation == "PROD":
            return _fold(torch.mul, bottoms)
        if operation == "MAX":
            return _fold(torch.maximum, bottoms)
        terms = [c * x for c, x in zip(coeffs, bottoms, strict=True)] if coeffs else bottoms
        return _fold(torch.add, terms)

    return forward


def _fold(combine: Callable[[Tensor, Tensor], Tensor], terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = combine(total, term)
    return total


def _concat(layer: Message) -> Forward:
    param = layer.sub("concat_param")
    axis = param.get("axis", param.get("concat_dim", 1))
    return lambda bottoms, _blobs: torch.cat(bottoms, axis)


def _slice(layer: Message) -> Forward:
    param = layer.sub("slice_param")
    axis = param.get("axis", param.get("slice_dim", 1))
    parts = param.all("slice_point") or len(layer.all("top"))
    return lambda bottoms, _blobs: list(torch.tensor_split(bottoms[0], parts, axis))


def _split(layer: Message) -> Forward:
    copies = len(layer.all("top"))
    return lambda bottoms, _blobs: bottoms * copies


def _softmax(layer: Message) -> Forward:
    axis = layer.sub("softmax_param").get("axis", 1)
    return _unary(lambda x: F.softmax(x, axis))


def _relu(layer: Message) -> Forward:
    slope = layer.sub("relu_param").get("negative_slope", 0.0)
    return _unary(lambda x: F.leaky_relu(x, slope) if slope else F.relu(x))


def _elu(layer: Message) -> Forward:
    alpha = layer.sub("elu_param").get("alpha", 1.0)
    return _unary(lambda x: F.elu(x, alpha))


def _power(layer: Message) -> Forward:
    param = layer.sub("power_param")
    shift, scale, exponent = param.get("shift", 0.0), param.get("scale", 1.0), param.get("power", 1.0)
    return _unary(lambda x: shift + scale * x if exponent == 1 else (shift + scale * x) ** exponent)


def _exp(layer: Message) -> Forward:
    param = layer.sub("exp_param")
    shift, scale, base = param.get("shift", 0.0), param.get("scale", 1.0), param.get("base", -1.0)
    rate = 1.0 if base == -1 else math.log(base)
    return _unary(lambda x: torch.exp((shift + scale * x) * rate))


def _log(layer: Message) -> Forward:
    param = layer.sub("log_param")
    shift, scale, base = param.get("shift", 0.0), param.get("scale", 1.0), param.get("base", -1.0)
    rate = 1.0 if base == -1 else 1 / math.log(base)
    return _unary(lambda x: torch.log(shift + scale * x) * rate)


def _flatten(layer: Message) -> Forward:
    param = layer.sub("flatten_param")
    first, last = param.get("axis", 1), param.get("end_axis", -1)
    return _unary(lambda x: x.flatten(first, last))


def _crop(layer: Message) -> Forward:
    param = layer.sub("crop_param")
    first, offsets = param.get("axis", 2), param.all("offset") or [0]

    def forward(bottoms: list[Tensor], _blobs: list[Tensor]) -> Tensor:
        y, like = bottoms
        for i, axis in enumerate(range(first % y.dim(), y.dim())):
            y = y.narrow(axis, offsets[min(i, len(offsets) - 1)], like.shape[axis])
        return y

    return forward


def _unary(function: Callable[[Tensor], Tensor]) -> Forward:
    return lambda bottoms, _blobs: function(bottoms[0])


def _always(function: Callable[[Tensor], Tensor]) -> Op:
    return lambda _layer: _unary(function)


OPS: dict[str, Op] = {
    "AbsVal": _always(torch.abs),
    "BNLL": _always(F.softplus),
    "BatchNorm": _batch_norm,
    "Bias": _bias,
    "Concat": _concat,
    "Convolution": _convolution,
    "Crop": _crop,
    "Deconvolution": _deconvolution,
    "Dropout": _always(lambda x: x),
    "ELU": _elu,
    "Eltwise": _eltwise,
    "Exp": _exp,
    "Flatten": _flatten,
    "InnerProduct": _inner_product,
    "LRN": _lrn,
    "Log": _log,
    "PReLU": lambda _layer: lambda bottoms, blobs: F.prelu(bottoms[0], blobs[0].flatten()),
    "Pooling": _pooling,
    "Power": _power,
    "ReLU": _relu,
    "Scale": _scale,
    "Sigmoid": _always(torch.sigmoid),
    "Silence": lambda _layer: lambda _bottoms, _blobs: [],
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "TanH": _always(torch.tanh),
}
# For ONNX export: LRN as the one operator that ONNX has for it, not as the chain that torch computes.
ONNX_OPS: dict[str, Op] = OPS | {"LRN": _onnx_lrn}
TRAINING_OPS: dict[str, Op] = OPS | {
    "BatchNorm": lambda layer: _batch_norm(layer, train=True),
    "SoftmaxWithLoss": lambda _layer: (
        lambda bottoms, _blobs: F.cross_entropy(bottoms[0].flatten(1), bottoms[1].long())
    ),
}
