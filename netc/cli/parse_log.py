"""``netc parse-log``: Caffe's parse_log.py; the outputs in a log of training as two tables."""

from __future__ import annotations

import os
from collections.abc import Sequence

from netc.cli.output import put, put_json
from netc.frontend.atomic_file import atomic_file
from netc.runtime.solver.read_log import Row, column_names, read_log


def command(log: str, folder: str, delimiter: str, as_json: bool) -> None:
    """``netc parse-log``."""
    found = read_log(log)
    if as_json:
        put_json({"train": found.train, "test": found.test})
        return
    for kind, rows in (("train", found.train), ("test", found.test)):
        path = os.path.join(folder, f"{os.path.basename(log)}.{kind}")
        with atomic_file(path) as file:
            file.write(_table(rows, delimiter).encode("utf-8"))
        put(path)


def _table(rows: Sequence[Row], delimiter: str) -> str:
    names = column_names(rows)
    lines = [names, *([str(row[name]) if name in row else "" for name in names] for row in rows)]
    return "".join(delimiter.join(line) + "\n" for line in lines if line)
