"""``netc extract-features``: Caffe's extract_features; blobs of a net, written to files batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from netc.cli.feature_files import check_outputs, write_features
from netc.cli.inputs import are_arrays, preprocessing, read_arrays
from netc.cli.output import progress, put, say
from netc.frontend.net_file import load_net
from netc.ir.diagnostics import NetcError
from netc.pycaffe.mode import TEST
from netc.pycaffe.net import Net
from netc.runtime.classify import LARGEST_BATCH, image_input, input_ranks
from netc.runtime.images import ChannelOrder, Preprocessing, load_image, preprocess
from netc.runtime.memory import Array
from netc.runtime.shapes import show_shape
from netc.runtime.solver.feed import Feed


def command(
    weights: str,
    model: str,
    blobs: str,
    outputs: str,
    batches: int,
    database: str | None,
    device: str | None,
    device_id: int | None,
    files: tuple[str, ...],
    mean: str | None,
    raw_scale: float,
    input_scale: float,
    channel_order: ChannelOrder,
) -> None:
    """Run batches through the net, and write each of the blobs to its file."""
    del device_id  # of a GPU
    if device is not None and device.upper() != "CPU":
        raise NetcError(f"nets run on the CPU, not on {device}", remedy="say CPU, or leave it out")
    pairs = _pairs(blobs, outputs)
    check_outputs([path for _, path in pairs], database)
    if files and not are_arrays(files):
        net = Net(model, TEST, weights=weights)
        how = preprocessing(mean, raw_scale, input_scale, channel_order)
        given = image_input({name: net.blobs[name].shape for name in net.inputs})
        fill = _fill_from_rows(net, {given.name: _Images(files, net.blobs[given.name].shape[1:], how)})
    elif not files and (feed := Feed(load_net(model), phase="TEST", seed=0, root=Path())).shapes:
        net = Net(model, TEST, weights=weights, input_shapes=feed.shapes)
        fill = _fill_from_data_layers(net, feed)
    else:
        ranks = input_ranks(load_net(model))
        arrays = read_arrays(files, list(ranks))
        net = Net(model, TEST, weights=weights, input_shapes=_data_shapes(arrays, ranks))
        fill = _fill_from_rows(net, arrays)
    features = _extract(net, [name for name, _ in pairs], fill, batches)
    for name, path in pairs:
        write_features(path, name, features[name], database)
        put(f"{name} {show_shape(features[name].shape)} -> {path}")


# fills the inputs with the batch of a number; the part of it that there was input for
Fill = Callable[[int], float]


class Rows(Protocol):
    """Something with rows, such as an array."""

    def __len__(self) -> int:
        """How many there are."""

    def __getitem__(self, rows: slice, /) -> Array:
        """Some of them."""


class _Images:
    """Image files as rows of an input, loaded when they are needed."""

    def __init__(self, files: Sequence[str], shape: tuple[int, ...], how: Preprocessing) -> None:
        self._files, self._how = files, how
        channels, height, width = shape
        self._shape = channels, height, width

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, rows: slice) -> Array:
        images = [load_image(name, color=self._shape[0] == 3) for name in self._files[rows]]
        return preprocess(images, self._shape, self._how)


def _pairs(blobs: str, outputs: str) -> list[tuple[str, str]]:
    names, paths = blobs.split(","), outputs.split(",")
    if len(names) != len(paths):
        raise NetcError(f"there are {len(names)} blobs and {len(paths)} files; each blob needs one")
    return list(zip(names, paths, strict=True))


def _data_shapes(arrays: Mapping[str, Array], ranks: Mapping[str, int | None]) -> dict[str, tuple[int, ...]]:
    """Shapes for inputs that state none, as data layers: those of the arrays, a batch at a time."""
    return {
        name: (min(len(array), LARGEST_BATCH), *array.shape[1:])
        for name, array in arrays.items()
        if name in ranks and ranks[name] is None and array.ndim
    }


def _extract(net: Net, names: Sequence[str], fill: Fill, batches: int) -> dict[str, Array]:
    """The blobs of all batches; a last batch that the input does not fill gives as many rows as it has."""
    for name in names:
        if name not in net.blobs:
            raise NetcError(f"the net has no blob '{name}'; its blobs are {', '.join(net.blobs)}")
    parts: dict[str, list[Array]] = {name: [] for name in names}
    with progress("running") as on_batch:
        for batch in range(batches):
            filled = fill(batch)
            if filled == 0:
                say(f"the input ends after {batch} batches")
                break
            for name, array in net.forward(blobs=names).items():
                if name in parts:
                    parts[name].append(_used(array, filled).copy())
            if on_batch is not None:
                on_batch(batch + 1, batches)
    return {name: np.concatenate([np.atleast_1d(a) for a in found]) for name, found in parts.items()}


def _fill_from_data_layers(net: Net, feed: Feed) -> Fill:
    """Batches of the net's own data, which go round and round as in the original."""
    inputs = dict.fromkeys(net.fed_blobs)

    def fill(batch: int) -> float:
        del batch
        for name, array in feed.next(inputs).items():
            net.blobs[name].data[...] = array
        return 1.0

    return fill


def _fill_from_rows(net: Net, rows: Mapping[str, Rows]) -> Fill:
    """Batches of what the caller gives, one after the other."""
    inputs = net.fed_blobs
    for name in rows:
        if name not in inputs:
            raise NetcError(f"the net has no input '{name}'; its inputs are {', '.join(inputs) or 'none'}")
    for name in inputs:
        if name not in rows:
            raise NetcError(f"nothing is given for the input '{name}'", remedy=f"give --input {name}=x.npy")

    def fill(batch: int) -> float:
        filled = 1.0
        for name, source in rows.items():
            blob = net.blobs[name]
            size = blob.shape[0]
            found = source[batch * size : (batch + 1) * size]
            if len(found) == 0:
                return 0.0
            if found.shape[1:] != blob.shape[1:]:
                raise NetcError(
                    f"the rows of the input '{name}' are {show_shape(found.shape[1:])}; expected "
                    f"{show_shape(blob.shape[1:])}"
                )
            blob.data[: len(found)] = found
            blob.data[len(found) :] = 0
            filled = min(filled, len(found) / size)
        return filled

    return fill


def _used(array: Array, filled: float) -> Array:
    """The rows that come of the input, not of what the batch was filled up with."""
    return array if filled == 1 or not array.ndim else array[: round(len(array) * filled)]
