"""Gradient rules of ops that look at windows or regions of planes: what an element gave comes back to it.

No gradient passes to what says where: masks, random numbers and regions change a result in jumps only.
"""

from __future__ import annotations

from typing import Any

from netc.ir.core import Value
from netc.ir.dim import Dim
from netc.ir.gradients.pullback import Pullback, tensor_type
from netc.ir.opdef import gradient_of
from netc.ir.ops.im2col import Col2imAttrs
from netc.ir.ops.pool import PoolAttrs
from netc.ir.ops.pool_gradient import PoolGradientAttrs
from netc.ir.ops.resize_gradient import ResizeGradientAttrs
from netc.ir.ops.roi_gradient import PsRoiPoolGradientAttrs

Gradients = tuple[Value | None, ...]


def _spatial(p: Pullback) -> tuple[Dim, ...]:
    return tensor_type(p.operands[0]).shape[2:]


@gradient_of("nn.im2col")
def _im2col(p: Pullback) -> Gradients:
    a = p.attrs
    attrs = Col2imAttrs(_spatial(p), a.kernel, a.stride, a.pad, a.dilation)
    return (p.emit("nn.col2im", (p.gradient,), attrs),)


@gradient_of("nn.resize")
def _resize(p: Pullback) -> Gradients:
    height, width = _spatial(p)
    attrs = ResizeGradientAttrs((height, width), p.attrs.kind, p.attrs.coordinates)
    return (p.emit("nn.resize_gradient", (p.gradient,), attrs),)


@gradient_of("nn.max_unpool")
def _max_unpool(p: Pullback) -> Gradients:
    if not p.wanted[0]:
        return None, None
    return p.emit("nn.max_unpool_gradient", (p.gradient, p.operands[1])), None


def _with_choice(attrs: PoolAttrs) -> tuple[str, Any]:
    return "nn.stochastic_pool_choice", attrs


@gradient_of("nn.stochastic_pool", recorded=_with_choice)
@gradient_of("nn.stochastic_pool_choice")
def _stochastic_pool(p: Pullback) -> Gradients:
    if not p.wanted[0]:
        return None, None
    attrs = PoolGradientAttrs.of(p.attrs, _spatial(p))
    return p.emit("nn.max_pool_gradient", (p.gradient, p.op.results[1]), attrs), None


@gradient_of("nn.roi_pool")
def _roi_pool(p: Pullback) -> Gradients:
    if not p.wanted[0]:
        return None, None
    return p.emit("nn.roi_pool_gradient", (p.gradient, *p.operands), p.attrs), None


@gradient_of("nn.ps_roi_pool")
def _ps_roi_pool(p: Pullback) -> Gradients:
    if not p.wanted[0]:
        return None, None
    a, (samples, _, height, width) = p.attrs, tensor_type(p.operands[0]).shape
    attrs = PsRoiPoolGradientAttrs((samples, height, width), a.channels, a.group, a.scale)
    return p.emit("nn.ps_roi_pool_gradient", (p.gradient, p.operands[1]), attrs), None
