"""What the tests of single passes check: the text after a pass, and that the meaning is the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from alpha import assert_same
from nets import arguments, run_main

from netc.ir.core import Module
from netc.ir.parser import parse_module
from netc.ir.printer import print_module
from netc.ir.types import TensorType
from netc.ir.verify import verify

UNIT = "{stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1]}"
Pass = Callable[[Module], Module]


def main(args: str, ops: str, results: str = "y = %y") -> str:
    """The text of a module with one function, ``main``."""
    return f"module m tensor {{\nfunc @main({args}) -> ({results}) {{\n{ops}\n}}\n}}\n"


def becomes(run: Pass, before: str, after: str) -> None:
    """The pass turns one text into the other, and into no other meaning."""
    module = parse_module(before, "<before>")
    verify(module)
    outcome = run(module)
    verify(outcome)
    assert_same(outcome, after)
    if _is_static(module):
        keeps_meaning(run, module)


def stays(run: Pass, text: str) -> None:
    """The pass has nothing to do."""
    becomes(run, text, text)


def keeps_meaning(run: Pass, module: Module) -> None:
    """The reference computes the same before and after the pass; the pass makes legal IR and no new."""
    before = _copy(module)
    outcome = run(module)
    verify(outcome)
    assert module == before, "a pass must not change its operand"
    args = arguments(module)
    for a, b in zip(run_main(outcome, args), run_main(module, args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def _copy(module: Module) -> Module:
    return parse_module(print_module(module))


def _is_static(module: Module) -> bool:
    types = [a.type for a in module.func("main").args]
    return all(isinstance(d, int) for t in types if isinstance(t, TensorType) for d in t.shape)
