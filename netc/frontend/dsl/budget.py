"""How much a text of the ``.net`` language may do: evaluation always ends, and soon."""

from __future__ import annotations

from lark import Token

from netc.ir.diagnostics import NetcError
from netc.ir.location import Location, Source

MAX_WORK = 250_000
"""Steps of evaluation, each about a microsecond; a net of a thousand layers takes some ten thousand."""

MAX_LAYERS = 5_000
MAX_CALLS = 30  # functions that wait for each other
MAX_DEPTH = 100  # expressions and blocks inside each other; Python's own stack allows some more
MAX_TEXT = 100_000  # characters of one string
MAX_VALUES = 100_000  # values in one list or message
MAX_LEVELS = 20  # of lists and messages inside each other
CHARACTERS_PER_STEP = 64
STEPS_PER_LAYER = 30


class Budget:
    """Counts what an evaluation does."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._work = 0
        self._layers = 0

    def spend(self, steps: int, token: Token) -> None:
        """Count steps; NetcError when there are too many."""
        self._work += steps
        if self._work > MAX_WORK:
            raise NetcError(
                f"this takes more than {MAX_WORK} steps",
                location=self._at(token),
                remedy="is a loop too long?",
            )

    def spend_text(self, text: str, token: Token) -> str:
        """Count a string that was made."""
        if len(text) > MAX_TEXT:
            raise NetcError(f"a string of more than {MAX_TEXT} characters", location=self._at(token))
        self.spend(1 + len(text) // CHARACTERS_PER_STEP, token)
        return text

    def spend_values(self, size: int, depth: int, items: int, token: Token) -> None:
        """Count a list or a message that was made."""
        if size > MAX_VALUES:
            raise NetcError(f"more than {MAX_VALUES} values in one", location=self._at(token))
        if depth > MAX_LEVELS:
            raise NetcError(
                f"more than {MAX_LEVELS} levels of values inside each other", location=self._at(token)
            )
        self.spend(items, token)

    def spend_layer(self, token: Token) -> None:
        """Count a layer."""
        self.spend(STEPS_PER_LAYER, token)
        self._layers += 1
        if self._layers > MAX_LAYERS:
            raise NetcError(f"more than {MAX_LAYERS} layers", location=self._at(token))

    def _at(self, token: Token) -> Location:
        return Location(self._source.name, token.line or 1, token.column or 1, self._source)
