"""Where something stands in the user's text: file, line, column."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Source:
    """A text the user gave us: its display name (a path or ``<string>``) and its content."""

    name: str
    text: str

    def line(self, number: int) -> str | None:
        """The line with this 1-based number, without its line break; None beyond the end."""
        lines = self.text.split("\n")
        return lines[number - 1].rstrip("\r") if 1 <= number <= len(lines) else None


@dataclass(frozen=True, slots=True)
class Location:
    """A point of a text: file name, 1-based line and column.

    ``source`` lets an error show the line. ``calls`` says by which calls of functions the text was reached,
    innermost first. Both take no part in equality and are lost by printing.
    """

    file: str
    line: int
    column: int
    source: Source | None = field(default=None, compare=False, repr=False)
    calls: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def source_line(self) -> str | None:
        """The text of the line, where the source is still known."""
        return self.source.line(self.line) if self.source is not None else None
