"""Kernels have a text: what a lowering writes reads back as the same module."""

from __future__ import annotations

from typing import Any

import pytest
from harness import launch_of, one_op

from netc.backends.llvm.lower.table import lower_launch
from netc.backends.llvm.target import parse_target
from netc.ir.core import Module
from netc.ir.dim import symbol
from netc.ir.layout import Blocked
from netc.ir.ops.elementwise import PowAttrs
from netc.ir.ops.layout_ops import LayoutAttrs
from netc.ir.ops.normalize import LrnAttrs, SoftmaxAttrs
from netc.ir.ops.reduce import ReduceAttrs
from netc.ir.ops.shape import TransposeAttrs
from netc.ir.parser import parse_module
from netc.ir.printer import print_module
from netc.ir.types import TensorType
from netc.ir.verify import verify

ROWS = TensorType("f32", (symbol("N"), 20, 5, symbol("W")))


@pytest.mark.parametrize(
    ("name", "attrs", "type_"),
    [
        ("math.pow", PowAttrs(0.3), ROWS),
        ("math.tanh", None, ROWS),
        ("layout.convert", LayoutAttrs(1, 8), ROWS),
        ("tensor.transpose", TransposeAttrs((0, 2, 3, 1)), ROWS),
        ("nn.lrn", LrnAttrs(5, 1.0, 0.75, 1.0), ROWS.with_layout(Blocked(1, 8))),
        ("nn.lrn", LrnAttrs(5, 1.0, 0.75, 1.0), ROWS),
        ("nn.softmax", SoftmaxAttrs(1), ROWS),
        ("tensor.reduce", ReduceAttrs("sum", (1, 3)), ROWS),
    ],
    ids=lambda v: str(v)[:14],
)
def test_the_text_of_a_kernel_reads_back(name: str, attrs: Any, type_: TensorType) -> None:
    func = lower_launch("kernel", launch_of([type_], one_op(name, attrs)), parse_target("cpu:avx2"))
    module = Module("m", "loop", (func,))
    verify(module)
    text = print_module(module)
    assert print_module(parse_module(text)) == text
