"""Reads IR text back. Errors point at the line and column of the text.

The grammar is line-free and small: a tokenizer and one recursive-descent method a construct.
"""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from typing import Any, NoReturn

from netc.ir import ops as _ops  # noqa: F401  fills the op table
from netc.ir.attrs import attr_types, checked_attr
from netc.ir.core import Block, Func, Level, Module, Op, Role, Value
from netc.ir.diagnostics import NetcError, OpError
from netc.ir.dim import Dim, parse_dim
from netc.ir.layout import Blocked
from netc.ir.location import Location, Source
from netc.ir.opdef import opdef
from netc.ir.types import (
    DTYPE_BYTES,
    BufferType,
    PointerType,
    ScalarType,
    TensorType,
    Type,
    VectorType,
    check_type,
)

MAX_NESTING = 60
MAX_DIGITS = 18

_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r\n]+|\#[^\n]*)
      |(?P<string>"(?:[^"\\\n]|\\.)*")
      |(?P<value>%(?:[A-Za-z0-9_][A-Za-z0-9_.\-/]*|"(?:[^"\\\n]|\\.)*"))
      |(?P<arrow>->)
      |(?P<angle><[^<>\n]*(?:<[^<>\n]*>[^<>\n]*)?>)
      |(?P<number>[+-]?(?:inf\b|nan\b|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?(?![A-Za-z_])))
      |(?P<word>[A-Za-z0-9_][A-Za-z0-9_.\-/]*)
      |(?P<punct>[{}()\[\],:=@])""",
    re.X,
)
_TENSOR = re.compile(r"([a-z]+\d+)\[([^\]]*)\](?:\{(\d{1,9}):(\d{1,9})\})?\Z")
_VECTOR = re.compile(r"([a-z]+\d+)x(\d{1,9})\Z")
_POINTER = re.compile(r"ptr<([a-z]+\d+)>\Z")


def parse_module(text: str, name: str = "<ir>") -> Module:
    """The module a text describes. Raises NetcError with a location inside ``name``."""
    parser = _Parser(Source(name, text))
    module = parser.module()
    parser.expect_kind("end", "the end of the text")
    return module


_WRITTEN_ROLES: tuple[Role, ...] = ("param", "state", "output")


class _Parser:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.tokens = _tokenize(source)
        self.at = 0
        self.depth = 0
        self.values: dict[str, Value] = {}

    # --- tokens ---
    @property
    def kind(self) -> str:
        return self.tokens[self.at][0]

    @property
    def text(self) -> str:
        return self.tokens[self.at][1]

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1][1]

    def skip(self, text: str) -> bool:
        if self.text == text and self.kind != "string":
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.skip(text):
            self.fail(f"expected '{text}', got '{self.text or 'the end of the text'}'")

    def expect_kind(self, kind: str, what: str) -> str:
        if self.kind != kind:
            self.fail(f"expected {what}, got '{self.text or 'the end of the text'}'")
        return self.take()

    def here(self) -> Location:
        return _location(self.source, self.tokens[self.at][2])

    def fail(self, message: str) -> NoReturn:
        raise NetcError(message, location=self.here(), span=max(1, len(self.text)))

    # --- constructs ---
    def module(self) -> Module:
        self.expect("module")
        name = self.name()
        level = self.expect_kind("word", "a level")
        if level not in ("tensor", "buffer", "loop"):
            self.at -= 1
            self.fail(f"expected one of tensor, buffer, loop, got '{level}'")
        self.expect("{")
        funcs = []
        while not self.skip("}"):
            funcs.append(self.func())
        return Module(name, _as_level(level), tuple(funcs))

    def func(self) -> Func:
        self.expect("func")
        self.expect("@")
        name = self.name()
        self.values = {}
        args: list[Value] = []
        roles: list[Role] = []
        self.expect("(")
        while not self.skip(")"):
            token = self.at
            value_name = self.value_name()
            self.expect(":")
            roles.append(next((role for role in _WRITTEN_ROLES if self.skip(role)), "input"))
            args.append(self.define(value_name, self.type(), token))
            if self.text != ")":
                self.expect(",")
        self.expect_kind("arrow", "'->'")
        self.expect("(")
        pending: list[tuple[str, int]] = []
        names: list[str] = []
        while not self.skip(")"):
            names.append(self.name())
            self.expect("=")
            pending.append((self.value_name(), self.at - 1))
            if self.text != ")":
                self.expect(",")
        self.expect("{")
        ops = []
        while not self.skip("}"):
            ops.append(self.op())
        results = []
        for value_name, token in pending:
            if value_name not in self.values:
                self.at = token
                self.fail(f"function '{name}' returns %{value_name}, which nobody defines")
            results.append(self.values[value_name])
        return Func(name, tuple(args), tuple(roles), tuple(ops), tuple(results), tuple(names))

    def op(self) -> Op:
        results = []
        while self.kind == "value":
            token = self.at
            value_name = self.value_name()
            self.expect(":")
            results.append((value_name, self.type(), token))
            if not self.skip(","):
                break
        if results:
            self.expect("=")
        start = self.at
        name = self.expect_kind("word", "an op name")
        try:
            definition = opdef(name)
        except OpError as error:
            self.at = start
            self.fail(error.message)
        operands = []
        # a value with a colon is a result of the next op
        while self.kind == "value" and self.tokens[self.at + 1][1] != ":":
            operands.append(self.use())
            if not self.skip(","):
                break
        attrs = self.attrs(name, definition.attrs, start)
        body = self.block() if self.text == "(" else None
        location = self.location() if self.text == "@" else None
        values = tuple(self.define(*result) for result in results)
        return Op(name, tuple(operands), attrs, values, body, location)

    def attrs(self, op_name: str, attrs_type: type[Any], start: int) -> Any:
        known = attr_types(attrs_type)
        given: dict[str, Any] = {}
        if self.skip("{"):
            while not self.skip("}"):
                key = self.expect_kind("word", "an attribute name")
                if key not in known:
                    self.at -= 1
                    self.fail(f"{op_name} has no attribute '{key}'; it has {', '.join(known) or 'none'}")
                if key in given:
                    self.at -= 1
                    self.fail(f"the attribute '{key}' is given twice")
                self.expect("=")
                token = self.at
                try:
                    given[key] = checked_attr(self.attr_value(), known[key])
                except ValueError as error:
                    self.at = token
                    self.fail(f"attribute '{key}' of {op_name}: {error}")
                if self.text != "}":
                    self.expect(",")
        missing = [
            f.name
            for f in fields(attrs_type)
            if f.name not in given and f.default is MISSING and f.default_factory is MISSING
        ]
        if missing:
            self.at = start
            self.fail(f"{op_name} needs the attribute '{missing[0]}'")
        return attrs_type(**given)

    def attr_value(self) -> Any:
        if self.kind == "string":
            return self.string(self.take())
        if self.kind == "number":
            if not re.fullmatch(r"[+-]?\d+", self.text):
                return float(self.take())
            self.check_digits()
            return int(self.take())
        if self.kind == "angle":
            inner = self.text[1:-1]
            named = "[" in inner or "<" in inner
            value: Any = self.type_of(inner, self.at) if named else self.dim(inner, self.at)
            self.take()
            return value
        if self.skip("["):
            self.nest()
            items = []
            while not self.skip("]"):
                items.append(self.attr_value())
                if self.text != "]":
                    self.expect(",")
            self.depth -= 1
            return tuple(items)
        word = self.expect_kind("word", "an attribute value")
        keywords: dict[str, Any] = {"none": None, "true": True, "false": False}
        return keywords.get(word, word)

    def block(self) -> Block:
        self.nest()
        self.expect("(")
        args = []
        while not self.skip(")"):
            token = self.at
            value_name = self.value_name()
            self.expect(":")
            args.append(self.define(value_name, self.type(), token))
            if self.text != ")":
                self.expect(",")
        self.expect("{")
        ops = []
        while not self.skip("yield"):
            ops.append(self.op())
        results = []
        while self.kind == "value":
            results.append(self.use())
            if not self.skip(","):
                break
        self.expect("}")
        self.depth -= 1
        return Block(tuple(args), tuple(ops), tuple(results))

    def location(self) -> Location:
        self.expect("@")
        file = self.string(self.expect_kind("string", "a file name in quotes"))
        self.expect(":")
        line = self.integer()
        self.expect(":")
        return Location(file, line, self.integer())

    # --- small pieces ---
    def nest(self) -> None:
        self.depth += 1
        if self.depth > MAX_NESTING:
            self.fail(f"nesting deeper than {MAX_NESTING}")

    def name(self) -> str:
        if self.kind == "string":
            return self.string(self.take())
        if self.kind not in ("word", "number"):
            self.fail(f"expected a name, got '{self.text or 'the end of the text'}'")
        return self.take()

    def value_name(self) -> str:
        text = self.expect_kind("value", "a value such as %x")[1:]
        return self.string(text) if text.startswith('"') else text

    def use(self) -> Value:
        token = self.at
        value_name = self.value_name()
        if value_name not in self.values:
            self.at = token
            self.fail(f"%{value_name} is used before it is defined")
        return self.values[value_name]

    def define(self, value_name: str, type_: Type, token: int) -> Value:
        if value_name in self.values:
            self.at = token
            self.fail(f"%{value_name} is defined twice")
        self.values[value_name] = Value(value_name, type_)
        return self.values[value_name]

    def integer(self) -> int:
        if self.kind != "number" or not self.text.isdecimal():
            self.fail(f"expected a whole number, got '{self.text or 'the end of the text'}'")
        self.check_digits()
        return int(self.take())

    def check_digits(self) -> None:
        if len(self.text.lstrip("+-")) > MAX_DIGITS:
            self.fail(f"a number has more than {MAX_DIGITS} digits")

    def string(self, text: str) -> str:
        try:
            return str(json.loads(text))
        except ValueError:
            self.at -= 1
            self.fail(f"bad string {text}")

    def dim(self, text: str, token: int) -> Dim:
        try:
            return parse_dim(text)
        except ValueError as error:
            self.at = token
            self.fail(str(error))

    def type(self) -> Type:
        """A type spans several tokens; they are joined up to its closing bracket."""
        start = self.at
        if self.skip("buffer"):
            if self.text == "buffer":
                self.fail("a buffer holds a tensor")
            inner = self.type()
            if not isinstance(inner, TensorType):
                self.at = start
                self.fail(f"a buffer holds a tensor, not {inner}")
            return BufferType(inner, self.strides(inner))
        text = self.expect_kind("word", "a type")
        if self.kind == "angle":
            text += self.take()
        if self.skip("["):
            text += "["
            while not self.skip("]"):
                if self.kind == "end":
                    self.fail("expected ']'")
                text += self.take()
            text += "]"
            if self.text == "{" and self.tokens[self.at + 1][0] == "number":
                self.expect("{")
                text += "{" + self.take()
                self.expect(":")
                text += ":" + self.expect_kind("number", "the size of a block") + "}"
                self.expect("}")
        return self.type_of(text, start)

    def strides(self, tensor: TensorType) -> tuple[Dim, ...] | None:
        start = self.at
        if not self.skip("strides"):
            return None
        self.expect("(")
        text, depth = "", 1
        while True:
            depth += (self.text == "(") - (self.text == ")")
            if depth == 0 or self.kind == "end":
                break
            text += self.take()
        self.expect(")")
        strides = tuple(self.dim(d, start) for d in _split_dims(text))
        axes = tensor.rank + (tensor.layout is not None)
        if len(strides) != axes:
            self.at = start
            self.fail(f"{axes} strides expected for {tensor}, got {len(strides)}")
        return strides

    def type_of(self, text: str, token: int) -> Type:
        """The type that a text names; errors point at ``token``."""
        tensor = _TENSOR.match(text)
        if tensor and tensor[1] in DTYPE_BYTES:
            dims = tuple(self.dim(d, token) for d in _split_dims(tensor[2]))
            layout = Blocked(int(tensor[3]), int(tensor[4])) if tensor[3] else None
            return self.checked(TensorType(tensor[1], dims, layout), token)
        vector = _VECTOR.match(text)
        if vector and vector[1] in DTYPE_BYTES:
            return VectorType(vector[1], int(vector[2]))
        pointer = _POINTER.match(text)
        if pointer and pointer[1] in DTYPE_BYTES:
            return PointerType(pointer[1])
        if text not in DTYPE_BYTES:
            self.at = token
            self.fail(f"'{text}' is not a type")
        return ScalarType(text)

    def checked(self, type_: TensorType, token: int) -> TensorType:
        try:
            check_type(type_)
        except OpError as error:
            self.at = token
            self.fail(error.message)
        return type_


def _as_level(text: str) -> Level:
    return "tensor" if text == "tensor" else "buffer" if text == "buffer" else "loop"


def _split_dims(text: str) -> list[str]:
    """Split at the commas that are not inside parentheses."""
    parts, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]] if text.strip() else []


def _tokenize(source: Source) -> list[tuple[str, str, int]]:
    tokens: list[tuple[str, str, int]] = []
    at = 0
    text = source.text
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            # characters of dimension expressions stand alone
            if text[at] in "+*-":
                tokens.append(("punct", text[at], at))
                at += 1
                continue
            raise NetcError(f"unexpected character {text[at]!r}", location=_location(source, at))
        if match.lastgroup != "skip":
            tokens.append((str(match.lastgroup), match[0], at))
        at = match.end()
    tokens.append(("end", "", len(text)))
    return tokens


def _location(source: Source, offset: int) -> Location:
    line_start = source.text.rfind("\n", 0, offset) + 1
    return Location(source.name, source.text.count("\n", 0, offset) + 1, offset - line_start + 1, source)
