"""Schedules as attributes of launches: how a lowering is told to do otherwise than its model chooses.

A schedule is a frozen dataclass of positive integers, one class for each family of lowerings. Its text, the
launch's ``schedule``, has the fields in order: ``pixels=7 vectors=4 depth=64``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import TypeVar

from netc.ir.diagnostics import NetcError

MOST_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a lowering may choose; the fields of subclasses are positive integers."""


S = TypeVar("S", bound=Schedule)


def show_schedule(schedule: Schedule) -> str:
    """The schedule as the attribute of a launch."""
    names = (field.name for field in fields(schedule))
    return " ".join(f"{name}={value}" for name, value in zip(names, astuple(schedule), strict=True))


def read_any_schedule(text: str, kinds: Sequence[type[S]]) -> S:
    """The schedule of the one kind whose fields a text names; NetcError for any other text."""
    named = [word.partition("=")[0] for word in text.split(" ")]
    for kind in kinds:
        if [field.name for field in fields(kind)] == named:
            return read_schedule(text, kind)
    known = " or ".join(", ".join(field.name for field in fields(kind)) for kind in kinds)
    raise NetcError(f"'{text}' is no schedule of this kernel", remedy=f"it says {known}, each NAME=NUMBER")


def read_schedule(text: str, kind: type[S]) -> S:
    """The inverse of `show_schedule`; NetcError for any other text."""
    names = [field.name for field in fields(kind)]
    pattern = " ".join(rf"{name}=([1-9][0-9]{{0,{MOST_DIGITS - 1}}})" for name in names)
    match = re.fullmatch(pattern, text, re.ASCII)
    if match is None:
        raise NetcError(
            f"'{text}' is no schedule of this kernel", remedy=f"it says {', '.join(names)}, each NAME=NUMBER"
        )
    return kind(*map(int, match.groups()))
