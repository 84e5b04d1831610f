"""What a static launch costs: floating-point operations, and bytes of its operands."""

from __future__ import annotations

import math
from collections.abc import Iterable

from netc.ir.core import Op, Value, walk
from netc.ir.cost import macs
from netc.runtime.shapes import tensor_of

# ops that move elements, or that only hold others
_NO_FLOPS = (
    "fusion",
    "layout.convert",
    "math.broadcast",
    "math.stop_gradient",
    "nn.adjoint_weight",
    "nn.im2col",
    "tensor.concat",
    "tensor.fill",
    "tensor.pad",
    "tensor.reshape",
    "tensor.reverse",
    "tensor.select",
    "tensor.slice",
    "tensor.take",
    "tensor.tile",
    "tensor.transpose",
)
# for each element of the first operand
_PER_INPUT = {
    "nn.global_pool": 1,
    "nn.moments": 3,  # sum, square, sum of squares
    "nn.softmax_loss": 5,
    "tensor.reduce": 1,
}
# for each element of the first result; 1 for ops that are not listed anywhere
_PER_RESULT = {
    "nn.softmax": 5,  # maximum, difference, exp, sum, quotient
    "nn.softmax_loss_gradient": 5,
}
_WINDOWED = ("nn.pool", "nn.max_pool_choice")  # for each element of a window
_LRN_WINDOWS = {"nn.lrn": 1, "nn.lrn_gradient": 2}
_LRN_FLOPS = 4  # for each element besides the window: scale, shift, power, product


def launch_flops(launch: Op) -> int:
    """Floating-point operations, an fma being two."""
    assert launch.body is not None
    return sum(_flops(op) for op in walk(launch.body.ops))


def launch_bytes(launch: Op) -> int:
    """Every operand once, as if nothing stayed in the caches."""
    total = 0
    for value in launch.operands:
        size = tensor_of(value.type).storage_bytes
        assert isinstance(size, int)
        total += size
    return total


def _flops(op: Op) -> int:
    products = macs(op)
    assert isinstance(products, int)
    if products:
        return 2 * products
    if op.name in _NO_FLOPS:
        return 0
    if op.name in _PER_INPUT:
        return _elements(op.operands[:1]) * _PER_INPUT[op.name]
    out = _elements(op.results[:1])
    if op.name in _WINDOWED:
        return out * int(math.prod(op.attrs.kernel))
    if op.name in _LRN_WINDOWS:
        return out * _LRN_WINDOWS[op.name] * (2 * int(op.attrs.size) + _LRN_FLOPS)
    return out * _PER_RESULT.get(op.name, 1)


def _elements(values: Iterable[Value]) -> int:
    return sum(math.prod(tensor_of(value.type).static_shape) for value in values)
