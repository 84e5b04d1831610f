"""The syntax of the protobuf text format: from text to entries that know no schema yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from netc.ir.diagnostics import NetcError
from netc.ir.location import Location, Source

MAX_DEPTH = 100  # what the protobuf library allows
MAX_TOKENS = 250_000
"""A net's definition has some thousand; weights written as text would take gigabytes as objects."""


@dataclass(slots=True)
class Strings:
    """Adjacent quoted strings, which count as one."""

    parts: list[Token]


@dataclass(slots=True)
class Body:
    """The fields between an opening and a closing brace."""

    opening: Token
    entries: list[Entry]


@dataclass(slots=True)
class Listing:
    """Values in square brackets."""

    opening: Token
    items: list[Token | Strings | Body]


@dataclass(slots=True)
class Pair:
    """A field's name with its value, in any form but the shortest."""

    name: Token
    value: Token | Strings | Body | Listing


Entry: TypeAlias = Token | Pair
"""A field: a token ``name: value``, or a pair."""


def parse_syntax(source: Source) -> list[Entry]:
    """The fields of a text; a ``NetcError`` with its location where the text breaks the syntax."""
    try:
        # the parser's own types know trees only, and ours makes none
        entries: Any = _parser().parse(source.text)
    except UnexpectedCharacters as error:
        raise _unexpected_character(source, error.line, error.column, error.char) from None
    except UnexpectedToken as error:
        raise _unexpected_token(source, error) from None
    except _LimitError as error:
        raise NetcError(error.message, location=_at(source, error.token)) from None
    made: list[Entry] = entries
    return made


@cache
def _parser() -> Lark:
    grammar = (files("netc.frontend") / "text_format.lark").read_text(encoding="utf-8")
    return Lark(
        grammar,
        parser="lalr",
        lexer="basic",
        transformer=_Builder(),
        postlex=_Limits(),
        maybe_placeholders=False,
    )


class _Builder(Transformer[Token, "list[Entry]"]):
    """Makes the entries while the parser runs; keeps no state."""

    def start(self, children: list[Entry]) -> list[Entry]:
        return children

    def joined(self, children: list[Token]) -> Pair:
        scalar = children[0]
        name, value = split_scalar(scalar)
        return Pair(name, Strings([value, *children[1:]]))

    def block(self, children: list[Entry]) -> Pair:
        opening, closing = children[0], children[-1]
        assert isinstance(opening, Token)
        assert isinstance(closing, Token)
        _check_braces(opening, closing)
        return Pair(opening.update(value=opening.rstrip("{<: \t\r\n\v\f")), Body(opening, children[1:-1]))

    def general(self, children: list[Token | Strings | Body | Listing]) -> Pair:
        name, value = children
        assert isinstance(name, Token)
        return Pair(name, value)

    def extension(self, children: list[Token | Strings | Body | Listing]) -> Pair:
        opening, name, value = children
        assert isinstance(opening, Token)
        return Pair(opening.update(value=f"[{name}]"), value)

    def strings(self, children: list[Token]) -> Strings:
        return Strings(children)

    def body(self, children: list[Entry]) -> Body:
        opening, closing = children[0], children[-1]
        assert isinstance(opening, Token)
        assert isinstance(closing, Token)
        _check_braces(opening, closing)
        return Body(opening, children[1:-1])

    def list(self, children: list[Token | Strings | Body]) -> Listing:
        opening = children[0]
        assert isinstance(opening, Token)
        return Listing(opening, children[1:])


def split_scalar(token: Token) -> tuple[Token, Token]:
    """The name and the value of a ``name: value`` token, which lies on one line."""
    name, _, rest = token.partition(":")
    value = rest.lstrip(" \t")
    column = (token.column or 1) + len(token) - len(value)
    return token.update(value=name.rstrip(" \t")), Token("VALUE", value, line=token.line, column=column)


class _LimitError(Exception):
    """The text is refused at a token, whatever the schema says."""

    def __init__(self, message: str, token: Token) -> None:
        super().__init__(message)
        self.message = message
        self.token = token


class _Limits:
    """Sees every token on its way to the parser, and stops texts that no net can be."""

    always_accept = ()

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        depth = 0
        for count, token in enumerate(stream):
            kind = token.type
            if kind in ("OPEN", "BRACE"):
                depth += 1
                if depth > MAX_DEPTH:
                    raise _LimitError(f"messages are nested more than {MAX_DEPTH} deep", token)
            elif kind == "CLOSE":
                depth -= 1
            if count > MAX_TOKENS:
                raise _LimitError(f"more than {MAX_TOKENS} fields: too long for a definition", token)
            yield token


def _check_braces(opening: Token, closing: Token) -> None:
    wanted = "}" if opening[-1] == "{" else ">"
    if closing != wanted:
        raise _LimitError(
            f"expected '{wanted}' for the '{opening[-1]}' of line {_brace_line(opening)}, got '{closing}'",
            closing,
        )


def _brace_line(opening: Token) -> int:
    return opening.end_line or opening.line or 1


def _at(source: Source, token: Token) -> Location:
    return Location(source.name, token.line or 1, token.column or 1, source)


def _unexpected_character(source: Source, line: int, column: int, char: str) -> NetcError:
    location = Location(source.name, line, column, source)
    if char in "\"'":
        rest = location.source_line() or ""
        if "\0" in rest:
            where = Location(source.name, line, rest.index("\0") + 1, source)
            return NetcError("a NUL character in a string", location=where)
        return NetcError("this string has no closing quote on its line", location=location)
    remedy = "a field and its value are joined by ':'" if char == "=" else None
    return NetcError(f"unexpected character {char!r}", location=location, remedy=remedy)


def _unexpected_token(source: Source, error: UnexpectedToken) -> NetcError:
    """Say what is missing, judged by what the parser has before the token."""
    token = error.token
    assert isinstance(token, Token)
    stack = error.interactive_parser.parser_state.value_stack if error.interactive_parser else []
    before = stack[-1] if stack else None
    tokens = [each for each in stack if isinstance(each, Token)]
    if token.type == "$END":
        return _unexpected_end(source, tokens)
    if isinstance(before, Token) and before.type == "WORD":
        name = str(before)
        if token.line != before.line:
            end = Location(source.name, before.line or 1, (before.column or 1) + len(before), source)
            return NetcError(f"expected ':' and a value, or '{{', after '{name}'", location=end)
        message = f"expected ':' or '{{' after '{name}', got {_shown(token)}"
        return NetcError(message, location=_at(source, token), span=len(token))
    if isinstance(before, Token) and before.type == "_COLON":
        name = f"'{tokens[-2]}' " if len(tokens) > 1 else ""
        if token.line != before.line:
            return NetcError(f"expected a value for {name}after ':'", location=_at(source, before))
        return NetcError(
            f"expected a value for {name}after ':', got {_shown(token)}",
            location=_at(source, token),
            span=len(token),
        )
    if token.type == "CLOSE" and not any(each.type in ("OPEN", "BRACE", "LSQB") for each in tokens):
        return NetcError(f"this '{token}' closes nothing", location=_at(source, token))
    inside = tokens[-1].type if tokens else ""
    listed = any(each.type == "LSQB" for each in tokens[-3:]) and inside != "OPEN"
    wanted = "',' or ']' in this list" if listed else "a field"
    message = f"expected {wanted}, got {_shown(token)}"
    return NetcError(message, location=_at(source, token), span=len(token))


def _unexpected_end(source: Source, tokens: list[Token]) -> NetcError:
    opening = next((each for each in reversed(tokens) if each.type in ("OPEN", "BRACE", "LSQB")), None)
    if opening is not None:
        wanted = {"{": "}", "<": ">", "[": "]"}[opening[-1]]
        message = f"the text ends before the '{wanted}' of this"
        return NetcError(message, location=_at(source, opening), span=len(opening))
    last = tokens[-1] if tokens else None
    location = _at(source, last) if last is not None else Location(source.name, 1, 1, source)
    return NetcError("the text ends where a value is expected", location=location)


def _shown(token: Token) -> str:
    text = str(token).split("\n")[0]
    return repr(text if len(text) <= 40 else text[:37] + "...")
