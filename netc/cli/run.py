"""``netc run``: images or arrays in, the best classes or all outputs out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netc.cli.inputs import are_arrays, preprocessing, read_arrays, read_labels, write_npz
from netc.cli.output import progress, put, put_json, say, say_warnings
from netc.cli.request import NetRequest
from netc.ir.diagnostics import NetcError
from netc.runtime.api import read_message
from netc.runtime.classify import LARGEST_BATCH, ImageInput, image_input, input_ranks, run_rows
from netc.runtime.compiler import import_message
from netc.runtime.images import ChannelOrder, Preprocessing, load_image, merge_crops, preprocess
from netc.runtime.memory import Array, check_available
from netc.runtime.module import Module
from netc.runtime.shapes import show_shape, shown_shape

Results = list[dict[str, Array]]
PREPARING = 4  # arrays as large as the input that are alive while images are resized


@dataclass(frozen=True, slots=True)
class Ranking:
    """How classes are shown: how many, of which blob (None is the first output), under which names."""

    top: int
    blob: str | None
    labels: Sequence[str]


def command(
    request: NetRequest,
    files: tuple[str, ...],
    labels: str | None,
    top: int,
    blob: str | None,
    output: str | None,
    mean: str | None,
    raw_scale: float,
    input_scale: float,
    channel_order: ChannelOrder,
    image_dims: str | None,
    oversample: bool,
    as_json: bool,
) -> None:
    """``netc run``."""
    ranking = Ranking(top, blob, read_labels(labels) if labels else ())
    if are_arrays(files):
        module, results = _run_arrays(request, files)
        names: Sequence[str] = [""]
    else:
        how = preprocessing(mean, raw_scale, input_scale, channel_order, image_dims, oversample)
        module, results = _run_images(request, files, how)
        names = files
    say_warnings(module.warnings)
    if output is not None:
        _write(output, results)
    elif as_json:
        put_json([_as_data(module, name, r, ranking) for name, r in zip(names, results, strict=True)])
    else:
        for name, result in zip(names, results, strict=True):
            _show(module, name, result, ranking)


def _run_arrays(request: NetRequest, files: Sequence[str]) -> tuple[Module, Results]:
    if request.is_compiled:
        module = request.module()
        arrays = read_arrays(files, list(module.inputs))
    else:
        message = read_message(request.model, request.options)
        ranks = input_ranks(message)
        arrays = read_arrays(files, list(ranks))
        # an array of another rank than the net states is a mistake, which the run reports
        fitting = {n: a.shape for n, a in arrays.items() if n in ranks and ranks[n] in (None, a.ndim)}
        module = request.with_shapes(fitting).module()
    module.run(**arrays)
    return module, [{name: module.blob(name) for name in module.compiled.blobs}]


def _run_images(request: NetRequest, files: Sequence[str], how: Preprocessing) -> tuple[Module, Results]:
    module = _image_module(request, len(files), how)
    given = image_input(module.inputs)
    fixed = given.height is not None and given.width is not None
    at_once = max(1, (given.batch or LARGEST_BATCH) // how.rows) if fixed else 1
    results: Results = []
    with progress("running") as on_images:
        for start in range(0, len(files), at_once):
            images = [load_image(name, color=given.channels == 3) for name in files[start : start + at_once]]
            results += _run_chunk(module, given, images, how)
            if on_images is not None:
                on_images(start + len(images), len(files))
    return module, results


def _image_module(request: NetRequest, images: int, how: Preprocessing) -> Module:
    """The module; one that is compiled now gets a batch that the images fill."""
    if request.is_compiled:
        return request.module()
    net = import_message(read_message(request.model, request.options), request.options)
    given = image_input({v.name: shown_shape(v) for v in net.inputs})
    if given.height is None or given.width is None:
        return request.module()
    batch = how.rows * min(images, max(1, LARGEST_BATCH // how.rows))
    return request.with_shapes({given.name: (batch, given.channels, given.height, given.width)}).module()


def _run_chunk(module: Module, given: ImageInput, images: Sequence[Array], how: Preprocessing) -> Results:
    free_height, free_width = how.image_dims or images[0].shape[:2]
    height, width = given.height or free_height, given.width or free_width
    count = len(images) * how.rows
    batch = given.batch or min(count, LARGEST_BATCH)
    shape = (batch, given.channels, height, width)
    # before anything of that size is allocated
    sizes = {d: n for d, n in zip(module.inputs[given.name], shape, strict=True) if isinstance(d, str)}
    check_available(module.memory_at(**sizes).total + PREPARING * 4 * math.prod(shape), "a run of the net")
    rows = preprocess(images, shape[1:], how, given.name)
    return _split_rows(run_rows(module, given.name, rows, batch), how, len(images))


def _split_rows(results: dict[str, Array], how: Preprocessing, images: int) -> Results:
    """The results of each image; those that have no row for each image go with the first."""
    split: Results = [{} for _ in range(images)]
    for name, array in results.items():
        if array.ndim and array.shape[0] == images * how.rows:
            for index, row in enumerate(merge_crops(array, how)):
                split[index][name] = row[np.newaxis]
        else:
            split[0][name] = array
    return split


def _ranked(module: Module, result: dict[str, Array], ranking: Ranking) -> tuple[str, Array]:
    outputs = list(module.outputs)
    name = ranking.blob or (outputs[0] if outputs else "")
    if name not in result:
        raise NetcError(
            f"there is no output '{name}' to rank; the outputs are {', '.join(result) or 'none'}",
            remedy=f"compile with --keep {name}" if ranking.blob else None,
        )
    return name, result[name]


def _rows(array: Array) -> Array | None:
    """(rows, classes), or None where the array is no list of scores."""
    if array.ndim < 2 or array.size != array.shape[0] * array.shape[1] or array.shape[1] < 2:
        return None
    return array.reshape(array.shape[0], array.shape[1])


def _best(row: Array, ranking: Ranking) -> list[tuple[int, str, float]]:
    order = np.argsort(-row, kind="stable")[: ranking.top]
    labels = ranking.labels
    return [(int(i), labels[i] if i < len(labels) else "", float(row[i])) for i in order]


def _show(module: Module, source: str, result: dict[str, Array], ranking: Ranking) -> None:
    if source:
        put(source)
    name, array = _ranked(module, result, ranking)
    rows = _rows(array)
    if rows is None:
        for each, values in result.items():
            put(f"  {each} {show_shape(values.shape)}: {_summary(values)}")
        return
    for index, row in enumerate(rows):
        if len(rows) > 1:
            put(f"{name}[{index}]")
        for number, label, score in _best(row, ranking):
            put(f"  {score:8.4f}  {f'{number} {label}'.rstrip()}")


def _summary(values: Array) -> str:
    if values.size == 1:
        return f"{float(values.reshape(-1)[0]):.6g}"
    return f"{values.min():.6g} to {values.max():.6g}, mean {values.mean():.6g}"


def _as_data(module: Module, source: str, result: dict[str, Array], ranking: Ranking) -> dict[str, object]:
    name, array = _ranked(module, result, ranking)
    rows = _rows(array)
    data: dict[str, object] = {"file": source} if source else {}
    data["outputs"] = {each: list(values.shape) for each, values in result.items()}
    if rows is not None:
        data["ranked"] = name
        data["top"] = [
            [{"index": i, "label": label, "score": score} for i, label, score in _best(row, ranking)]
            for row in rows
        ]
    return data


def _write(path: str, results: Results) -> None:
    arrays = {}
    for name, first in results[0].items():
        parts = [r[name] for r in results if name in r]
        arrays[name] = np.concatenate(parts) if first.ndim else first
    write_npz(path, arrays)
    say(f"{path}: {', '.join(f'{name} {show_shape(a.shape)}' for name, a in arrays.items())}")
