"""IR text. ``parse_module(print_module(m)) == m``; equal modules print equally."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import Any

from netc.ir.core import Block, Func, Module, Op, Value
from netc.ir.dim import SymDim
from netc.ir.types import Type

_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-/]*\Z")
# what the parser would read as a number is quoted
_PLAIN_NAME = re.compile(r"(?!(?:inf|nan)\b)[A-Za-z_][A-Za-z0-9_.\-/]*\Z")
_PLAIN_WORD = re.compile(r"[a-z_][a-z0-9_]*\Z")
_KEYWORDS = frozenset({"true", "false", "none", "inf", "nan"})


def print_module(module: Module, *, locations: bool = True) -> str:
    """The text of a module."""
    parts = [f"module {_name(module.name)} {module.level} {{"]
    parts += [print_func(f, locations=locations) for f in module.funcs]
    return "\n".join([*parts, "}"]) + "\n"


def print_func(func: Func, *, locations: bool = True) -> str:
    """The text of a function."""
    args = ", ".join(
        f"%{_value(a.name)}: {'' if r == 'input' else r + ' '}{a.type}"
        for a, r in zip(func.args, func.roles, strict=True)
    )
    results = ", ".join(
        f"{_name(n)} = %{_value(v.name)}" for n, v in zip(func.result_names, func.results, strict=True)
    )
    lines = [f"func @{_name(func.name)}({args}) -> ({results}) {{"]
    lines += [print_op(op, indent=1, locations=locations) for op in func.ops]
    return "\n".join([*lines, "}"])


def print_op(op: Op, *, indent: int = 0, locations: bool = True) -> str:
    """The text of an op, its body on lines of their own."""
    pad = "  " * indent
    results = ", ".join(f"%{_value(r.name)}: {r.type}" for r in op.results)
    head = f"{results} = {op.name}" if op.results else op.name
    if op.operands:
        head += " " + _values(op.operands)
    attrs = _attrs(op.attrs)
    if attrs:
        head += f" {{{attrs}}}"
    if op.body is not None:
        head += " " + _block(op.body, indent, locations)
    if locations and op.location is not None:
        where = op.location
        head += f" @{json.dumps(where.file)}:{where.line}:{where.column}"
    return pad + head


def _block(block: Block, indent: int, locations: bool) -> str:
    args = ", ".join(f"%{_value(a.name)}: {a.type}" for a in block.args)
    lines = [f"({args}) {{"]
    lines += [print_op(op, indent=indent + 1, locations=locations) for op in block.ops]
    pad = "  " * (indent + 1)
    lines.append(f"{pad}yield {_values(block.results)}".rstrip())
    lines.append("  " * indent + "}")
    return "\n".join(lines)


def _values(values: tuple[Value, ...]) -> str:
    return ", ".join(f"%{_value(v.name)}" for v in values)


def _value(name: str) -> str:
    return name if _PLAIN_VALUE.match(name) else json.dumps(name)


def _name(name: str) -> str:
    return name if _PLAIN_NAME.match(name) else json.dumps(name)


def _attrs(attrs: Any) -> str:
    return ", ".join(f"{f.name} = {_attr(getattr(attrs, f.name))}" for f in fields(attrs))


def _attr(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return value if _PLAIN_WORD.match(value) and value not in _KEYWORDS else json.dumps(value)
    if isinstance(value, tuple):
        return f"[{', '.join(_attr(v) for v in value)}]"
    if isinstance(value, SymDim):
        return f"<{value}>"
    if isinstance(value, Type):
        return f"<{value}>"
    raise TypeError(f"an attribute cannot be a {type(value).__name__}")
