"""Measured choices on disk, beside the compiled kernels, found again by what they hold for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from netc.backends.llvm.object_cache import ObjectCache

KIND = "choice"


class ChoiceStore:
    """Remembers the quickest of some choices by a question, any text, and the times that were measured.

    The cache checks what it reads: a damaged file, or one of another question, counts as none.
    """

    def __init__(self, cache: ObjectCache) -> None:
        self._cache = cache

    def get(self, question: str, choices: Sequence[str]) -> str | None:
        """The choice remembered, if it is one of these."""
        data = self._cache.get(f"{KIND}\n{question}")
        if data is None:
            return None
        try:
            found = json.loads(data)["choice"]
        except (ValueError, KeyError, TypeError):
            return None
        return found if isinstance(found, str) and found in choices else None

    def put(self, question: str, choice: str, seconds: Mapping[str, float]) -> None:
        """Remember a choice."""
        text = json.dumps({"choice": choice, "seconds": dict(seconds)})
        self._cache.put(f"{KIND}\n{question}", text.encode())
