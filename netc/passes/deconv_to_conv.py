"""Turn deconvolutions of stride 1 into convolutions.

Does: ``deconv(x, w)`` of stride 1, which every backward pass through a convolution of stride 1 holds, becomes
``conv(x, adjoint_weight(w))``, for which the better kernels are. A pad ``p`` becomes ``extent - 1 - p``.

Requires: a tensor module, row-major.
Ensures: no deconvolution of stride 1 is left but those whose new pads would be negative.
Refuses: nothing.

Example (``deconv_to_conv()``)::

    module m tensor {
    func @main(%x: f32[1,8,4,4], %w: state f32[8,3,3,3]) -> (y = %y) {
      %y: f32[1,3,4,4] = nn.deconv %x, %w {stride = [1, 1], pad = [[1, 1], [1, 1]], dilation = [1, 1]}
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[1,8,4,4], %w: state f32[8,3,3,3]) -> (y = %y) {
      %v: f32[3,8,3,3] = nn.adjoint_weight %w {group = 1, block = 1}
      %y: f32[1,3,4,4] = nn.conv %x, %v {stride = [1, 1], pad = [[1, 1], [1, 1]], dilation = [1, 1]}
    }
    }
"""

from __future__ import annotations

from dataclasses import replace

from netc.ir.core import Module, Op, Value
from netc.ir.ops.adjoint_weight import AdjointWeightAttrs
from netc.ir.ops.window import kernel_extent
from netc.ir.rewrite import Rewriter, rewrite_module
from netc.ir.types import TensorType


def deconv_to_conv(module: Module) -> Module:
    """The module without deconvolutions of stride 1."""
    return rewrite_module(module, (_rule,))


def _rule(op: Op, rewriter: Rewriter) -> tuple[Value, ...] | None:
    if op.name != "nn.deconv" or any(s != 1 for s in op.attrs.stride):
        return None
    x, w, *bias = op.operands
    assert isinstance(w.type, TensorType)
    reach = [kernel_extent(k, d) - 1 for k, d in zip(w.type.static_shape[2:], op.attrs.dilation, strict=True)]
    pads = tuple((r - low, r - high) for r, (low, high) in zip(reach, op.attrs.pad, strict=True))
    if any(p < 0 for pad in pads for p in pad):
        return None
    adjoint = rewriter.add1(
        "nn.adjoint_weight",
        (w,),
        AdjointWeightAttrs(op.attrs.group),
        hint=f"{w.name}.adjoint",
        location=op.location,
    )
    rewriter.append(
        replace(op, name="nn.conv", operands=(x, adjoint, *bias), attrs=replace(op.attrs, pad=pads))
    )
    return op.results
