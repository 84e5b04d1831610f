"""Turn deconvolutions into convolutions, for which the better kernels are.

Does: rewrites what the backward passes of convolutions are made of. A pad ``p`` becomes ``extent - 1 - p``.

1.  ``deconv(x, w)`` of stride 1 becomes ``conv(x, adjoint_weight(w))``.
2.  of a larger stride, and neither grouped nor dilated, it becomes ``fractional_conv(x, adjoint_weight(w))``
    if ``fractional``: where channels will be blocked, for there is no kernel without.

Requires: a tensor module, row-major.
Ensures: no such deconvolution is left but those whose new pads would be negative, or with more than
``MOST_PHASES`` phases of outputs.
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

import math
from dataclasses import replace

from netc.ir.core import Module, Op, Value
from netc.ir.ops.adjoint_weight import AdjointWeightAttrs
from netc.ir.ops.conv import FractionalConvAttrs
from netc.ir.ops.window import kernel_extent
from netc.ir.rewrite import Rewriter, rewrite_module
from netc.ir.types import TensorType

MOST_PHASES = 16  # each is a convolution in the kernel's code


def deconv_to_conv(module: Module, *, fractional: bool = False) -> Module:
    """The module without the deconvolutions that are other convolutions."""

    def rule(op: Op, rewriter: Rewriter) -> tuple[Value, ...] | None:
        return _rewritten(op, rewriter, fractional)

    return rewrite_module(module, (rule,))


def _rewritten(op: Op, rewriter: Rewriter, fractional: bool) -> tuple[Value, ...] | None:
    if op.name != "nn.deconv":
        return None
    attrs = op.attrs
    dense = all(s == 1 for s in attrs.stride)
    if not dense and not (fractional and _can_be_fractional(op)):
        return None
    x, w, *bias = op.operands
    assert isinstance(w.type, TensorType)
    reach = [kernel_extent(k, d) - 1 for k, d in zip(w.type.static_shape[2:], attrs.dilation, strict=True)]
    pads = tuple((r - low, r - high) for r, (low, high) in zip(reach, attrs.pad, strict=True))
    if any(p < 0 for pad in pads for p in pad):
        return None
    hint = f"{w.name}.adjoint"
    adjoint = rewriter.add1(
        "nn.adjoint_weight", (w,), AdjointWeightAttrs(attrs.group), hint=hint, location=op.location
    )
    name, made = "nn.conv", replace(attrs, pad=pads)
    if not dense:
        name, made = "nn.fractional_conv", FractionalConvAttrs(attrs.stride, pads)
    rewriter.append(replace(op, name=name, operands=(x, adjoint, *bias), attrs=made))
    return op.results


def _can_be_fractional(op: Op) -> bool:
    plain = op.attrs.group == 1 and all(d == 1 for d in op.attrs.dilation)
    return plain and len(op.attrs.stride) == 2 and math.prod(op.attrs.stride) <= MOST_PHASES
