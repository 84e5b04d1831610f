"""Weights for Winograd's convolution that change from run to run: those that learn."""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.llvm.lower.kernel import Kernel
from netc.backends.llvm.lower.winograd_transform import transform_weights
from netc.ir.core import Op
from netc.ir.types import TensorType
from netc.ir.winograd_matrices import winograd


def applies(anchor: Op) -> bool:
    """Whole blocks of output channels."""
    w, u = anchor.operands[0].type, anchor.result.type
    assert isinstance(w, TensorType)
    assert isinstance(u, TensorType)
    outputs = w.shape[0]
    return u.layout is not None and isinstance(outputs, int) and outputs % u.layout.size == 0


def lower(kernel: Kernel, anchor: Op, _tail: Sequence[Op]) -> None:
    """Emit the whole kernel: a window of each channel of a block in the lanes, transformed in registers."""
    b = kernel.b
    w, u = kernel.operand(anchor.operands[0]), kernel.writes[0]
    assert u.type.layout is not None
    lanes = u.type.layout.size
    outputs, depth, taps, _ = w.type.static_shape
    matrices = winograd(anchor.attrs.tile, taps)
    first, last = kernel.share(outputs // lanes * depth)
    with b.loop(first, last) as item:
        block, channel = b.split(item.index, [outputs // lanes, depth])
        at = b.imul(b.iadd(b.imul(block, lanes * depth), channel), taps * taps)
        window = [
            [
                b.load_strided(w.pointer, b.iadd(at, row * taps + column), depth * taps * taps, lanes)
                for column in range(taps)
            ]
            for row in range(taps)
        ]
        to = b.imul(b.iadd(b.imul(block, matrices.extent**2 * depth), channel), lanes)
        places = [value for row in transform_weights(b, matrices, window) for value in row]
        for place, value in enumerate(places):
            b.store(value, u.pointer, b.iadd(to, place * depth * lanes))
