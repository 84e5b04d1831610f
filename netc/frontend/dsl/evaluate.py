"""Evaluates the ``.net`` language: a tree in, a net out. It always ends, and touches nothing outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from lark import Token

from netc.frontend.dsl import arithmetic, tree
from netc.frontend.dsl.arithmetic import OperatorError
from netc.frontend.dsl.budget import MAX_CALLS, MAX_DEPTH, Budget
from netc.frontend.dsl.builtins import BUILTINS, Builtin
from netc.frontend.dsl.net_writer import LayerCall, NetWriter, check_type
from netc.frontend.dsl.strings import split_string
from netc.frontend.dsl.tree import Expression, Statement
from netc.frontend.dsl.values import FieldItem, Item, ListValue, RecordValue, Value, describe
from netc.frontend.message import Message
from netc.frontend.schema import schema
from netc.frontend.suggest import did_you_mean
from netc.ir.diagnostics import NetcError
from netc.ir.location import Location, Source

MAX_NOTED_CALLS = 4  # the innermost ones


def evaluate(source: Source, statements: Sequence[Statement]) -> Message:
    """The net that the statements make, as a ``NetParameter``."""
    evaluator = _Evaluator(source)
    try:
        evaluator.run(statements, evaluator.outermost)
    except NetcError as error:
        error.within(evaluator.location)
        raise
    return evaluator.writer.net


@cache
def enum_names() -> frozenset[str]:
    """The values of all enums, which are constants of the language."""
    whole = schema()
    enums = (*whole.enums.values(), *(e for m in whole.messages.values() for e in m.enums.values()))
    return frozenset(name for enum in enums for name in enum.values)


@dataclass(slots=True)
class _Frame:
    """A function that runs, or the net itself. ``results`` are the names for what it returns."""

    prefix: str = ""
    results: tuple[str, ...] = ()
    variables: dict[str, Value] = field(default_factory=dict)
    is_function: bool = False


@dataclass(frozen=True, slots=True)
class _Returned:
    value: Value


class _Evaluator:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._budget = Budget(source)
        self._functions: dict[str, tree.Define] = {}
        self._strings: dict[int, tuple[str | Expression, ...]] = {}
        self._depth = 0
        self._calls = 0
        self.location = Location(source.name, 1, 1, source)
        """The beginning of the text, with the calls that it has come to."""
        self.outermost = _Frame()
        self.writer = NetWriter(self.location)

    # ---- statements

    def run(self, statements: Sequence[Statement], frame: _Frame) -> _Returned | None:
        """Run statements until one returns."""
        for statement in statements:
            self._budget.spend(1, statement.token)
            returned = self._statement(statement, frame)
            if returned is not None:
                return returned
        return None

    def _statement(self, statement: Statement, frame: _Frame) -> _Returned | None:
        match statement:
            case tree.Assign(_, targets, value):
                self._assign(targets, value, frame)
            case tree.Return(token, returned):
                if not frame.is_function:
                    raise self._error(token, "'return' stands in no function")
                if returned is None:
                    return _Returned(None)
                return _Returned(self._named(returned, frame.results, frame))
            case tree.Define():
                self._define(statement, frame)
            case tree.For():
                return self._loop(statement, frame)
            case tree.If(_, arms):
                for test, body in arms:
                    if test is None or self._test(test, frame):
                        return self._block(body, frame)
        return None

    def _block(self, body: Sequence[Statement], frame: _Frame) -> _Returned | None:
        self._enter(body[0].token)
        returned = self.run(body, frame)
        self._depth -= 1
        return returned

    def _assign(self, targets: Sequence[Token], value: Expression, frame: _Frame) -> None:
        for target in targets:
            if target in enum_names():
                raise self._error(target, f"'{target}' is a constant of Caffe's, and no variable")
        names = tuple(frame.prefix + target for target in targets)
        result = self._named(value, names, frame)
        self._bind(targets, result, frame, value.token)

    def _bind(self, targets: Sequence[Token], value: Value, frame: _Frame, token: Token) -> None:
        if len(targets) == 1:
            frame.variables[str(targets[0])] = value
        elif targets:
            if not isinstance(value, ListValue) or len(value.items) != len(targets):
                got = f"{len(value.items)}" if isinstance(value, ListValue) else describe(value)
                raise self._error(token, f"{len(targets)} names take {len(targets)} values, got {got}")
            for target, item in zip(targets, value.items, strict=True):
                frame.variables[str(target)] = item.value

    def _define(self, statement: tree.Define, frame: _Frame) -> None:
        name = str(statement.token)
        if frame is not self.outermost or self._depth:
            raise self._error(statement.token, "a function is defined outside of blocks and functions")
        if name in self._functions:
            first = self._at(self._functions[name].token)
            raise NetcError(
                f"there is a function '{name}' already",
                location=self._at(statement.token),
                span=len(name),
                notes=(f"defined at {first}",),
            )
        if name in BUILTINS:
            raise self._error(statement.token, f"'{name}' is a builtin function")
        seen: set[str] = set()
        optional = False
        for param in statement.params:
            if param.token in seen:
                raise self._error(param.token, f"'{name}' has two parameters '{param.token}'")
            seen.add(str(param.token))
            if param.rest and param is not statement.params[-1]:
                raise self._error(param.token, f"'**{param.token}' is the last parameter")
            if optional and not param.rest and param.default is None:
                raise self._error(param.token, f"'{param.token}' needs a default like those before it")
            optional = optional or param.default is not None
        self._functions[name] = statement

    def _loop(self, statement: tree.For, frame: _Frame) -> _Returned | None:
        items = self._value(statement.items, frame)
        if not isinstance(items, ListValue):
            message = f"a loop takes a list or a range, got {describe(items)}"
            raise self._error(statement.items.token, message)
        for item in items.items:
            self._bind(statement.targets, item.value, frame, statement.items.token)
            returned = self._block(statement.body, frame)
            if returned is not None:
                return returned
        return None

    # ---- expressions

    def _named(self, node: Expression, names: tuple[str, ...], frame: _Frame) -> Value:
        """The value of an expression that is assigned to names: a layer's call takes them as its own."""
        if isinstance(node, tree.Call):
            self._enter(node.token)
            value = self._call(node, names, frame)
            self._depth -= 1
            return value
        return self._value(node, frame)

    def _value(self, node: Expression, frame: _Frame) -> Value:
        self._enter(node.token)
        self._budget.spend(1, node.token)
        value = self._evaluate(node, frame)
        self._depth -= 1
        return value

    def _enter(self, token: Token) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(token, f"expressions and blocks are nested more than {MAX_DEPTH} deep")

    def _evaluate(self, node: Expression, frame: _Frame) -> Value:
        match node:
            case tree.Number(token):
                return self._number(token)
            case tree.String():
                return self._string(node, frame)
            case tree.Constant(token):
                return {"true": True, "false": False, "none": None}[str(token)]
            case tree.Name(token):
                return self._variable(token, frame)
            case tree.Call():
                return self._call(node, (), frame)
            case tree.Listing(_, items):
                return self._list(node.token, tuple(self._item(each, frame) for each in items))
            case tree.Record(token, entries):
                return self._record(token, self._fields(entries, frame, in_call=False))
            case tree.Index():
                return self._index(node, frame)
            case tree.Conditional(_, yes, test, no):
                return self._value(yes if self._test(test, frame) else no, frame)
            case tree.Logic(token, operands):
                stop = token == "or"
                return stop if any(self._test(each, frame) is stop for each in operands) else not stop
            case _:
                return self._operators(node, frame)

    def _operators(self, node: tree.Unary | tree.Binary | tree.Chain, frame: _Frame) -> Value:
        match node:
            case tree.Unary(token, operand):
                if token == "not":
                    return not self._test(operand, frame)
                return self._apply(token, arithmetic.negate, self._value(operand, frame))
            case tree.Binary(token, left, right):
                a, b = self._value(left, frame), self._value(right, frame)
                return self._range(token, a, b) if token == ".." else self._operate(token, a, b)
            case tree.Chain(first, rest):
                value = self._value(first, frame)
                for token, operand in rest:
                    value = self._operate(token, value, self._value(operand, frame))
                return value

    def _operate(self, token: Token, left: Value, right: Value) -> Value:
        if isinstance(left, ListValue | RecordValue) or isinstance(right, ListValue | RecordValue):
            # the operator may look at all that is in them
            sizes = (x.size for x in (left, right) if isinstance(x, ListValue | RecordValue))
            self._budget.spend(sum(sizes), token)
        try:
            value = arithmetic.apply(str(token), left, right)
        except OperatorError as error:
            raise self._error(token, str(error), error.remedy) from None
        if isinstance(value, str):
            self._budget.spend_text(value, token)
        elif isinstance(value, ListValue):
            self._budget.spend_values(value.size, value.depth, len(value.items), token)
        return value

    def _apply(self, token: Token, function: arithmetic.Unary, value: Value) -> Value:
        try:
            return function(value)
        except OperatorError as error:
            raise self._error(token, str(error), error.remedy) from None

    def _test(self, node: Expression, frame: _Frame) -> bool:
        value = self._value(node, frame)
        try:
            return arithmetic.truth(value)
        except OperatorError as error:
            raise self._error(node.token, str(error), error.remedy) from None

    def _number(self, token: Token) -> Value:
        if token[:2] in ("0x", "0X"):
            value: int | float = int(token, 16) if len(token) <= 20 else arithmetic.MAX_INTEGER * 2
        elif any(each in ".eE" for each in token):
            return float(token)
        else:
            value = int(token) if len(token) <= 40 else arithmetic.MAX_INTEGER * 4
        if value > 2 * arithmetic.MAX_INTEGER:
            raise self._error(token, "an integer beyond 64 bits")
        return value

    def _string(self, node: tree.String, frame: _Frame) -> str:
        token = node.token
        parts = self._strings.get(id(token))
        if parts is None:
            parts = self._strings[id(token)] = split_string(self._source, token)
        texts = [
            part
            if isinstance(part, str)
            else str(self._apply(part.token, arithmetic.text_of, self._value(part, frame)))
            for part in parts
        ]
        return self._budget.spend_text("".join(texts), token)

    def _variable(self, token: Token, frame: _Frame) -> Value:
        name = str(token)
        if name in frame.variables:
            return frame.variables[name]
        if name in self.outermost.variables:
            return self.outermost.variables[name]
        if name in enum_names():
            return name
        if name in ("inf", "nan"):
            return float(name)
        constants = enum_names() if name.isupper() else ("true", "false", "none")
        known = (*frame.variables, *self.outermost.variables, *constants)
        raise self._error(token, f"unknown name '{name}'", did_you_mean(name, known))

    def _index(self, node: tree.Index, frame: _Frame) -> Value:
        items, index = self._value(node.items, frame), self._value(node.index, frame)
        if isinstance(items, RecordValue) and isinstance(index, str):
            found = items.fields.get(index)
            if found is None:
                message = f"the message has no field '{index}'"
                raise self._error(node.token, message, did_you_mean(index, items.fields))
            return found.item.value
        if not isinstance(items, ListValue | str):
            raise self._error(node.token, f"only a list has elements, got {describe(items)}")
        values = items if isinstance(items, str) else items.items
        if not isinstance(index, int) or isinstance(index, bool):
            raise self._error(node.index.token, f"an index is an integer, got {describe(index)}")
        if not -len(values) <= index < len(values):
            raise self._error(node.index.token, f"index {index} of {len(values)} elements")
        found_item = values[index]
        return found_item if isinstance(found_item, str) else found_item.value

    def _range(self, token: Token, first: Value, last: Value) -> ListValue:
        for value in (first, last):
            if not isinstance(value, int) or isinstance(value, bool):
                raise self._error(token, f"a range goes between integers, got {describe(value)}")
        assert isinstance(first, int)
        assert isinstance(last, int)
        count = max(0, last - first + 1)
        self._budget.spend_values(count, 1, count, token)
        where = self._at(token)
        return ListValue.of(tuple(Item(value, where) for value in range(first, last + 1)))

    def _item(self, node: Expression, frame: _Frame) -> Item:
        return Item(self._value(node, frame), self._at(tree.first_token(node)))

    def _list(self, token: Token, items: tuple[Item, ...]) -> ListValue:
        made = ListValue.of(items)
        self._budget.spend_values(made.size, made.depth, len(items), token)
        return made

    def _record(self, token: Token, fields: Mapping[str, FieldItem]) -> RecordValue:
        made = RecordValue.of(fields)
        self._budget.spend_values(made.size, made.depth, len(fields), token)
        return made

    def _fields(
        self, entries: Sequence[tree.Keyword | tree.Spread], frame: _Frame, *, in_call: bool
    ) -> dict[str, FieldItem]:
        """Named values in order; what is spread gives way to what is written out."""
        fields: dict[str, FieldItem] = {}
        written: dict[str, Location] = {}
        for entry in entries:
            where = self._at(entry.token)
            if isinstance(entry, tree.Spread):
                value = self._value(entry.value, frame)
                if not isinstance(value, RecordValue):
                    raise self._error(entry.value.token, f"'**' takes a message, got {describe(value)}")
                self._budget.spend(len(value.fields), entry.token)
                fields.update({name: item for name, item in value.fields.items() if name not in written})
                continue
            name = str(entry.token)
            quoted = name[0] in "\"'"
            if quoted:
                name = self._string(tree.String(entry.token), frame)
            if entry.unknown:
                # a field that the schema lacks may repeat
                item = FieldItem(name, True, self._item(entry.value, frame), where, quoted)
                fields[f"{name}?{len(fields)}"] = item
                continue
            key = f'"{name}"' if quoted and in_call else name  # a field of the layer itself
            if key in written:
                raise NetcError(
                    f"'{name}' is given twice",
                    location=where,
                    span=len(name),
                    notes=(f"first given at {written[key]}",),
                    remedy="a field that repeats takes a list",
                )
            written[key] = where
            fields[key] = FieldItem(name, False, self._item(entry.value, frame), where, quoted)
        return fields

    # ---- calls

    def _call(self, node: tree.Call, names: tuple[str, ...], frame: _Frame) -> Value:
        name = str(node.token)
        function = self._functions.get(name)
        builtin = BUILTINS.get(name)
        if function is None and builtin is None:
            check_type(name, self._at(node.token), (*self._functions, *BUILTINS))
        elif node.in_place and name != "layer":
            raise self._error(node.token, "only layers work in place")
        args: list[Item] = []
        keywords: list[tree.Keyword | tree.Spread] = []
        for arg in node.args:
            if isinstance(arg, tree.Keyword | tree.Spread):
                keywords.append(arg)
            elif keywords:
                raise self._error(arg.token, "a value without a name stands before those with one")
            else:
                args.append(self._item(arg, frame))
        fields = self._fields(keywords, frame, in_call=True)
        if function is not None:
            return self._call_function(node, function, args, fields, names, frame)
        if builtin is not None:
            return self._call_builtin(node, builtin, args, fields, names, frame)
        return self._layer(node, name, args, fields, names, frame)

    def _layer(
        self,
        node: tree.Call,
        kind: str | None,
        args: Sequence[Item],
        fields: Mapping[str, FieldItem],
        names: tuple[str, ...],
        frame: _Frame,
    ) -> Value:
        where = self._at(node.token)
        self._budget.spend_layer(node.token)
        return self.writer.add(LayerCall(kind, where, args, fields, node.in_place, names, frame.prefix))

    def _call_builtin(
        self,
        node: tree.Call,
        builtin: Builtin,
        args: list[Item],
        fields: Mapping[str, FieldItem],
        names: tuple[str, ...],
        frame: _Frame,
    ) -> Value:
        if node.token == "layer":
            kind = args[0].value if args else 0
            if kind is not None and not isinstance(kind, str):
                raise self._error(node.token, "layer() takes the type, a string, before the bottoms")
            return self._layer(node, kind, args[1:], fields, names, frame)
        if node.token == "net":
            if args:
                raise NetcError("net() takes named values only", location=args[0].location)
            self.writer.set_net(fields)
            return None
        if fields:
            named = next(iter(fields.values()))
            raise NetcError(f"{node.token}() takes no named values", location=named.location)
        for item in args:
            if isinstance(item.value, ListValue):
                self._budget.spend(len(item.value.items), node.token)
        try:
            return builtin([item.value for item in args])
        except OperatorError as error:
            raise self._error(node.token, str(error), error.remedy) from None

    def _call_function(
        self,
        node: tree.Call,
        function: tree.Define,
        args: Sequence[Item],
        fields: dict[str, FieldItem],
        names: tuple[str, ...],
        frame: _Frame,
    ) -> Value:
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise self._error(node.token, f"functions call each other more than {MAX_CALLS} deep")
        results = names or (self.writer.free_name(str(node.token), frame.prefix),)
        name = fields.get("name")
        if name is not None and isinstance(name.item.value, str):
            results = (name.item.value,)
            if not any(param.token == "name" or param.rest for param in function.params):
                del fields["name"]  # its use is to name what the function makes
        inner = _Frame(f"{results[0]}/", results, is_function=True)
        self._bind_params(node, function, args, fields, inner)
        outer = self.location
        call = f"in {node.token}() called at {self._at(node.token)}"
        self.location = replace(outer, calls=(call, *outer.calls)[:MAX_NOTED_CALLS])
        returned = self.run(function.body, inner)
        self.location = outer
        self._calls -= 1
        return returned.value if returned is not None else None

    def _bind_params(
        self,
        node: tree.Call,
        function: tree.Define,
        args: Sequence[Item],
        fields: dict[str, FieldItem],
        inner: _Frame,
    ) -> None:
        rest = function.params[-1] if function.params and function.params[-1].rest else None
        params = [param for param in function.params if not param.rest]
        if len(args) > len(params):
            message = f"{node.token}() takes {len(params)} values, got {len(args)}"
            raise NetcError(message, location=args[len(params)].location)
        names = [str(param.token) for param in params]
        left = dict(fields)
        wrong = next((item for key, item in fields.items() if key not in names), None)
        if wrong is not None and rest is None:
            raise NetcError(
                f"{node.token}() has no parameter '{wrong.name}'",
                location=wrong.location,
                span=len(wrong.name),
                remedy=did_you_mean(wrong.name, names),
            )
        for position, param in enumerate(params):
            name = str(param.token)
            given = left.pop(name, None)
            if position < len(args):
                if given is not None:
                    raise NetcError(f"'{name}' is given twice", location=given.location, span=len(name))
                inner.variables[name] = args[position].value
            elif given is not None:
                inner.variables[name] = given.item.value
            elif param.default is not None:
                inner.variables[name] = self._value(param.default, self.outermost)
            else:
                raise self._error(node.token, f"{node.token}() needs a value for '{name}'")
        if rest is not None:
            inner.variables[str(rest.token)] = self._record(node.token, left)

    # ---- places

    def _at(self, token: Token) -> Location:
        calls = self.location.calls
        return Location(self._source.name, token.line or 1, token.column or 1, self._source, calls)

    def _error(self, token: Token, message: str, remedy: str | None = None) -> NetcError:
        return NetcError(message, location=self._at(token), span=len(token), remedy=remedy)
