"""Writes features to files: arrays in .npz, .npy and HDF5, or a record a row in an LMDB database."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from netc.cli.inputs import write_npz
from netc.ir.diagnostics import NetcError
from netc.pycaffe.io import array_to_datum
from netc.runtime.data.lmdb_writer import LmdbWriter
from netc.runtime.memory import Array
from netc.runtime.shapes import show_shape

SUFFIXES = (".npz", ".npy", ".h5", ".hdf5")
DATABASES = ("lmdb",)
_KEY_DIGITS = 10
_DATUM_AXES = 3  # channels, height, width


def check_outputs(paths: list[str], database: str | None) -> None:
    """Raise NetcError where a file could not be written, before anything is computed."""
    if database is not None:
        if database.lower() not in DATABASES:
            raise NetcError(
                f"features are not written to {database} databases",
                remedy="say lmdb, or name files *.npz, *.npy or *.h5",
            )
        for path in paths:
            if Path(path).exists():
                raise NetcError(f"{path}: exists already", remedy="remove it or name another")
        return
    for path in paths:
        if Path(path).suffix.lower() not in SUFFIXES:
            raise NetcError(
                f"{path}: features are written to files with the suffix {', '.join(SUFFIXES)}",
                remedy="for an LMDB database say lmdb as the last argument",
            )


def write_features(path: str, name: str, features: Array, database: str | None) -> None:
    """Write the rows of the blob ``name``."""
    if database is not None:
        _write_lmdb(path, name, features)
        return
    suffix = Path(path).suffix.lower()
    if suffix == ".npz":
        write_npz(path, {name: features})
        return
    try:
        if suffix == ".npy":
            with open(path, "wb") as file:
                np.save(file, features, allow_pickle=False)
        else:
            with _h5py().File(path, "w") as file:
                file.create_dataset(name, data=features)
    except OSError as error:
        raise NetcError(f"{path}: {error.strerror or error}") from None


def _write_lmdb(path: str, name: str, features: Array) -> None:
    """As the original: the key is the row's number, the value a ``Datum`` with the row as its floats."""
    if features.ndim > 1 + _DATUM_AXES:
        raise NetcError(
            f"{path}: a record holds channels x height x width, and the blob '{name}' is "
            f"{show_shape(features.shape)}",
            remedy="write .npz",
        )
    shape = (*features.shape, *[1] * (1 + _DATUM_AXES - features.ndim))
    with LmdbWriter(path) as writer:
        for number, row in enumerate(features.reshape(shape)):
            writer.put(b"%0*d" % (_KEY_DIGITS, number), array_to_datum(row).SerializeToString())


def _h5py() -> Any:
    try:
        return import_module("h5py")
    except ImportError:
        raise NetcError("writing HDF5 needs h5py, which is not installed", remedy="write .npz") from None
