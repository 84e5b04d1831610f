"""Accumulate gradients over several calls: what a batch that is too large for the memory is cut into.

Does: for each of ``params`` takes the result ``NAME.gradient`` away and gives ``@main`` a state
``NAME.gradient.sum`` to which every call adds the gradient. Who clears the sums is the caller.

Requires: a tensor module that was differentiated with respect to ``params``.
Ensures: one memory for a sum, written in place; nothing else changes.
Refuses: a param without a gradient among the results.

Example (``accumulate_gradients(params=["w"])``)::

    module m tensor {
    func @main(%x: f32[N,8], %w: state f32[1,8]) -> (y = %y, w.gradient = %g) {
      %y: f32[N,8] = math.mul %x, %w
      %g: f32[1,8] = tensor.reduce %x {kind = sum, axes = [0]}
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[N,8], %w: state f32[1,8], %w.gradient.sum: state f32[1,8])
        -> (y = %y, w.gradient.sum = %s) {
      %y: f32[N,8] = math.mul %x, %w
      %g: f32[1,8] = tensor.reduce %x {kind = sum, axes = [0]}
      %s: f32[1,8] = math.add %w.gradient.sum, %g
    }
    }
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.ir.core import Func, Module
from netc.ir.func_edit import FuncEdit


def sum_name(param: str) -> str:
    """The name of the state that holds the sum of a parameter's gradients."""
    return f"{param}.gradient.sum"


def accumulate_gradients(module: Module, *, params: Sequence[str]) -> Module:
    """The module that adds the gradients of ``params`` to states."""
    return module.with_func(_accumulate(module.func("main"), params))


def _accumulate(func: Func, params: Sequence[str]) -> Func:
    edit = FuncEdit(func)
    for name in params:
        gradient = edit.take_result(f"{name}.gradient")
        total = edit.state(sum_name(name), gradient.type)
        summed = edit.add1("math.add", (total, gradient), hint=total.name)
        edit.result(total.name, summed)
    return edit.finish()
