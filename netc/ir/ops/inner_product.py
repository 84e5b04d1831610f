"""The fully connected product of a matrix of samples with a weight matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.opdef import Array, OpDef, define
from netc.ir.ops.window import check_one_dtype
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class InnerProductAttrs:
    """``transpose``: the weight is [K,N] instead of [N,K]."""

    transpose: bool = False


def infer_inner_product(operands: tuple[TensorType, ...], attrs: InnerProductAttrs) -> tuple[TensorType, ...]:
    """The type rule of nn.inner_product."""
    x, w = operands[0], operands[1]
    check_one_dtype(operands)
    if x.rank != 2 or x.layout is not None:
        raise OpError(f"a row-major input of (M, K) expected, got {x}")
    if w.rank != 2:
        raise OpError(f"a weight of rank 2 expected, got {w}")
    n, k = reversed(w.shape) if attrs.transpose else w.shape
    if k != x.shape[1]:
        raise OpError(f"the weight {w} takes {k} values a sample, the input {x} has {x.shape[1]}")
    if w.layout is not None and (attrs.transpose or w.layout.axis != 0):
        raise OpError(f"a weight that is row-major or [N,K] blocked on axis 0 expected, got {w}")
    for bias in operands[2:]:
        if bias.shape != (n,):
            raise OpError(f"a bias of shape [{n}] expected, got {bias}")
        if bias.layout is not None and bias.layout != w.layout:
            raise OpError(f"a bias that is row-major or blocked like the weight expected, got {bias}")
    return (TensorType(x.dtype, (x.shape[0], n)),)


def _reference(operands: tuple[Array, ...], attrs: InnerProductAttrs) -> tuple[Array, ...]:
    x, w = operands[0], operands[1]
    y = np.matmul(x, w if attrs.transpose else w.T)
    return (y + operands[2] if len(operands) > 2 else y,)


INNER_PRODUCT = define(
    OpDef(
        "nn.inner_product",
        "tensor",
        "y[m,n] = b[n] + sum over k of x[m,k] * w[n,k] (w[k,n] where transposed). x [M,K], w [N,K], b [N]. "
        "The weight may be blocked by N; the result is row-major always.",
        ("x", "w", "b?"),
        InnerProductAttrs,
        infer=infer_inner_product,
        reference=_reference,
    )
)
