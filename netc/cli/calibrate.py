"""``netc calibrate``: measures the ranges that 8-bit integers need, and what low precision changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from netc.cli.inputs import are_arrays, preprocessing, read_arrays
from netc.cli.output import progress, put, put_json, say_warnings
from netc.cli.request import NetRequest
from netc.frontend.message import Message
from netc.ir.diagnostics import NetcError
from netc.runtime.api import filled_params, read_message
from netc.runtime.calibration.accuracy import OutputChange, accuracy_change
from netc.runtime.calibration.calibrate import ROWS_AT_ONCE, Batch, batches_of, measure, shapes_of
from netc.runtime.calibration.range_choice import Method
from netc.runtime.classify import image_input, input_ranks
from netc.runtime.compiler import import_message, with_shapes
from netc.runtime.images import ChannelOrder, Preprocessing, load_image, preprocess
from netc.runtime.options import CompileOptions
from netc.runtime.precision import DEFAULT_PRECISION
from netc.runtime.ranges import write_ranges
from netc.runtime.shapes import shown_shape
from netc.runtime.solver.feed import Feed


def command(
    request: NetRequest,
    files: tuple[str, ...],
    output: str | None,
    method: Method,
    percentile: float,
    batches: int,
    mean: str | None,
    raw_scale: float,
    input_scale: float,
    channel_order: ChannelOrder,
    image_dims: str | None,
    as_json: bool,
) -> None:
    """``netc calibrate``."""
    if request.is_compiled:
        raise NetcError(f"{request.model} is compiled already", remedy="give the definition of the net")
    if request.options.precision != DEFAULT_PRECISION or request.options.ranges is not None:
        raise NetcError("calibration runs the net in float32: --precision and --ranges have no meaning")
    message = read_message(request.model, request.options)
    options = request.options
    if not files:
        options, samples = _own_data(message, options, batches)
    elif are_arrays(files):
        samples = _arrays(message, request, files)
    else:
        how = preprocessing(mean, raw_scale, input_scale, channel_order, image_dims)
        samples = _images(message, options, files, how)
    options = shapes_of(options, samples)
    params, warnings = filled_params(import_message(message, options), request.weights)
    say_warnings(warnings)
    ranges = measure(message, options, params, samples, method=method, percentile=percentile)
    path = Path(output) if output else Path(Path(request.model).stem + ".ranges.json")
    write_ranges(path, ranges)
    with progress("comparing outputs") as on_batch:
        changes = accuracy_change(message, options, params, samples, ranges, on_batch)
    if as_json:
        shown = {precision: [asdict(c) for c in found] for precision, found in changes.items()}
        put_json(
            {"file": str(path), "samples": ranges.samples, "tensors": len(ranges.values), "changes": shown}
        )
        return
    put(f"{ranges.net}: ranges of {len(ranges.values)} tensors, from {ranges.samples} samples")
    put(f"  written      {path}")
    put("  on the same samples, compared with float32:")
    width = max(len(change.output) for found in changes.values() for change in found)
    for precision, found in changes.items():
        for change in found:
            put(f"  {precision:5}  {change.output:{width}}  {_shown(change)}")


def _shown(change: OutputChange) -> str:
    if change.value is not None and change.value_f32 is not None:
        return f"{change.value:.5g} instead of {change.value_f32:.5g}"
    largest, mean = 100 * change.largest, 100 * change.mean
    text = f"off by at most {largest:.2g} % of the largest value, {mean:.2g} % on average"
    if change.same_best is not None:
        text += f"; the same best class for {change.same_best:.2%} of the rows"
    if change.same_best_five is not None:
        text += f", which is among the best five for {change.same_best_five:.2%}"
    return text


def _own_data(message: Message, options: CompileOptions, count: int) -> tuple[CompileOptions, list[Batch]]:
    """Batches of the net's own data layers."""
    feed = Feed(message, phase=options.phase, seed=0, root=Path())
    try:
        if not feed.shapes:
            raise NetcError(
                "there is nothing to calibrate on: the net has no data layer, and no inputs are given",
                remedy="give images, or arrays in .npz or .npy files, as for netc run",
            )
        options = with_shapes(options, feed.shapes)
        wanted = {value.name: value for value in import_message(message, options).inputs}
        return options, [feed.next(wanted) for _ in range(count)]
    finally:
        feed.close()


def _arrays(message: Message, request: NetRequest, files: Sequence[str]) -> list[Batch]:
    ranks = input_ranks(message)
    arrays = read_arrays(files, list(ranks))
    fitting = {n: a.shape for n, a in arrays.items() if n in ranks and ranks[n] in (None, a.ndim)}
    # the net's own shapes where it states any, so that rows beyond them make further batches
    stated = all(ranks[name] is not None for name in fitting)
    options = request.options if stated else request.with_shapes(fitting).options
    return list(batches_of(message, options, arrays))


def _images(
    message: Message, options: CompileOptions, files: Sequence[str], how: Preprocessing
) -> list[Batch]:
    given = image_input({v.name: shown_shape(v) for v in import_message(message, options).inputs})
    if given.height is None or given.width is None:
        raise NetcError(
            "the net takes images of any size, and calibration runs one", remedy="state it: --input-shape"
        )
    shape = (given.channels, given.height, given.width)
    batches: list[Batch] = []
    for start in range(0, len(files), ROWS_AT_ONCE):
        first = max(0, min(start, len(files) - ROWS_AT_ONCE))  # all batches are of one size
        images = [load_image(name, color=given.channels == 3) for name in files[first : first + ROWS_AT_ONCE]]
        batches.append({given.name: preprocess(images, shape, how, given.name)})
    return batches
