"""Gradient rules of convolutions and inner products: each is made of its transposes."""

from __future__ import annotations

from dataclasses import replace

from netc.ir.core import Value
from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim
from netc.ir.gradients.pullback import Pullback, tensor_type
from netc.ir.opdef import gradient_of
from netc.ir.ops.conv import ConvAttrs
from netc.ir.ops.conv_gradient import ConvWeightGradientAttrs
from netc.ir.ops.inner_product import InnerProductAttrs
from netc.ir.ops.reduce import ReduceAttrs
from netc.ir.ops.shape import ReshapeAttrs, TransposeAttrs
from netc.ir.ops.window import kernel_extent

Gradients = tuple[Value | None, ...]


def _of_bias(p: Pullback) -> Value:
    """The gradient summed over everything but the channels: [O]."""
    shape = tensor_type(p.gradient).shape
    axes = tuple(axis for axis in range(len(shape)) if axis != 1)
    total = p.emit("tensor.reduce", (p.gradient,), ReduceAttrs("sum", axes))
    return p.emit("tensor.reshape", (total,), ReshapeAttrs((shape[1],)))


def _bias_gradients(p: Pullback) -> Gradients:
    return tuple(_of_bias(p) if wanted else None for wanted in p.wanted[2:])


@gradient_of("nn.conv")
def _conv(p: Pullback) -> Gradients:
    x, w = p.operands[:2]
    attrs: ConvAttrs = p.attrs
    dx = dw = None
    if p.wanted[1]:
        dw = p.emit("nn.conv_weight_gradient", (x, p.gradient), _weight_attrs(w, attrs))
    if p.wanted[0]:
        dx = p.emit("nn.deconv", (p.gradient, w), replace(attrs, pad=_pads_back_to(p.gradient, x, w, attrs)))
    return (dx, dw, *_bias_gradients(p))


def _weight_attrs(w: Value, attrs: ConvAttrs) -> ConvWeightGradientAttrs:
    return ConvWeightGradientAttrs(_kernel(w), attrs.stride, attrs.pad, attrs.dilation, attrs.group)


def _kernel(w: Value) -> tuple[int, ...]:
    """The kernel's extents, which the type rule of a convolution wants to be numbers."""
    extents = tensor_type(w).shape[2:]
    assert all(isinstance(k, int) for k in extents)
    return tuple(k for k in extents if isinstance(k, int))


def _pads_back_to(y: Value, x: Value, w: Value, attrs: ConvAttrs) -> tuple[tuple[int, int], ...]:
    """The pads with which the transpose of a convolution makes the extents of its input.

    What a convolution's rounding left over at the end gets no gradient: the high pad may become negative.
    """
    pads = []
    for axis, k in enumerate(_kernel(w)):
        low = attrs.pad[axis][0]
        size, out = tensor_type(x).shape[2 + axis], tensor_type(y).shape[2 + axis]
        full: Dim = (out - 1) * attrs.stride[axis] + kernel_extent(k, attrs.dilation[axis])
        high = full - low - size
        if not isinstance(high, int):
            raise OpError(
                f"the gradient of a convolution of stride {attrs.stride[axis]} needs a fixed extent of "
                f"spatial axis {axis}, got {size}"
            )
        pads.append((low, high))
    return tuple(pads)


@gradient_of("nn.deconv")
def _deconv(p: Pullback) -> Gradients:
    x, w = p.operands[:2]
    attrs: ConvAttrs = p.attrs
    dx = dw = None
    if p.wanted[1]:
        # with input and output in each other's place the weight's gradient is that of the convolution
        dw = p.emit("nn.conv_weight_gradient", (p.gradient, x), _weight_attrs(w, attrs))
    if p.wanted[0]:
        dx = p.emit("nn.conv", (p.gradient, w), attrs)
    return (dx, dw, *_bias_gradients(p))


@gradient_of("nn.inner_product")
def _inner_product(p: Pullback) -> Gradients:
    x, w = p.operands[:2]
    transposed = p.attrs.transpose
    dx = dw = None
    if p.wanted[1]:
        # [K,N] = x^T dy, or [N,K] = dy^T x
        left, right = (x, p.gradient) if transposed else (p.gradient, x)
        flipped = p.emit("tensor.transpose", (left,), TransposeAttrs((1, 0)))
        dw = p.emit("nn.inner_product", (flipped, right), InnerProductAttrs(transpose=True))
    if p.wanted[0]:
        dx = p.emit("nn.inner_product", (p.gradient, w), InnerProductAttrs(transpose=not transposed))
    return (dx, dw, *_bias_gradients(p))
