"""Rebuilds a function through rewrite rules: the driver that passes share.

A rule looks at one op, whose operands are already the rewritten ones, and either returns None (not
mine) or the values that take the place of the op's results, having added ops through the rewriter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from netc.ir.builder import OpAdder, infer_types
from netc.ir.core import Block, Func, Module, Op, Value, walk
from netc.ir.diagnostics import NetcError, OpError
from netc.ir.dim import Dim, SymDim, substitute
from netc.ir.types import MAX_ELEMENTS, BufferType, TensorType, Type, substitute_type


class Rewriter(OpAdder):
    """What a rule may use: the new ops so far, and facts about the old function."""

    def __init__(self, func: Func) -> None:
        taken = {a.name for a in func.args} | {v.name for op in walk(func.ops) for v in op.results}
        super().__init__(taken | {a.name for op in walk(func.ops) if op.body for a in op.body.args})
        self.old = func
        self.replaced: dict[str, Value] = {}
        self._new_definitions: dict[str, Op] = {}
        self._use_counts: dict[str, int] = {}
        for op in func.ops:
            for value in op.operands:
                self._use_counts[value.name] = self._use_counts.get(value.name, 0) + 1
        for value in func.results:
            self._use_counts[value.name] = self._use_counts.get(value.name, 0) + 1

    def defining(self, value: Value) -> Op | None:
        """The new op that defines a new value; None for an argument."""
        return self._new_definitions.get(value.name)

    def old_uses(self, value: Value) -> int:
        """How often the old function reads the value of this name; 0 for values made by rules."""
        return self._use_counts.get(value.name, 0)

    def append(self, op: Op) -> None:
        """Append an op as it stands."""
        super().append(op)
        for result in op.results:
            self._new_definitions[result.name] = op


Rule = Callable[[Op, Rewriter], "tuple[Value, ...] | None"]


def rewrite_func(func: Func, rules: Sequence[Rule]) -> Func:
    """One sweep over the ops in order; the first rule that takes an op wins.

    Ops that no rule takes are kept with their names; their result types are inferred anew when an
    operand's type changed.
    """
    rewriter = Rewriter(func)
    for op in func.ops:
        operands = tuple(rewriter.replaced.get(v.name, v) for v in op.operands)
        current = op if operands == op.operands else _with_operands(op, operands)
        for rule in rules:
            values = rule(current, rewriter)
            if values is not None:
                rewriter.replaced.update(
                    {r.name: v for r, v in zip(op.results, values, strict=True) if r != v}
                )
                break
        else:
            rewriter.append(current)
            rewriter.replaced.update(
                {r.name: n for r, n in zip(op.results, current.results, strict=True) if r != n}
            )
    results = tuple(rewriter.replaced.get(v.name, v) for v in func.results)
    return replace(func, ops=tuple(rewriter.ops), results=results)


def rewrite_module(module: Module, rules: Sequence[Rule]) -> Module:
    """:func:`rewrite_func` on every function."""
    return replace(module, funcs=tuple(rewrite_func(f, rules) for f in module.funcs))


def _with_operands(op: Op, operands: tuple[Value, ...]) -> Op:
    changed = replace(op, operands=operands)
    if tuple(v.type for v in operands) == tuple(v.type for v in op.operands):
        return changed
    try:
        types = infer_types(op.name, operands, op.attrs, op.body)
    except OpError as error:
        error.at(op.location)
        raise
    return replace(changed, results=tuple(Value(r.name, t) for r, t in zip(op.results, types, strict=True)))


def bind_symbols(module: Module, values: Mapping[str, Dim]) -> Module:
    """The module with symbols replaced by numbers (or other dimensions) in every type and attribute.

    Types are replaced first and then inferred again, so that rules that had to trust a symbol (a window
    larger than its input, say) are checked now, and that no result has too many elements: NetcError.
    """
    for name, value in values.items():
        if isinstance(value, int) and value < 1:
            raise NetcError(f"the size {name} must be >= 1, got {value}")
    return replace(module, funcs=tuple(_bind_func(f, values) for f in module.funcs))


def _bind_func(func: Func, values: Mapping[str, Dim]) -> Func:
    def value(v: Value) -> Value:
        return Value(v.name, substitute_type(v.type, values))

    def block(b: Block) -> Block:
        return Block(tuple(map(value, b.args)), tuple(map(op, b.ops)), tuple(map(value, b.results)))

    def op(o: Op) -> Op:
        body = None if o.body is None else block(o.body)
        operands = tuple(map(value, o.operands))
        attrs = bind_attrs(o.attrs, values)
        try:
            types = infer_types(o.name, operands, attrs, body)
        except OpError as error:
            error.at(o.location)
            raise
        results = tuple(map(value, o.results))
        if types != tuple(r.type for r in results):
            raise OpError(
                f"{o.name} gives {', '.join(map(str, types))} where the net needs "
                f"{', '.join(str(r.type) for r in results)}"
            ).at(o.location)
        _check_sizes(o, types)
        return replace(o, operands=operands, attrs=attrs, results=results, body=body)

    return replace(
        func,
        args=tuple(map(value, func.args)),
        ops=tuple(map(op, func.ops)),
        results=tuple(map(value, func.results)),
    )


def _check_sizes(op: Op, types: Sequence[Type]) -> None:
    """Refuse results that the sizes make too large; the importer could not see that."""
    for type_ in types:
        tensor = type_.tensor if isinstance(type_, BufferType) else type_
        if not isinstance(tensor, TensorType):
            continue
        elements = tensor.elements
        if isinstance(elements, int) and elements > MAX_ELEMENTS:
            raise OpError(
                f"{op.name} gives {tensor}, {elements} elements; Caffe's limit is {MAX_ELEMENTS}"
            ).at(op.location)


def bind_attrs(attrs: Any, values: Mapping[str, Dim]) -> Any:
    """Replace symbols in the dimensions and types among an op's attributes."""

    def bind(item: Any) -> Any:
        if isinstance(item, SymDim):
            return substitute(item, values)
        if isinstance(item, TensorType | BufferType):
            return substitute_type(item, values)
        if isinstance(item, tuple):
            return tuple(bind(i) for i in item)
        return item

    changed = {f.name: bind(getattr(attrs, f.name)) for f in fields(attrs)}
    return type(attrs)(**changed)
