"""What narrow numbers change: outputs of a net in float32 and in a low precision, on the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from netc.frontend.message import Message
from netc.runtime.compiler import compile_message
from netc.runtime.memory import Array
from netc.runtime.module import Module
from netc.runtime.options import CompileOptions
from netc.runtime.params import ParamStore
from netc.runtime.precision import DEFAULT_PRECISION, Precision
from netc.runtime.ranges import ActivationRanges

Batch = Mapping[str, Array]
OnBatch = Callable[[int, int], None]
MOST_RANKED = 5
SUM_TOLERANCE = 1e-3  # of the probabilities of a row


@dataclass(frozen=True, slots=True)
class OutputChange:
    """How an output differs from float32's: the largest and the mean difference, by its largest value.

    ``same_best``, of an output with a row of probabilities a sample: the share of the rows whose best class
    is the same; ``same_best_five``, with more than five classes: of those whose best is among the five best.
    ``value`` and ``value_f32``, of an output that is one number (an accuracy, a loss): its means.
    """

    output: str
    largest: float
    mean: float
    same_best: float | None = None
    same_best_five: float | None = None
    value: float | None = None
    value_f32: float | None = None


def accuracy_change(
    message: Message,
    options: CompileOptions,
    params: ParamStore,
    batches: Sequence[Batch],
    ranges: ActivationRanges,
    on_batch: OnBatch | None = None,
) -> dict[str, list[OutputChange]]:
    """Precision (bf16, int8) -> what it changes of each output, and of each blob that is kept."""
    chosen: dict[Precision, Module] = {}
    plans: list[tuple[Precision, ActivationRanges | None]] = [
        (DEFAULT_PRECISION, None),
        ("bf16", None),
        ("int8", ranges),
    ]
    for precision, its_ranges in plans:
        compiled = compile_message(message, replace(options, precision=precision, ranges=its_ranges))
        chosen[precision] = Module(message, compiled, params)
    sums = {precision: _Sums() for precision, _ in plans[1:]}
    for index, batch in enumerate(batches):
        found = {precision: _run(module, batch) for precision, module in chosen.items()}
        for precision, sum_ in sums.items():
            sum_.add(found[DEFAULT_PRECISION], found[precision])
        if on_batch is not None:
            on_batch(index + 1, len(batches))
    return {str(precision): sum_.changes() for precision, sum_ in sums.items()}


def _run(module: Module, batch: Batch) -> dict[str, Array]:
    module.run(**batch)
    return {name: module.blob(name) for name in module.compiled.blobs}


@dataclass(slots=True)
class _Seen:
    """Of one output: extents of values and of differences, sums, and counts of rows."""

    largest_value: float = 0.0
    largest: float = 0.0
    total: float = 0.0
    count: int = 0
    rows: int = 0
    classes: int = 0
    best: int = 0
    best_five: int = 0
    value: float = 0.0
    value_f32: float = 0.0
    batches: int = 0
    one_number: bool = True


class _Sums:
    """Adds up what a precision changes, batch by batch."""

    def __init__(self) -> None:
        self.seen: dict[str, _Seen] = {}

    def add(self, exact: Mapping[str, Array], other: Mapping[str, Array]) -> None:
        """See the outputs of one batch."""
        for name, wanted in exact.items():
            seen, got = self.seen.setdefault(name, _Seen()), other[name]
            seen.batches += 1
            seen.one_number &= wanted.size == 1
            if wanted.shape != got.shape or not wanted.size:
                continue  # as many rows as the values decide: not to be compared element by element
            off = np.abs(got.astype(np.float64) - wanted)
            seen.largest_value = max(seen.largest_value, float(np.abs(wanted).max()))
            seen.largest = max(seen.largest, float(off.max()))
            seen.total += float(off.sum())
            seen.count += off.size
            if wanted.size == 1:
                seen.value += float(got.reshape(-1)[0])
                seen.value_f32 += float(wanted.reshape(-1)[0])
            scores = _scores(wanted)
            if scores is not None:
                rows = got.reshape(scores.shape)
                best = scores.argmax(axis=1)
                five = np.argsort(-rows, axis=1, kind="stable")[:, :MOST_RANKED]
                seen.rows, seen.classes = seen.rows + len(scores), scores.shape[1]
                seen.best += int((rows.argmax(axis=1) == best).sum())
                seen.best_five += int((five == best[:, None]).any(axis=1).sum())

    def changes(self) -> list[OutputChange]:
        """What was seen of each output."""
        return [_change(name, seen) for name, seen in self.seen.items()]


def _change(name: str, seen: _Seen) -> OutputChange:
    scale = seen.largest_value or 1.0
    ranked = seen.rows > 0
    return OutputChange(
        name,
        seen.largest / scale,
        seen.total / max(1, seen.count) / scale,
        seen.best / seen.rows if ranked else None,
        seen.best_five / seen.rows if ranked and seen.classes > MOST_RANKED else None,
        seen.value / seen.batches if seen.one_number else None,
        seen.value_f32 / seen.batches if seen.one_number else None,
    )


def _scores(array: Array) -> Array | None:
    """(rows, classes) of what looks like probabilities of classes, else None."""
    if array.ndim < 2 or array.shape[1] < 2 or array.size != array.shape[0] * array.shape[1]:
        return None
    rows = array.reshape(array.shape[:2])
    probable = bool((rows >= 0).all()) and bool((np.abs(rows.sum(axis=1) - 1) < SUM_TOLERANCE).all())
    return rows if probable else None
