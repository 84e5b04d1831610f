"""Reads logs of training: the original's, netc's in the same format, and netc's JSON."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from netc.ir.diagnostics import NetcError
from netc.runtime.solver.curves import LOSS, Curve

Row = dict[str, float]

MAX_LOG_BYTES = 1 << 30
_NUMBER = r"[-+]?(?:nan|inf|[\d.]+(?:[eE][-+]?\d+)?)"
_PREFIX = re.compile(r"[IWEF](\d\d)(\d\d) (\d+):(\d+):(\d+)\.(\d{1,6})")
_ITERATION = re.compile(r"Iteration (\d+)")
_LOSS = re.compile(rf"Iteration \d+(?: \([^)]*\))?, loss = ({_NUMBER})")
_RATE = re.compile(rf"lr = ({_NUMBER})")
_TESTING = re.compile(r"Testing net \(#(\d+)\)")
_OUTPUT = re.compile(rf"(Train|Test) net output #\d+: (\S+) = ({_NUMBER})")
_START = "Solving "
_COLUMNS = ("NumIters", "Seconds", "LearningRate")
_MAX_ITERATION = 2**31 - 1  # the original's type
_HALF_A_YEAR_S = 182 * 24 * 3600.0


@dataclass(slots=True)
class TrainingLog:
    """The rows of a log: NumIters, Seconds, LearningRate and the outputs. ``loss`` is the displayed loss.

    Seconds count from the line that says "Solving", and the rate is the last one logged before the outputs,
    both as in the original's tool.
    """

    train: list[Row] = field(default_factory=list)
    test: list[Row] = field(default_factory=list)
    loss: Curve = field(default_factory=lambda: Curve(LOSS))

    def curves(self) -> list[Curve]:
        """The loss, or the outputs of the net to train if no loss was logged, and those of the test nets."""
        found = [self.loss] if self.loss.points else _columns(self.train, "train {}")
        return found + _columns(self.test, "test {}")


def read_log(path: str | os.PathLike[str]) -> TrainingLog:
    """What a log says; NetcError if it says nothing about training."""
    name = os.fspath(path)
    try:
        if os.path.getsize(name) > MAX_LOG_BYTES:
            raise NetcError(f"{name}: too large for a log: the limit is {MAX_LOG_BYTES} bytes")
        year = datetime.fromtimestamp(os.path.getmtime(name)).year
        with open(name, encoding="utf-8", errors="replace") as file:
            log = _Reader(name, year).read(file)
    except OSError as error:
        raise NetcError(f"{name}: {error.strerror or error}") from None
    except ValueError as error:
        raise NetcError(f"{name!r}: is no path" if "null" in str(error) else f"{name}: {error}") from None
    if not (log.train or log.test or log.loss.points):
        raise NetcError(
            f"{name}: no lines of training in it",
            remedy="give what 'netc train' or the original wrote to stderr, or --log-format json to stdout",
        )
    return log


class _Reader:
    """Goes through the lines; ``iteration`` is the last that one named."""

    def __init__(self, name: str, year: int) -> None:
        self._name = name
        self._year = year
        self._log = TrainingLog()
        self._iteration: int | None = None
        self._rate = math.nan
        self._net = 0
        self._start: float | None = None
        self._seconds = 0.0
        self._open: dict[str, Row] = {}

    def read(self, lines: Iterable[str]) -> TrainingLog:
        for number, line in enumerate(lines, 1):
            try:
                if line.startswith("{"):
                    self._json(line)
                else:
                    self._text(line)
            except (ValueError, OverflowError):
                raise NetcError(f"{self._name}:{number}: a number in this line cannot be read") from None
        self._close()
        for rows in (self._log.train, self._log.test):
            _copy_first_rate(rows)
        return self._log

    def _text(self, line: str) -> None:
        self._time(line)
        if found := _ITERATION.search(line):
            self._at(int(found[1]))
        if self._iteration is None:
            return
        if found := _TESTING.search(line):
            self._net = int(found[1])
        if found := _LOSS.search(line):
            self._log.loss.add(self._iteration, float(found[1]))
        if found := _RATE.search(line):
            self._rate = float(found[1])
        if found := _OUTPUT.search(line):
            kind, name, value = found.groups()
            self._output(kind, name, float(value))

    def _json(self, line: str) -> None:
        try:
            data: dict[str, Any] = json.loads(line)
            event, self._seconds = data["event"], self._since(float(data["time"]))
            if event in ("train", "test"):
                iteration = int(data["iteration"])
                self._at(iteration)
                self._rate = float(data.get("lr", self._rate))
                self._net = int(data.get("net", 0))
                if event == "train" and data["loss"] is not None:
                    self._log.loss.add(iteration, float(data["loss"]))
                for name, values in data["outputs"].items():
                    for value in values if isinstance(values, list) else [values]:
                        self._output(event.title(), name, math.nan if value is None else float(value))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return  # a line of another program

    def _at(self, iteration: int) -> None:
        if abs(iteration) > _MAX_ITERATION:
            raise OverflowError
        if iteration != self._iteration:
            self._close()
        self._iteration = iteration

    def _output(self, kind: str, name: str, value: float) -> None:
        assert self._iteration is not None
        row = self._open.get(kind)
        if row is None:
            start = (float(self._iteration), self._seconds, self._rate)
            row = self._open[kind] = dict(zip(_COLUMNS, start, strict=True))
        column = name if kind == "Train" or self._net == 0 else f"#{self._net} {name}"
        row[column] = value

    def _close(self) -> None:
        for kind, row in self._open.items():
            (self._log.train if kind == "Train" else self._log.test).append(row)
        self._open.clear()

    def _time(self, line: str) -> None:
        found = _PREFIX.match(line)
        if found is None:
            return
        month, day, hour, minute, second = map(int, found.groups()[:5])
        micro = int(found[6].ljust(6, "0"))
        try:
            moment = datetime(self._year, month, day, hour, minute, second, micro).timestamp()
        except ValueError:
            return
        if _START in line:
            self._start = moment
        self._seconds = self._since(moment)

    def _since(self, moment: float) -> float:
        """Seconds since the first line; a log may go on into the next year, which its lines do not name."""
        if self._start is None:
            self._start = moment
        if moment < self._start - _HALF_A_YEAR_S:
            moment += 365 * 24 * 3600.0
        return moment - self._start


def column_names(rows: Iterable[Row]) -> list[str]:
    """The columns of all rows, in the order of their first use."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _columns(rows: list[Row], title: str) -> list[Curve]:
    return list(_by_column(rows, title))


def _by_column(rows: list[Row], title: str) -> Iterator[Curve]:
    for name in column_names(rows):
        if name not in _COLUMNS:
            found = Curve(title.format(name))
            for row in rows:
                if name in row:
                    found.add(row["NumIters"], row[name])
            yield found


def _copy_first_rate(rows: list[Row]) -> None:
    """Rates are logged behind the outputs, so the first row has none; it gets the second's."""
    if len(rows) > 1 and math.isnan(rows[0]["LearningRate"]):
        rows[0]["LearningRate"] = rows[1]["LearningRate"]
