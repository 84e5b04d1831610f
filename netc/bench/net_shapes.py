"""Shapes of blobs and parameters, and multiply-accumulates, of a net, by Caffe's size rules."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from netc.bench.prototext import Message

Shape = tuple[int, ...]


@dataclass
class NetShapes:
    """What a walk over the layers finds."""

    inputs: dict[str, Shape] = field(default_factory=dict)
    blobs: dict[str, Shape] = field(default_factory=dict)
    params: dict[str, list[Shape]] = field(default_factory=dict)
    macs: int = 0  # of convolutions and inner products

    @property
    def param_count(self) -> int:
        """Numbers held by all parameters, BatchNorm's statistics included."""
        return sum(math.prod(shape) for shapes in self.params.values() for shape in shapes)


@dataclass(frozen=True)
class Window:
    """Kernel, stride, padding and dilation of a convolution or a pooling, each (height, width)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    dilation: tuple[int, int]
    round_up: bool  # pooling only

    @classmethod
    def of(cls, param: Message) -> "Window":
        """Read the window from a convolution_param or a pooling_param."""

        def pair(repeated: str, prefix: str, default: int) -> tuple[int, int]:
            if f"{prefix}_h" in param.fields or f"{prefix}_w" in param.fields:
                return param.get(f"{prefix}_h", default), param.get(f"{prefix}_w", default)
            values = param.all(repeated) or [default]
            return values[0], values[-1]

        return cls(
            pair("kernel_size", "kernel", 1),
            pair("stride", "stride", 1),
            pair("pad", "pad", 0),
            pair("dilation", "dilation", 1),
            param.get("round_mode", "CEIL") == "CEIL",
        )

    def convolved(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the output size of a convolution."""
        axes = zip(size, self.kernel, self.stride, self.pad, self.dilation, strict=True)
        h, w = ((n + 2 * p - (d * (k - 1) + 1)) // s + 1 for n, k, s, p, d in axes)
        return h, w

    def deconvolved(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the output size of a deconvolution."""
        axes = zip(size, self.kernel, self.stride, self.pad, self.dilation, strict=True)
        h, w = (s * (n - 1) + d * (k - 1) + 1 - 2 * p for n, k, s, p, d in axes)
        return h, w

    def pooled(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the output size of a pooling: rounded up, but no window may start in the far padding."""
        h, w = (self._pooled_axis(size[i], i) for i in (0, 1))
        return h, w

    def _pooled_axis(self, n: int, axis: int) -> int:
        k, s, p = self.kernel[axis], self.stride[axis], self.pad[axis]
        room = n + 2 * p - k
        out = (-(-room // s) if self.round_up else room // s) + 1
        if p > 0 and (out - 1) * s >= n + p:
            out -= 1
        return out


Walk = tuple[Shape, list[Shape], int]  # shape of each top, shapes of the parameters, multiply-accumulates
Rule = Callable[[Message, list[Shape]], Walk]


def infer(layers: list[Message], batch: int | None = None) -> NetShapes:
    """Walk over the layers; `batch` replaces the first dimension of every input."""
    net = NetShapes()
    for layer in layers:
        if layer.get("type") == "Input":
            shapes = [tuple(s.all("dim")) for s in layer.sub("input_param").all("shape")]
            for i, top in enumerate(layer.all("top")):
                shape = shapes[min(i, len(shapes) - 1)]
                net.inputs[top] = net.blobs[top] = (batch or shape[0], *shape[1:])
            continue
        bottoms = [net.blobs[b] for b in layer.all("bottom")]
        out, params, macs = _RULES[layer.get("type")](layer, bottoms)
        if params:
            net.params[layer.get("name")] = params
        net.macs += macs
        for top in layer.all("top"):
            net.blobs[top] = out
    return net


def _same(_layer: Message, bottoms: list[Shape]) -> Walk:
    return bottoms[0], [], 0


def _convolution(layer: Message, bottoms: list[Shape]) -> Walk:
    param, (n, channels, *size) = layer.sub("convolution_param"), bottoms[0]
    window, outputs, groups = Window.of(param), param.get("num_output"), param.get("group", 1)
    out = (n, outputs, *window.convolved((size[0], size[1])))
    weight = (outputs, channels // groups, *window.kernel)
    return out, _with_bias(param, weight, outputs), math.prod(out) * math.prod(weight[1:])


def _deconvolution(layer: Message, bottoms: list[Shape]) -> Walk:
    param, (n, channels, *size) = layer.sub("convolution_param"), bottoms[0]
    window, outputs, groups = Window.of(param), param.get("num_output"), param.get("group", 1)
    out = (n, outputs, *window.deconvolved((size[0], size[1])))
    weight = (channels, outputs // groups, *window.kernel)
    return out, _with_bias(param, weight, outputs), math.prod(bottoms[0]) * math.prod(weight[1:])


def _inner_product(layer: Message, bottoms: list[Shape]) -> Walk:
    param = layer.sub("inner_product_param")
    outer, inner = bottoms[0][: param.get("axis", 1)], bottoms[0][param.get("axis", 1) :]
    outputs, k = param.get("num_output"), math.prod(inner)
    weight = (k, outputs) if param.get("transpose", False) else (outputs, k)
    return (*outer, outputs), _with_bias(param, weight, outputs), math.prod(outer) * outputs * k


def _with_bias(param: Message, weight: Shape, outputs: int) -> list[Shape]:
    return [weight, (outputs,)] if param.get("bias_term", True) else [weight]


def _pooling(layer: Message, bottoms: list[Shape]) -> Walk:
    param, (n, channels, *size) = layer.sub("pooling_param"), bottoms[0]
    if param.get("global_pooling", False):
        return (n, channels, 1, 1), [], 0
    return (n, channels, *Window.of(param).pooled((size[0], size[1]))), [], 0


def _batch_norm(_layer: Message, bottoms: list[Shape]) -> Walk:
    channels = bottoms[0][1]
    return bottoms[0], [(channels,), (channels,), (1,)], 0


def _scale(layer: Message, bottoms: list[Shape]) -> Walk:
    param, shape = layer.sub("scale_param"), (bottoms[0][1],)
    if len(bottoms) > 1:
        return bottoms[0], [], 0
    return bottoms[0], [shape, shape] if param.get("bias_term", False) else [shape], 0


def _concat(layer: Message, bottoms: list[Shape]) -> Walk:
    axis, first = layer.sub("concat_param").get("axis", 1), bottoms[0]
    return (*first[:axis], sum(b[axis] for b in bottoms), *first[axis + 1 :]), [], 0


def _flatten(_layer: Message, bottoms: list[Shape]) -> Walk:
    return (bottoms[0][0], math.prod(bottoms[0][1:])), [], 0


_SAME_SHAPE = ("Dropout", "ELU", "Eltwise", "LRN", "Power", "ReLU", "Sigmoid", "Softmax", "TanH")
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME_SHAPE, _same),
    "BatchNorm": _batch_norm,
    "Concat": _concat,
    "Convolution": _convolution,
    "Deconvolution": _deconvolution,
    "Flatten": _flatten,
    "InnerProduct": _inner_product,
    "Pooling": _pooling,
    "Scale": _scale,
}
KNOWN_TYPES = frozenset(_RULES) | {"Input"}
