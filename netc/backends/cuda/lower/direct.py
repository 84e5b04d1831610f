"""Convolutions of few channels a group (depthwise above all): one thread an output, no tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower.epilogue import finish_at
from netc.backends.cuda.lower.move import axis_names
from netc.backends.cuda.lower.reduce import BLOCK, WARP
from netc.backends.cuda.text import c_dim, plus, times
from netc.ir.core import Op, Value
from netc.ir.dim import Dim, product
from netc.ir.types import TensorType

FEW = 4  # channels and outputs a group for which a tile would be mostly empty


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type


def applies(anchor: Op) -> bool:
    """Whether a group has few channels and few outputs."""
    w = _tensor(anchor.operands[1])
    group = anchor.attrs.group
    depth, outputs = w.shape[:2] if anchor.name == "nn.deconv" else (w.shape[1], w.shape[0])
    if not isinstance(depth, int) or not isinstance(outputs, int) or group == 1:
        return False
    if anchor.name == "nn.deconv":
        depth //= group
    else:
        outputs //= group
    return depth <= FEW and outputs <= FEW


@contextmanager
def _channels(
    kernel: Kernel, anchor: Op, output: str, per_group: Dim, depth: Dim
) -> Iterator[tuple[str, str]]:
    """``total``, which begins with an output's bias, and a loop over the ``depth`` channels of its group.

    Gives the index of an input channel within the group, and among all.
    """
    bias = kernel.bias(anchor)
    kernel.line(f"float total = {bias.element([output]) if bias is not None else '0.0f'};")
    first = times(f"({output} / {c_dim(per_group)})", depth)
    inner = "k" if depth != 1 else "0"
    with kernel.unrolled(inner, int(c_dim(depth))) if depth != 1 else nullcontext():
        yield inner, f"({plus(first, inner)})"


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of an ``nn.conv``."""
    x, w = (kernel.operand(v) for v in anchor.operands[:2])
    attrs = anchor.attrs
    shape = kernel.writes[0].type.shape
    depth, per_group = w.type.shape[1], product((shape[1],)) // attrs.group
    with kernel.elements(shape, axis_names(len(shape))) as indices:
        channels = _channels(kernel, anchor, indices[1], per_group, depth)
        with channels as (inner, channel), ExitStack() as stack:
            at = []
            for axis, o in enumerate(indices[2:]):
                tap = f"t{axis}"
                extent = w.type.shape[2 + axis]
                assert isinstance(extent, int)
                stack.enter_context(kernel.unrolled(tap, extent))
                low = attrs.pad[axis][0]
                place = plus(times(o, attrs.stride[axis]), times(tap, attrs.dilation[axis]))
                kernel.line(f"const int at{axis} = {place}{f' - {low}' if low else ''};")
                at.append(f"at{axis}")
            inside = [
                f"unsigned({i}) < unsigned({c_dim(n)})" for i, n in zip(at, x.type.shape[2:], strict=True)
            ]
            taps = [f"t{axis}" for axis in range(len(at))]
            seen, weight = x.element([indices[0], channel, *at]), w.element([indices[1], inner, *taps])
            kernel.line(f"if ({' && '.join(inside)}) total = fmaf({seen}, {weight}, total);")
        finish_at(kernel, {anchor.result.name: "total"}, tail, indices)


def lower_deconv(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of an ``nn.deconv``: every output gathers the inputs that reach it."""
    x, w = (kernel.operand(v) for v in anchor.operands[:2])
    attrs = anchor.attrs
    shape = kernel.writes[0].type.shape
    per_group, depth = w.type.shape[1], product((x.type.shape[1],)) // attrs.group
    with kernel.elements(shape, axis_names(len(shape))) as indices:
        channels = _channels(kernel, anchor, indices[1], per_group, depth)
        with channels as (_, channel), ExitStack() as stack:
            at, conditions = [], []
            for axis, q in enumerate(indices[2:]):
                tap, extent, stride = f"t{axis}", w.type.shape[2 + axis], attrs.stride[axis]
                assert isinstance(extent, int)
                stack.enter_context(kernel.unrolled(tap, extent))
                reach = plus(q, str(attrs.pad[axis][0]))
                back = times(tap, attrs.dilation[axis])
                kernel.line(f"const int from{axis} = {reach}{f' - {back}' if back != '0' else ''};")
                at.append(f"from{axis} / {stride}" if stride > 1 else f"from{axis}")
                conditions.append(f"from{axis} >= 0 && from{axis} < {c_dim(x.type.shape[2 + axis] * stride)}")
                if stride > 1:
                    conditions.append(f"from{axis} % {stride} == 0")
            taps = [f"t{axis}" for axis in range(len(at))]
            inside = f"{indices[1]} % {c_dim(per_group)}"
            kernel.line(
                f"if ({' && '.join(conditions)}) total = fmaf({x.element([indices[0], channel, *at])}, "
                f"{w.element([channel, f'({inside})', *taps])}, total);"
            )
        finish_at(kernel, {anchor.result.name: "total"}, tail, indices)


def gradient_applies(anchor: Op) -> bool:
    """Whether a group of the convolution has few channels and few outputs."""
    x, dy = (_tensor(v) for v in anchor.operands)
    group = anchor.attrs.group
    channels, outputs = x.shape[1], dy.shape[1]
    assert isinstance(channels, int)
    assert isinstance(outputs, int)
    return bool(group > 1 and channels // group <= FEW and outputs // group <= FEW)


def lower_weight_gradient(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of an ``nn.conv_weight_gradient``: a block for each weight, summed in order."""
    x, dy = (kernel.operand(v) for v in anchor.operands)
    attrs = anchor.attrs
    shape = kernel.writes[0].type.shape
    depth, per_group = shape[1], product((shape[0],)) // attrs.group
    positions = (dy.type.shape[0], *dy.type.shape[2:])
    with kernel.function((product(shape), 1, 1), BLOCK):
        kernel.line("const int item = blockIdx.x;")
        axes = len(shape) - 2
        indices = kernel.split("item", ["o", "k", *(f"t{a}" for a in range(axes))], shape)
        channel = plus(times(f"({indices[0]} / {c_dim(per_group)})", depth), indices[1])
        kernel.line(f"NETC_SHARED(float, tile, {BLOCK // WARP});")
        kernel.line("Sum sum;")
        with kernel.block(f"for (int i = threadIdx.x; i < {c_dim(product(positions))}; i += {BLOCK})"):
            n, *place = kernel.split("i", ["n", *(f"p{a}" for a in range(axes))], positions)
            at = []
            for axis, p in enumerate(place):
                low = attrs.pad[axis][0]
                tap = times(indices[2 + axis], attrs.dilation[axis])
                begin = plus(times(p, attrs.stride[axis]), tap)
                kernel.line(f"const int at{axis} = {begin}{f' - {low}' if low else ''};")
                at.append(f"at{axis}")
            inside = [
                f"unsigned({i}) < unsigned({c_dim(e)})" for i, e in zip(at, x.type.shape[2:], strict=True)
            ]
            seen = x.element([n, f"({channel})", *at])
            kernel.line(
                f"if ({' && '.join(inside)}) sum.add({seen} * {dy.element([n, indices[0], *place])});"
            )
        kernel.line(f"reduce_block<{BLOCK // WARP}>(sum, tile);")
        with kernel.block("if (threadIdx.x == 0)"):
            finish_at(kernel, {anchor.result.name: "sum.total"}, tail, indices)
