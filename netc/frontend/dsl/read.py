"""Reads nets in the ``.net`` language."""

from __future__ import annotations

import re

from netc.frontend.message import Message
from netc.ir.location import Source

SUFFIX = ".net"
_FIRST_LINE = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*+([^\n]*)")
_STATEMENT = re.compile(
    r"(?:def|for|if)\b[^{]*:|[A-Za-z_]\w*[ \t]*(?:,[ \t]*[A-Za-z_]\w*[ \t]*)*=[^=]|[A-Za-z_]\w*!?[ \t]*\("
)


def parse_dsl(source: Source) -> Message:
    """The net that a text makes; everything that is wrong is a ``NetcError`` at its place."""
    # only here: most nets are not of this language
    from netc.frontend.dsl.evaluate import evaluate
    from netc.frontend.dsl.syntax import parse_dsl_syntax

    return evaluate(source, parse_dsl_syntax(source))


def looks_like_dsl(text: str) -> bool:
    """Whether a text is of this language rather than prototxt, judged by its first statement."""
    first = _FIRST_LINE.match(text)
    return first is not None and _STATEMENT.match(first[1].lstrip(" \t")) is not None
