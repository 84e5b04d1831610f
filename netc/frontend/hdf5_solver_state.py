"""The state of a solver in HDF5, as the original writes it: ``/iter``, ``/learned_net``, ``/history/<i>``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.frontend.atomic_file import atomic_path
from netc.frontend.hdf5_weights import hdf5_array, hdf5_library, hdf5_member, open_hdf5
from netc.ir.diagnostics import NetcError

MAX_HISTORIES = 100_000
_HISTORY = "history"
_RESUME = "netc_resume"  # a data set of our own, which the original does not look at

Array = NDArray[np.float32]


def read_hdf5_state(path: str) -> tuple[int, str, int, list[Array], bytes | None]:
    """The iteration, the file of the weights, the step, the histories, and netc's own part where it is."""
    h5py = hdf5_library()
    with open_hdf5(h5py, path) as file:
        history = hdf5_member(h5py, file, _HISTORY)
        if not isinstance(history, h5py.Group) or "iter" not in file:
            raise NetcError(f"{path}: no 'iter' and 'history' in it: not an HDF5 file of a solver's state")
        names = sorted((name for name in history if name.isascii() and name.isdigit()), key=int)
        if names != [str(index) for index in range(len(names))] or len(names) > MAX_HISTORIES:
            raise NetcError(f"{path}: some of the histories are missing")
        arrays = [hdf5_array(path, f"history/{name}", _dataset(h5py, path, history, name)) for name in names]
        resume = hdf5_member(h5py, file, _RESUME)
        return (
            _integer(h5py, path, file, "iter"),
            _text(h5py, path, file, "learned_net"),
            _integer(h5py, path, file, "current_step") if "current_step" in file else 0,
            arrays,
            None if resume is None else bytes(np.asarray(resume[()], np.uint8)),
        )


def write_hdf5_state(
    path: str | os.PathLike[str],
    iteration: int,
    learned_net: str,
    current_step: int,
    history: Sequence[Array],
    resume: bytes | None,
) -> None:
    """Write a state; the file appears under its name when it is whole."""
    h5py = hdf5_library()
    with atomic_path(path) as temporary, h5py.File(temporary, "w", libver=("earliest", "v108")) as file:
        file.create_dataset("iter", data=np.array([iteration], np.int32))
        _write_text(h5py, file, "learned_net", learned_net)
        file.create_dataset("current_step", data=np.array([current_step], np.int32))
        group = file.create_group(_HISTORY)
        for index, array in enumerate(history):
            group.create_dataset(str(index), data=np.asarray(array, "<f4"))
        if resume is not None:
            file.create_dataset(_RESUME, data=np.frombuffer(resume, np.uint8))


def _write_text(h5py: Any, file: Any, name: str, text: str) -> None:
    """A string of fixed length with a zero at its end: the original reads no other kind."""
    encoded = text.encode("utf-8") + b"\0"
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(encoded))
    kind.set_strpad(h5py.h5t.STR_NULLTERM)
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    dataset = h5py.h5d.create(file.id, name.encode(), kind, space)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(encoded, f"S{len(encoded)}"), mtype=kind)


def _dataset(h5py: Any, path: str, group: Any, name: str) -> Any:
    found = hdf5_member(h5py, group, name)
    if not isinstance(found, h5py.Dataset):
        raise NetcError(f"{path}: '{name}' is no data set")
    return found


def _integer(h5py: Any, path: str, file: Any, name: str) -> int:
    dataset = _dataset(h5py, path, file, name)
    if dataset.size != 1 or dataset.dtype.kind not in "iu":
        raise NetcError(f"{path}: '{name}' is no integer")
    return int(np.asarray(dataset[()]).reshape(()))


def _text(h5py: Any, path: str, file: Any, name: str) -> str:
    if name not in file:
        return ""
    value = _dataset(h5py, path, file, name)[()]
    if not isinstance(value, bytes):
        raise NetcError(f"{path}: '{name}' is no text")
    return value.split(b"\0")[0].decode("utf-8", "replace")
