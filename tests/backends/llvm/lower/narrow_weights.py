"""Weights in words, as @prepare makes them, for the tests of narrow kernels."""

from __future__ import annotations

import numpy as np
from harness import Array

from netc.ir.opdef import NoAttrs, opdef
from netc.ir.ops.int8 import AffineCode, ZeroAttrs


def _run(name: str, operands: tuple[Array, ...], attrs: object) -> Array:
    rule = opdef(name).reference
    assert rule is not None
    return rule(operands, attrs)[0]


def bf16_weight(w: Array) -> Array:
    """The words."""
    return _run("nn.bf16_weight", (w,), NoAttrs())


def int8_weight(w: Array, code: AffineCode) -> tuple[Array, Array, Array]:
    """Words, scale and start for inputs in a code."""
    step = _run("nn.int8_scale", (w,), NoAttrs())
    words = _run("nn.int8_weight", (w, step), NoAttrs())
    return words, step * np.float32(code.scale), _run("nn.int8_start", (words,), ZeroAttrs(code.zero))
