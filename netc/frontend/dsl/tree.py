"""The syntax tree of the ``.net`` language. Every node keeps the token that an error points at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from lark import Token


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is written."""

    token: Token


@dataclass(frozen=True, slots=True)
class String:
    """A string as it is written, with its quotes."""

    token: Token


@dataclass(frozen=True, slots=True)
class Constant:
    """``true``, ``false`` or ``none``."""

    token: Token


@dataclass(frozen=True, slots=True)
class Name:
    """A variable, or a value of an enum."""

    token: Token


@dataclass(frozen=True, slots=True)
class Unary:
    """``-x`` or ``not x``; the token is the operator."""

    token: Token
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands of a comparison, a range or a power; the token is the operator."""

    token: Token
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Chain:
    """Operands of one level, worked off from the left: ``a + b - c``."""

    first: Expression
    rest: tuple[tuple[Token, Expression], ...]

    @property
    def token(self) -> Token:
        """Where the chain begins."""
        return self.first.token


@dataclass(frozen=True, slots=True)
class Logic:
    """``a and b and c`` or ``a or b``: operands to the right are looked at only where they matter."""

    token: Token
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Conditional:
    """``yes if test else no``."""

    token: Token
    yes: Expression
    test: Expression
    no: Expression


@dataclass(frozen=True, slots=True)
class Index:
    """``items[index]``; the token is the bracket."""

    token: Token
    items: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class Listing:
    """``[a, b]``, or the values of ``return a, b``."""

    token: Token
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Keyword:
    """``name=value`` in a call, ``name: value`` in a message; ``unknown`` where a ``?`` follows the name."""

    token: Token
    unknown: bool
    value: Expression


@dataclass(frozen=True, slots=True)
class Spread:
    """``**message``: all its fields at this place."""

    token: Token
    value: Expression


@dataclass(frozen=True, slots=True)
class Record:
    """A message: ``{ type: "xavier" }``."""

    token: Token
    entries: tuple[Keyword | Spread, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A layer, a function or a builtin; ``in_place`` for ``ReLU!(x)``."""

    token: Token
    in_place: bool
    args: tuple[Expression | Keyword | Spread, ...]


Expression: TypeAlias = (
    Number
    | String
    | Constant
    | Name
    | Unary
    | Binary
    | Chain
    | Logic
    | Conditional
    | Index
    | Listing
    | Record
    | Call
)


def first_token(node: Expression) -> Token:
    """Where an expression begins."""
    while True:
        match node:
            case Binary(_, left, _):
                node = left
            case Chain(first, _):
                node = first
            case Logic(_, operands):
                node = operands[0]
            case Conditional(_, yes, _, _):
                node = yes
            case Index(_, items, _):
                node = items
            case _:
                return node.token


@dataclass(frozen=True, slots=True)
class Assign:
    """``a = value`` or ``a, b = value``; without targets a value on its own."""

    token: Token
    targets: tuple[Token, ...]
    value: Expression


@dataclass(frozen=True, slots=True)
class Return:
    """``return value``."""

    token: Token
    value: Expression | None


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a function; ``rest`` for ``**name``, which takes all other named arguments."""

    token: Token
    default: Expression | None
    rest: bool


@dataclass(frozen=True, slots=True)
class Define:
    """``def name(params): body``; the token is the name."""

    token: Token
    params: tuple[Param, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class For:
    """``for a, b in items: body``."""

    token: Token
    targets: tuple[Token, ...]
    items: Expression
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class If:
    """The first arm whose test holds; an ``else`` is an arm without a test."""

    token: Token
    arms: tuple[tuple[Expression | None, tuple[Statement, ...]], ...]


Statement: TypeAlias = Assign | Return | Define | For | If
