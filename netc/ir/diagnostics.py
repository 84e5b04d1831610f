"""The errors a user sees: what is wrong with the input, where, and what to do about it; or that netc is."""

from __future__ import annotations

from collections.abc import Sequence

from netc.ir.location import Location

MAX_SHOWN_LINE = 160


class NetcError(Exception):
    """Bad input of any kind.

    ``message`` says what was expected and what was got; ``location`` points at the text, ``layer`` names
    the Caffe layer (or IR op) concerned, ``notes`` add context, ``remedy`` says the nearest way out.
    ``span`` is the number of columns to underline.
    """

    def __init__(
        self,
        message: str,
        *,
        location: Location | None = None,
        layer: str | None = None,
        notes: Sequence[str] = (),
        remedy: str | None = None,
        span: int = 1,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.location = location
        self.layer = layer
        self.notes = tuple(notes)
        self.remedy = remedy
        self.span = span

    def at(self, location: Location | None, layer: str | None = None) -> NetcError:
        """Fill in the location and the layer where they are not known yet; returns self."""
        if self.location is None:
            self.location = location
        if self.layer is None:
            self.layer = layer
        return self

    def within(self, location: Location | None) -> None:
        """Note the calls that led to a location, for an error that points at their arguments."""
        calls = location.calls if location else ()
        self.notes = tuple(dict.fromkeys((*self.notes, *calls)))

    def render(self) -> str:
        """The full text: ``file:line:col: error: layer: message``, the source line, a caret, notes."""
        where = f"{self.location}: " if self.location else ""
        who = f"layer '{self.layer}': " if self.layer else ""
        lines = [_printable(f"{where}error: {who}{self.message}")]
        text = self.location.source_line() if self.location else None
        if self.location and text is not None:
            lines += _excerpt(self.location, text, self.span)
        calls = self.location.calls if self.location else ()
        notes = dict.fromkeys((*self.notes, *calls))
        # a note may quote IR, which has lines
        lines += [_printable(line) for note in notes for line in f"note: {note}".split("\n")]
        if self.remedy:
            lines.append(_printable(f"help: {self.remedy}"))
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.render()


class InternalError(Exception):
    """A bug in netc: generated code that is not valid, say. No fault of the user's; ``detail`` is for us."""

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail

    def render(self) -> str:
        """The full text: the message, the detail, and whom to tell."""
        lines = [f"internal error: {self.message}"]
        if self.detail:
            lines.append(f"note: {self.detail}")
        lines.append("help: this is a bug in netc, not in your net: please report it with the net")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.render()


def _printable(text: str) -> str:
    """The text with escapes for what a name in a damaged file may hold: line ends, a terminal's commands."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _excerpt(location: Location, text: str, span: int) -> list[str]:
    """The source line with a caret; a very long line is cut to a window around the column."""
    column = location.column - 1
    start = max(0, column - MAX_SHOWN_LINE // 2) if len(text) > MAX_SHOWN_LINE else 0
    shown = text[start : start + MAX_SHOWN_LINE]
    # tabs and control characters would move the caret away from its column
    shown = "".join(" " if ch == "\t" else ch if ch.isprintable() else "?" for ch in shown)
    prefix = f"{location.line:>5} | "
    caret = " " * (column - start) + "^" * max(1, min(span, len(shown) - (column - start)))
    return [prefix + shown, " " * (len(prefix) - 2) + "| " + caret]


class OpError(NetcError):
    """An op's types or attributes break its rule. ``attr`` names the attribute at fault, if one is."""

    def __init__(self, message: str, *, attr: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.attr = attr
