"""Strings of the ``.net`` language: ``"conv{i}"`` holds expressions, ``'conv{i}'`` does not."""

from __future__ import annotations

import re

from lark import Token

from netc.frontend.dsl.syntax import parse_inner_expression
from netc.frontend.dsl.tree import Expression
from netc.frontend.text_values import ValueTextError, unescape
from netc.ir.diagnostics import NetcError
from netc.ir.location import Location, Source

_PIECE = re.compile(r"\{\{|\}\}|\{|\}|(?:\\.|[^\\{}])+", re.DOTALL)


def split_string(source: Source, token: Token) -> tuple[str | Expression, ...]:
    """The texts of a string and the expressions between them."""
    if token[0] == "'":
        return (_text(source, token, token[1:-1]),)
    parts: list[str | Expression] = []
    literal = ""
    position, end = 1, len(token) - 1
    while position < end:
        match = _PIECE.match(token, position, end)
        assert match is not None
        piece = match[0]
        position = match.end()
        if piece == "{":
            parts.append(_text(source, token, literal))
            literal = ""
            position = _expression(source, token, position, end, parts)
        elif piece == "}":
            raise NetcError(
                "a '}' without its '{' in a string",
                location=_at(source, token, match.start()),
                remedy="a brace that is meant as such is doubled: }}",
            )
        else:
            literal += piece[0] if piece in ("{{", "}}") else piece
    parts.append(_text(source, token, literal))
    return tuple(part for part in parts if part != "") or ("",)


def _expression(source: Source, token: Token, start: int, end: int, parts: list[str | Expression]) -> int:
    """Read the expression that begins at ``start``; the result is where the text goes on."""
    close = token.find("}", start, end)
    if close < 0:
        raise NetcError(
            "a '{' without its '}' in a string",
            location=_at(source, token, start - 1),
            remedy="a brace that is meant as such is doubled: {{",
        )
    where = _at(source, token, start)
    text = token[start:close]
    if not text.strip():
        raise NetcError("nothing between the braces of a string", location=where)
    parts.append(parse_inner_expression(source, text, where.line, where.column))
    return close + 1


def _text(source: Source, token: Token, text: str) -> str:
    if "\\" not in text:
        return text
    try:
        return unescape(f'"{text}"').decode("utf-8")
    except ValueTextError as error:
        raise NetcError(str(error), location=_at(source, token, 0), span=len(token)) from None
    except UnicodeDecodeError:
        message = "this string is not UTF-8 after its escapes"
        raise NetcError(message, location=_at(source, token, 0), span=len(token)) from None


def _at(source: Source, token: Token, offset: int) -> Location:
    return Location(source.name, token.line or 1, (token.column or 1) + offset, source)
