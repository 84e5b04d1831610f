"""A batch that kernels may run on part by part, and how they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from netc.ir.core import Func


@dataclass(frozen=True, slots=True)
class Batch:
    """A function and what may be split of it: ``rows`` samples, the ops before ``end``.

    ``axes`` says along which axis the values lie that hold samples.
    """

    func: Func
    rows: int
    end: int
    axes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Segment:
    """The ops from ``first`` to before ``end``, run on ``rows`` samples at a time."""

    first: int
    end: int
    rows: int
