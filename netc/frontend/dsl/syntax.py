"""The syntax of the ``.net`` language: from text to a tree, or to an error that says what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from netc.frontend.dsl import tree
from netc.frontend.dsl.tree import Expression, Statement
from netc.frontend.suggest import did_you_mean
from netc.ir.diagnostics import NetcError
from netc.ir.location import Location, Source

MAX_TOKENS = 250_000  # as for the text format
MAX_BRACKETS = 60
MAX_INDENTS = 30
MAX_SHOWN_EXPECTED = 4

_OPENING = {"LPAR": ")", "LSQB": "]", "LBRACE": "}"}
_CLOSING = ("RPAR", "RSQB", "RBRACE")
_KEYWORDS = ("def", "for", "in", "if", "elif", "else", "return", "and", "or", "not", "true", "false", "none")
_SHOWN = {
    "NAME": "a name", "NUMBER": "a value", "STRING": "a value", "_NEWLINE": "the end of the line",
    "_INDENT": "an indented block", "ASSIGN": "'='", "COLON": "':'", "COMMA": "','", "LPAR": "'('",
    "RPAR": "')'", "RSQB": "']'", "RBRACE": "'}'", "IN": "'in'", "ELSE": "'else'",
}  # fmt: skip


def parse_dsl_syntax(source: Source) -> tuple[Statement, ...]:
    """The statements of a text."""
    made: tuple[Statement, ...] = _parse(source, source.text + "\n", "start", 1, 1)
    return made


def parse_inner_expression(source: Source, text: str, line: int, column: int) -> Expression:
    """The expression between the braces of a string, which begins at ``line`` and ``column``."""
    made: Expression = _parse(source, text, "inner", line, column)
    return made


def keywords() -> tuple[str, ...]:
    """The words that are no names."""
    return _KEYWORDS


def _parse(source: Source, text: str, start: str, line: int, column: int) -> Any:
    place = _Place(source, line, column)
    limits = _Limits(place)
    # typed as far as lark's own annotations go, which is not far
    interactive: Any = _parser().parse_interactive(text, start)
    try:
        for token in limits.process(interactive.lexer_thread.lex(interactive.parser_state)):
            token.line, token.column = place.shift(token.line or 1, token.column or 1)
            interactive.feed_token(token)
        return interactive.feed_eof(limits.last)
    except UnexpectedCharacters as error:
        raise _unexpected_character(place, error) from None
    except UnexpectedToken as error:
        raise _unexpected_token(place, error.token, interactive, limits.open) from None


class _Place:
    """Where a text stands in its file."""

    def __init__(self, source: Source, line: int, column: int) -> None:
        self.source = source
        self._line = line
        self._column = column

    def shift(self, line: int, column: int) -> tuple[int, int]:
        """The file's line and column for the text's."""
        return line + self._line - 1, column + self._column - 1 if line == 1 else column

    def of(self, token: Token) -> Location:
        """Where a token stands whose place is the file's already."""
        return Location(self.source.name, token.line or 1, token.column or 1, self.source)

    def at(self, line: int, column: int) -> Location:
        """The location for the text's line and column."""
        line, column = self.shift(line, column)
        return Location(self.source.name, line, column, self.source)


@cache
def _parser() -> Lark:
    grammar = (files("netc.frontend.dsl") / "dsl.lark").read_text(encoding="utf-8")
    return Lark(
        grammar,
        parser="lalr",
        lexer="basic",
        start=["start", "inner"],
        transformer=_Builder(),
        maybe_placeholders=False,
    )


class _Limits:
    """Makes indentation into tokens, joins lines inside brackets, and stops texts that no net can be."""

    def __init__(self, place: _Place) -> None:
        self._place = place
        self.open: list[Token] = []
        self.last = Token("_NEWLINE", "", line=1, column=1)

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        indents = [0]
        first = True
        for count, token in enumerate(stream):
            self.last = token
            if count > MAX_TOKENS:
                raise NetcError(f"more than {MAX_TOKENS} words: too long for a net", location=self._at(token))
            if token.type == "_NEWLINE":
                if not self.open:
                    yield token
                    yield from self._indentation(token, indents)
                first = False
                continue
            if first and (token.column or 1) > 1 and self._place.at(1, 1).column == 1:
                raise NetcError("the first line is indented", location=self._at(token))
            first = False
            self._track(token)
            yield token
        for _ in indents[1:]:
            yield Token.new_borrow_pos("_DEDENT", "", self.last)

    def _track(self, token: Token) -> None:
        if token.type in _OPENING:
            self.open.append(token)
            if len(self.open) > MAX_BRACKETS:
                message = f"brackets are nested more than {MAX_BRACKETS} deep"
                raise NetcError(message, location=self._at(token))
        elif token.type in _CLOSING:
            if not self.open:
                raise NetcError(f"this '{token}' closes nothing", location=self._at(token))
            opening = self.open.pop()
            wanted = _OPENING[opening.type]
            if wanted != token:
                raise NetcError(
                    f"expected '{wanted}' for the '{opening}' of line {opening.line}, got '{token}'",
                    location=self._at(token),
                )

    def _indentation(self, token: Token, indents: list[int]) -> Iterator[Token]:
        margin = token[token.rindex("\n") + 1 :]
        line = token.end_line or 1
        if "\t" in margin:
            where = self._place.at(line, margin.index("\t") + 1)
            raise NetcError("a tab in the indentation", location=where, remedy="indent with spaces")
        width = len(margin)
        if width > indents[-1]:
            indents.append(width)
            if len(indents) > MAX_INDENTS:
                where = self._place.at(line, width + 1)
                raise NetcError(f"blocks are nested more than {MAX_INDENTS} deep", location=where)
            yield Token("_INDENT", "", line=line, column=width + 1)
            return
        while width < indents[-1]:
            indents.pop()
            yield Token("_DEDENT", "", line=line, column=width + 1)
        if width != indents[-1]:
            where = self._place.at(line, width + 1)
            raise NetcError("this line is indented like no block before it", location=where)

    def _at(self, token: Token) -> Location:
        return self._place.at(token.line or 1, token.column or 1)


class _Builder(Transformer[Token, Any]):
    """Makes the tree while the parser runs; keeps no state."""

    def start(self, children: list[Statement]) -> tuple[Statement, ...]:
        return tuple(children)

    def inner(self, children: list[Expression]) -> Expression:
        return children[0]

    # ---- statements

    def assign(self, children: list[Any]) -> Statement:
        targets, _, value = children
        return tree.Assign(targets[0], targets, value)

    def bare(self, children: list[Any]) -> Statement:
        return tree.Assign(children[0].token, (), children[0])

    def returned(self, children: list[Any]) -> Statement:
        return tree.Return(children[0], children[1] if len(children) > 1 else None)

    def define(self, children: list[Any]) -> Statement:
        params = children[3] if isinstance(children[3], tuple) else ()
        return tree.Define(children[1], params, children[-1])

    def loop(self, children: list[Any]) -> Statement:
        return tree.For(children[0], children[1], children[3], children[5])

    def branch(self, children: list[Any]) -> Statement:
        arms: list[tuple[Expression | None, tuple[Statement, ...]]] = []
        position = 0
        while position < len(children):
            if children[position].type == "ELSE":
                arms.append((None, children[position + 2]))
                position += 3
            else:
                arms.append((children[position + 1], children[position + 3]))
                position += 4
        return tree.If(children[0], tuple(arms))

    def suite(self, children: list[Statement]) -> tuple[Statement, ...]:
        return tuple(children)

    def targets(self, children: list[Token]) -> tuple[Token, ...]:
        return tuple(children[::2])

    def values(self, children: list[Any]) -> Expression:
        items: tuple[Expression, ...] = tuple(children[::2])
        return items[0] if len(items) == 1 else tree.Listing(items[0].token, items)

    def params(self, children: list[Any]) -> tuple[tree.Param, ...]:
        return _without_commas(children)

    def param(self, children: list[Any]) -> tree.Param:
        if children[0].type == "POWER":
            return tree.Param(children[1], None, rest=True)
        return tree.Param(children[0], children[2] if len(children) > 1 else None, rest=False)

    # ---- expressions

    def number(self, children: list[Token]) -> Expression:
        return tree.Number(children[0])

    def string(self, children: list[Token]) -> Expression:
        return tree.String(children[0])

    def constant(self, children: list[Token]) -> Expression:
        return tree.Constant(children[0])

    def name(self, children: list[Token]) -> Expression:
        return tree.Name(children[0])

    def group(self, children: list[Any]) -> Expression:
        inner: Expression = children[1]
        return inner

    def conditional(self, children: list[Any]) -> Expression:
        yes, token, test, _, no = children
        return tree.Conditional(token, yes, test, no)

    def logic(self, children: list[Any]) -> Expression:
        return tree.Logic(children[1], tuple(children[::2]))

    def unary(self, children: list[Any]) -> Expression:
        return tree.Unary(children[0], children[1])

    def binary(self, children: list[Any]) -> Expression:
        return tree.Binary(children[1], children[0], children[2])

    def chain(self, children: list[Any]) -> Expression:
        return tree.Chain(children[0], tuple(zip(children[1::2], children[2::2], strict=True)))

    def index(self, children: list[Any]) -> Expression:
        return tree.Index(children[1], children[0], children[2])

    def listing(self, children: list[Any]) -> Expression:
        return tree.Listing(children[0], children[1] if isinstance(children[1], tuple) else ())

    def record(self, children: list[Any]) -> Expression:
        return tree.Record(children[0], children[1] if isinstance(children[1], tuple) else ())

    def call(self, children: list[Any]) -> Expression:
        in_place = children[1].type == "BANG"
        args = children[-2] if isinstance(children[-2], tuple) else ()
        return tree.Call(children[0], in_place, args)

    def items(self, children: list[Any]) -> tuple[Expression, ...]:
        return _without_commas(children)

    def args(self, children: list[Any]) -> tuple[Any, ...]:
        return _without_commas(children)

    def entries(self, children: list[Any]) -> tuple[Any, ...]:
        return _without_commas(children)

    def positional(self, children: list[Any]) -> Any:
        return children[0]

    def keyword(self, children: list[Any]) -> tree.Keyword:
        unknown = children[1].type == "QUERY"
        return tree.Keyword(children[0], unknown, children[-1])

    def spread(self, children: list[Any]) -> tree.Spread:
        return tree.Spread(children[0], children[1])


def _without_commas(children: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(each for each in children if not isinstance(each, Token))


# ---- errors


def _unexpected_character(place: _Place, error: UnexpectedCharacters) -> NetcError:
    location = place.at(error.line, error.column)
    char = error.char
    if char in "\"'":
        return NetcError("this string has no closing quote on its line", location=location)
    remedy = {
        ";": "a line holds one statement",
        "&": "write 'and'",
        "|": "write 'or'",
        "\\": "lines go on inside brackets",
    }.get(char)
    return NetcError(f"unexpected character {char!r}", location=location, remedy=remedy)


def _unexpected_token(place: _Place, token: Token, parser: Any, opened: list[Token]) -> NetcError:
    """Say what is missing, judged by what the parser has before the token."""
    expected = frozenset(parser.accepts())
    stack: list[Any] = parser.parser_state.value_stack
    if token.type == "$END" and opened:
        return _unclosed(place, opened[-1])
    wanted = _wanted(expected, opened)
    if token.type == "_INDENT":
        message = "this line is indented, and no block begins before it"
        return NetcError(message, location=place.of(token))
    if token.type in ("_NEWLINE", "$END", "_DEDENT"):
        # what is missing is missing at the end of the line before
        return NetcError(f"expected {wanted}, and the line ends", location=_line_end(place, stack, token))
    notes: tuple[str, ...] = ()
    before = [each for each in opened if each is not token]
    if before and (before[-1].line or 0) < (token.line or 0):
        notes = (f"inside the '{before[-1]}' of line {before[-1].line}, which is still open",)
    remedy = _remedy(stack[-1] if stack else None, token, before)
    message = f"expected {wanted}, got {_shown(token)}"
    return NetcError(message, location=place.of(token), span=len(token), notes=notes, remedy=remedy)


def _unclosed(place: _Place, opening: Token) -> NetcError:
    return NetcError(
        f"the text ends before the '{_OPENING[opening.type]}' of this", location=place.of(opening)
    )


def _line_end(place: _Place, stack: Sequence[Any], token: Token) -> Location:
    before = next((each for each in reversed(stack) if isinstance(each, Token)), None)
    if token.type == "_NEWLINE":
        return place.of(token)
    if before is not None:
        width = 0 if before.type == "_NEWLINE" else len(before)
        return Location(place.source.name, before.line or 1, (before.column or 1) + width, place.source)
    return place.of(token)


def _remedy(before: Any, token: Token, opened: Sequence[Token]) -> str | None:
    name = before.token if isinstance(before, tree.Name) else before
    if token.type == "ASSIGN" and opened and opened[-1].type == "LBRACE":
        return "in a message a field is given by ':'"
    if not isinstance(name, Token) or name.type != "NAME":
        return None
    if token.type == "COLON":
        return f"in a call a field is given by '=': {name}=..."
    if token.type == "LBRACE":
        return f"a message is a value: {name}={{ ... }}"
    return did_you_mean(str(name), ("def", "for", "if", "return"))


def _wanted(expected: frozenset[str], opened: Sequence[Token]) -> str:
    if "NUMBER" in expected:
        return "a value" if "_NEWLINE" not in expected else "a statement"
    if opened and expected & {"COMMA", *_CLOSING} and "COLON" not in expected:
        return f"',' or '{_OPENING[opened[-1].type]}'"
    if "PLUS" in expected:
        return "an operator or the end of the line"
    names = [_SHOWN[each] for each in _SHOWN if each in expected]
    if not names or len(names) > MAX_SHOWN_EXPECTED:
        return "something else"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _shown(token: Token) -> str:
    text = str(token).split("\n")[0]
    return repr(text if len(text) <= 40 else text[:37] + "...")
