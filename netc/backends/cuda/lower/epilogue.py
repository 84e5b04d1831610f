"""Elementwise ops on values in registers: what a body computes around its anchor, at one element."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from netc.backends.cuda.kernel import Kernel, Memory
from netc.backends.cuda.lower.scalar_ops import ELEMENTWISE
from netc.ir.core import Op, Value

Load = Callable[[str, Memory], str]


def evaluate(
    kernel: Kernel, ops: Sequence[Op], known: Mapping[str, str], results: Sequence[Value], load: Load
) -> list[str]:
    """Declare a variable for each op; the expressions of ``results``.

    ``known`` are expressions by the names of values; body arguments that are not known are loaded, once
    each, by ``load(name, memory)``.
    """
    values = dict(known)

    def expression(value: Value) -> str:
        if value.name not in values:
            memory = kernel.arguments[value.name]
            name = f"{memory.pointer}_value"
            kernel.line(f"const float {name} = {load(value.name, memory)};")
            values[value.name] = name
        return values[value.name]

    for op in ops:
        operands = [expression(v) for v in op.operands]
        name = f"v{len(values)}"
        kernel.line(f"const float {name} = {ELEMENTWISE[op.name](op.attrs, operands)};")
        values[op.result.name] = name
    return [expression(v) for v in results]


def finish_at(
    kernel: Kernel,
    made: Mapping[str, str],
    ops: Sequence[Op],
    indices: Sequence[str],
    target: Callable[[Memory], str] | None = None,
) -> None:
    """Run the elementwise ops behind an anchor at an element of the result; store what the body yields.

    ``target`` is where results go if not to their places in memory.
    """
    results = evaluate(kernel, ops, made, kernel.body.results, lambda _, memory: memory.element(indices))
    for memory, value in zip(kernel.writes, results, strict=True):
        to = memory.element(indices) if target is None else target(memory)
        kernel.line(f"{to} = {value};")
