""":func:`netc.calibrate`: the ranges of a net's activations on sample inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from netc.frontend.message import Message
from netc.ir.diagnostics import NetcError
from netc.ir.dim import SymDim
from netc.runtime.api import NetSource, WeightSource, filled_params, read_message
from netc.runtime.calibration.observer import Observer
from netc.runtime.calibration.range_choice import (
    DEFAULT_METHOD,
    DEFAULT_PERCENTILE,
    Method,
    Observed,
    check_method,
)
from netc.runtime.compiler import import_message, with_shapes
from netc.runtime.memory import Array
from netc.runtime.options import CompileOptions, as_input_shapes
from netc.runtime.params import ParamStore
from netc.runtime.ranges import ActivationRanges
from netc.runtime.shapes import as_array, shown_shape

Batch = Mapping[str, Array]
ROWS_AT_ONCE = 16


def calibrate(
    net: NetSource,
    weights: WeightSource,
    inputs: Mapping[str, Any] | Iterable[Mapping[str, Any]],
    *,
    method: Method = DEFAULT_METHOD,
    percentile: float = DEFAULT_PERCENTILE,
    target: str = "cpu",
    input_shapes: Mapping[str, Sequence[int | str | SymDim]] | None = None,
    fully_convolutional: bool = False,
    threads: int | None = None,
) -> ActivationRanges:
    """The ranges that ``netc.compile(…, precision="int8", ranges=…)`` needs.

    ``inputs`` are arrays by the names of the net's inputs, or several such batches: samples of what the net
    will be run on, prepared as for a run. The net runs in float32; for ``method`` and ``percentile`` see
    :mod:`netc.runtime.calibration.range_choice`.
    """
    options = CompileOptions(
        target=target,
        input_shapes=as_input_shapes(input_shapes),
        fully_convolutional=fully_convolutional,
        threads=threads,
    )
    message = read_message(net, options)
    batches = list(batches_of(message, options, inputs))
    options = shapes_of(options, batches)
    params, _ = filled_params(import_message(message, options), weights)
    return measure(message, options, params, batches, method=method, percentile=percentile)


def measure(
    message: Message,
    options: CompileOptions,
    params: ParamStore,
    batches: Sequence[Batch],
    *,
    method: Method,
    percentile: float = DEFAULT_PERCENTILE,
) -> ActivationRanges:
    """The ranges on batches of the shapes that the options state."""
    check_method(method, percentile)
    observer = Observer(message, options, params)
    observed = {name: Observed() for name in observer.names}
    for batch in batches:
        for name, array in observer.run(batch).items():
            observed[name].widen(array)
    for batch in batches if method != "max" else ():
        for name, array in observer.run(batch).items():
            observed[name].count(array)
    values = tuple((name, *seen.chosen(method, percentile)) for name, seen in observed.items())
    samples = sum(next(iter(batch.values())).shape[0] for batch in batches)
    return ActivationRanges(observer.name, observer.digest, values, method, samples)


def batches_of(
    message: Message, options: CompileOptions, inputs: Mapping[str, Any] | Iterable[Mapping[str, Any]]
) -> Iterator[Batch]:
    """Batches as arrays, all of the same shapes: one of many rows is cut."""
    given = [inputs] if isinstance(inputs, Mapping) else list(inputs)
    if not given or not all(isinstance(batch, Mapping) and batch for batch in given):
        raise NetcError("calibration needs sample inputs: arrays by the names of the net's inputs")
    stated = {v.name: shown_shape(v) for v in import_message(message, options).inputs}
    shapes: dict[str, tuple[int, ...]] | None = None
    for batch in given:
        arrays = {name: as_array(name, array) for name, array in batch.items()}
        for rows in _cut(arrays, stated):
            found = {name: array.shape for name, array in rows.items()}
            if shapes is not None and found != shapes:
                raise NetcError(
                    f"the samples have different shapes: {found} and {shapes}",
                    remedy="give samples of one shape; resize images to one size",
                )
            shapes = found
            yield rows


def _cut(arrays: dict[str, Array], stated: Mapping[str, tuple[int | str, ...]]) -> Iterator[dict[str, Array]]:
    """Runs of rows, the last of which may overlap the one before; whole where the net states that size."""
    counts = {array.shape[0] if array.ndim else 1 for array in arrays.values()}
    same = all(stated.get(name) == array.shape for name, array in arrays.items())
    if same or len(counts) > 1 or next(iter(counts)) <= ROWS_AT_ONCE:
        yield arrays
        return
    (count,) = counts
    for start in range(0, count, ROWS_AT_ONCE):
        first = min(start, count - ROWS_AT_ONCE)
        yield {name: np.ascontiguousarray(a[first : first + ROWS_AT_ONCE]) for name, a in arrays.items()}


def shapes_of(options: CompileOptions, batches: Sequence[Batch]) -> CompileOptions:
    """The options for inputs of the batches' shapes."""
    shapes = {**dict(options.input_shapes), **{name: array.shape for name, array in batches[0].items()}}
    return with_shapes(replace(options), shapes)
