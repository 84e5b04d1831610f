"""What every source of training data is: batches by their number, and how its errors point at the layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from netc.frontend.message import Message
from netc.ir.diagnostics import NetcError
from netc.runtime.memory import Array

MAX_BATCH_BYTES = 2**33  # a batch beyond this is a mistyped size, and would only exhaust the memory


class DataSource(Protocol):
    """Batches of a data layer.

    A batch is a pure function of the source's content, of the seed and of its number: a run that stopped
    goes on by its iteration alone. ``batch`` may be called from several threads at once.
    """

    @property
    def tops(self) -> dict[str, tuple[int, ...]]:
        """The shape of each top by its name, the number of items first."""

    def batch(self, index: int) -> dict[str, Array]:
        """Batch number ``index`` >= 0: a float32 array for each top."""


class DataLayer:
    """A data layer while its source is opened: where its paths lead, and whom its errors name."""

    def __init__(self, message: Message, *, phase: str, seed: int, root: Path) -> None:
        self.message = message
        self.phase = phase
        self.seed = seed
        self.root = root
        self.top_names = message.texts("top")
        self.name = message.text("name") or next(iter(self.top_names), message.text("type"))

    def error(
        self,
        text: str,
        field_path: str | None = None,
        *,
        remedy: str | None = None,
        notes: tuple[str, ...] = (),
    ) -> NetcError:
        """An error of this layer that points at a field, for example ``"data_param.source"``."""
        message, location = self.message, self.message.location
        *outer, last = (field_path or "").split(".")
        for name in outer:
            message = message.message(name)
        if last:
            location = message.where(last)
        return NetcError(text, location=location, layer=self.name, notes=notes, remedy=remedy)

    @contextmanager
    def located(self, field_path: str) -> Iterator[None]:
        """Errors of what is read inside of the block point at a field of the layer."""
        param, field = field_path.split(".")
        try:
            yield
        except NetcError as error:
            raise error.at(self.message.message(param).where(field), self.name) from None

    def path(self, field_path: str) -> Path:
        """The path in a field. As in Caffe, it starts at the current directory (here: ``root``)."""
        param, field = field_path.split(".")
        text = self.message.message(param).text(field)
        if not text:
            raise self.error(f"'{field}' is missing", field_path)
        if "\0" in text:
            raise self.error(f"{text!r}: is no path", field_path)
        return self.root / text

    def not_found(self, path: Path, what: str, field_path: str, remedy: str | None = None) -> NetcError:
        """The error for a file that is not there."""
        param, field = field_path.split(".")
        given = self.message.message(param).text(field)
        return self.error(
            f"{what} '{given}' does not exist",
            field_path,
            notes=(f"paths start at the current directory, as in Caffe: {path.absolute()}",),
            remedy=remedy,
        )

    def batch_size(self, param: str) -> int:
        """The number of items in a batch."""
        size = self.message.message(param).integer("batch_size")
        if size < 1:
            raise self.error("batch_size must be at least 1", f"{param}.batch_size")
        return size

    def check_tops(self, least: int, most: int | None) -> None:
        """Refuse a number of tops that the layer does not have."""
        count = len(self.top_names)
        if count < least or (most is not None and count > most):
            expected = f"{least}" if least == most else f"{least} to {most}" if most else f"at least {least}"
            raise self.error(f"expected {expected} tops, got {count}", "top")

    def check_batch(self, shape: tuple[int, ...], field_path: str) -> None:
        """Refuse batches that would exhaust the memory."""
        size = 4
        for extent in shape:
            size *= extent
        if size > MAX_BATCH_BYTES:
            shown = "x".join(map(str, shape))
            raise self.error(f"a batch of {shown} takes {size / 2**30:.3g} GiB", field_path)
