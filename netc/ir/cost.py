"""What a function costs: multiply-accumulates, bytes of weights and of activations. Pure facts.

Counts are dimensions, so they hold for a net of any size; they are integers where all sizes are known.
"""

from __future__ import annotations

from dataclasses import dataclass

from netc.ir.core import Func, Op, Value, walk
from netc.ir.dim import Dim, floordiv, product
from netc.ir.ops.winograd import channels_seen
from netc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Cost:
    """``ops`` counts those inside bodies one by one. ``flops`` are two a multiply-accumulate.

    ``activation_bytes`` adds up the results of all top-level ops, as if each had memory of its own.
    """

    ops: int
    macs: Dim
    param_bytes: Dim
    activation_bytes: Dim

    @property
    def flops(self) -> Dim:
        """Floating-point operations of the matrix-like ops."""
        return self.macs * 2


def macs(op: Op) -> Dim:
    """The multiply-accumulates of convolutions and inner products, a body's included; 0 for other ops.

    Winograd's convolution counts as what it stands for.
    """
    if op.body is not None:
        return _sum(tuple(macs(inner) for inner in op.body.ops))
    if op.name == "nn.conv_weight_gradient":
        dy, dw = _tensor(op.operands[1]), _tensor(op.result)
        return dy.elements * product(dw.shape[1:])  # each output: C/g * K
    if op.name == "nn.winograd_conv":
        u, y = _tensor(op.operands[1]), _tensor(op.result)
        return y.elements * channels_seen(u) * int(op.attrs.taps) ** 2
    if op.name in ("nn.bf16_conv", "nn.int8_conv"):
        x, w, y = _tensor(op.operands[0]), _tensor(op.operands[1]), _tensor(op.result)
        return y.elements * floordiv(x.shape[1], int(op.attrs.group)) * product(w.shape[2:])
    if op.name in ("nn.bf16_inner_product", "nn.int8_inner_product"):
        return _tensor(op.result).elements * _tensor(op.operands[0]).shape[1]
    if op.name not in ("nn.conv", "nn.deconv", "nn.fractional_conv", "nn.inner_product"):
        return 0
    x, w, y = _tensor(op.operands[0]), _tensor(op.operands[1]), _tensor(op.result)
    if op.name == "nn.conv":
        return y.elements * product(w.shape[1:])  # each output: C/g * K
    if op.name == "nn.deconv":
        return x.elements * product(w.shape[1:])  # each input: O/g * K
    if op.name == "nn.fractional_conv":
        per_group = w.static_shape[0] // int(op.attrs.group)
        return x.elements * product((per_group, *w.shape[2:]))  # each input: O/g * K
    return y.elements * x.shape[1]


def func_cost(func: Func) -> Cost:
    """The cost of a tensor-level function."""
    return Cost(
        ops=sum(1 for op in walk(func.ops) if op.name != "fusion"),
        macs=_sum(tuple(macs(op) for op in func.ops)),
        param_bytes=_sum(tuple(_tensor(p).storage_bytes for p in func.params)),
        activation_bytes=_sum(tuple(_tensor(r).storage_bytes for op in func.ops for r in op.results)),
    )


def _sum(dims: tuple[Dim, ...]) -> Dim:
    total: Dim = 0
    for dim in dims:
        total = total + dim
    return total


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type
