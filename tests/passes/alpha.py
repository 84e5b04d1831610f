"""Equality of modules up to the names of values and up to locations."""

from __future__ import annotations

from dataclasses import replace

from netc.ir.core import Block, Func, Module, Op, Value
from netc.ir.parser import parse_module
from netc.ir.printer import print_module


def canonical_text(module: Module) -> str:
    """The text of a module after numbering its values in order of definition; locations left out."""
    return print_module(replace(module, funcs=tuple(map(_renamed, module.funcs))), locations=False)


def assert_same(actual: Module, expected: Module | str) -> None:
    """Both modules are one up to names of values other than arguments of the function."""
    if isinstance(expected, str):
        expected = parse_module(expected, "<expected>")
    assert canonical_text(actual) == canonical_text(expected)


def _renamed(func: Func) -> Func:
    names: dict[str, str] = {a.name: a.name for a in func.args}

    def define(value: Value) -> Value:
        names.setdefault(value.name, f"v{len(names)}")
        return use(value)

    def use(value: Value) -> Value:
        return Value(names[value.name], value.type)

    def block(b: Block) -> Block:
        args = tuple(map(define, b.args))
        return Block(args, tuple(map(op, b.ops)), tuple(map(use, b.results)))

    def op(o: Op) -> Op:
        operands = tuple(map(use, o.operands))
        body = None if o.body is None else block(o.body)
        return replace(o, operands=operands, body=body, results=tuple(map(define, o.results)), location=None)

    ops = tuple(map(op, func.ops))
    return replace(func, ops=ops, results=tuple(map(use, func.results)))
