"""The trained weights that a solver starts from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from netc.frontend.weights import load_weights

WeightPaths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


def weight_paths(given: WeightPaths | None) -> list[str]:
    """Paths as a caller, a solver or a command line gives them; a text may hold several between commas."""
    if given is None:
        return []
    each = [given] if isinstance(given, str | os.PathLike) else given
    parts = [part.strip() for one in each for part in os.fspath(one).split(",")]
    return [part for part in parts if part]


def load_initial_weights(paths: Sequence[str]) -> dict[str, Sequence[Any]] | None:
    """The weights of all files; of layers that several have, those of the last."""
    found: dict[str, Sequence[Any]] = {}
    for path in paths:
        found.update(load_weights(path))
    return found if paths else None
