"""Weights in HDF5, as the original writes them: ``/data/<layer>/<index>`` in a ``.caffemodel.h5``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from netc.frontend.atomic_file import atomic_path
from netc.ir.diagnostics import NetcError

MAX_LINKS = 100_000
MAX_DEPTH = 32  # a '/' in a layer's name is a level of groups
_GROUP = "data"
_TYPE = "type"  # an attribute of our own, which Caffe does not look at

Layer: TypeAlias = tuple[str, str, Sequence[NDArray[Any]]]


def read_hdf5(path: str) -> tuple[dict[str, list[NDArray[np.float32]]], dict[str, str]]:
    """The blobs of each layer that has some, and the types of the layers where they are stated."""
    h5py = hdf5_library()
    with open_hdf5(h5py, path) as file:
        data = hdf5_member(h5py, file, _GROUP)
        if not isinstance(data, h5py.Group):
            raise NetcError(f"{path}: no group '/{_GROUP}' in it: not an HDF5 file of Caffe's weights")
        found: dict[str, dict[int, NDArray[np.float32]]] = {}
        types: dict[str, str] = {}
        for count, (name, dataset) in enumerate(_datasets(h5py, data, "", 0)):
            if count > MAX_LINKS:
                raise NetcError(f"{path}: more than {MAX_LINKS} arrays")
            layer, _, index = name.rpartition("/")
            if layer and index.isascii() and index.isdigit() and len(index) < 6:
                found.setdefault(layer, {})[int(index)] = hdf5_array(path, name, dataset)
                kind = dataset.parent.attrs.get(_TYPE, "")
                types[layer] = kind if isinstance(kind, str) else ""
    for layer, blobs in found.items():
        if sorted(blobs) != list(range(len(blobs))):
            raise NetcError(f"{path}: layer '{layer}' has the blobs {sorted(blobs)}: some are missing")
    return {layer: [blobs[index] for index in range(len(blobs))] for layer, blobs in found.items()}, types


def write_hdf5(path: str | os.PathLike[str], layers: Iterable[Layer]) -> None:
    """Write the blobs of the layers; the file appears under its name when it is whole."""
    h5py = hdf5_library()
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver=("earliest", "v108")) as file:
        data = file.create_group(_GROUP)
        for name, kind, arrays in layers:
            if not arrays:
                continue
            if not name or name.startswith("/") or any(part in ("", ".") for part in name.split("/")):
                raise NetcError(f"the layer's name '{name}' cannot be the name of a group in HDF5")
            if name in data:
                raise NetcError(f"two layers '{name}' have weights, and HDF5 holds one of each name")
            group = data.create_group(name)
            group.attrs[_TYPE] = kind
            for index, array in enumerate(arrays):
                group.create_dataset(str(index), data=np.asarray(array, "<f4"))


def hdf5_library() -> Any:
    """The package h5py, or what to do for it."""
    try:
        import h5py
    except ImportError:
        raise NetcError(
            "HDF5 files need the package h5py", remedy="install it with: pip install 'netc[hdf5]'"
        ) from None
    return h5py


@contextmanager
def open_hdf5(h5py: Any, path: str) -> Iterator[Any]:
    """Open a file to read; what is damaged in it becomes a ``NetcError``."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise NetcError(f"{path}: this is a damaged HDF5 file: {error}") from None
    try:
        yield file
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:  # damage shows where it is read
        raise NetcError(f"{path}: damaged: {error}") from None
    finally:
        file.close()


def hdf5_member(h5py: Any, group: Any, name: str) -> Any:
    """What a name in a group stands for; links to elsewhere are not followed."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return None
    return group[name]


def _datasets(h5py: Any, group: Any, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > MAX_DEPTH:
        raise ValueError(f"groups are nested more than {MAX_DEPTH} deep")
    for name in group:
        member = hdf5_member(h5py, group, name)
        if isinstance(member, h5py.Dataset):
            yield prefix + name, member
        elif isinstance(member, h5py.Group):
            yield from _datasets(h5py, member, f"{prefix}{name}/", depth + 1)


def hdf5_array(path: str, name: str, dataset: Any) -> NDArray[np.float32]:
    """The numbers of a data set, if they are some and lie in this file."""
    if dataset.dtype.kind not in "fiu" or dataset.shape is None or dataset.external or dataset.is_virtual:
        raise NetcError(f"{path}: '{name}' holds no numbers")
    if dataset.size * dataset.dtype.itemsize > max(os.path.getsize(path), 1) and dataset.compression is None:
        raise NetcError(f"{path}: '{name}' has more numbers than the file")
    array = np.ascontiguousarray(dataset[()], dtype=np.float32).reshape(dataset.shape)
    array.flags.writeable = False
    return array
