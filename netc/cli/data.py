"""``netc data``: published data sets as the databases that Caffe's examples train on."""

from __future__ import annotations

from pathlib import Path

from netc.cli.output import progress, put, put_json, say
from netc.runtime.data.published import DATA_SETS, Source


def command(name: str, folder: str, source: str | None, backend: str, as_json: bool) -> None:
    """``netc data``."""
    data_set = DATA_SETS[name]
    target = Path(folder)
    say(f"{data_set.title}: {data_set.terms}")
    with progress("downloading") as update:
        archives = Source(Path(source) if source else target, target, say, update)
        made = data_set.convert(archives, target, backend)
    if as_json:
        put_json({"data_set": name, "files": [str(path) for path in made]})
    else:
        for path in made:
            put(str(path))
