"""Reads what a net is run on: arrays in .npy and .npz files, or images and how they become input."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from netc.ir.diagnostics import NetcError
from netc.runtime.images import ChannelOrder, Preprocessing, read_mean, read_npy, why_unreadable
from netc.runtime.memory import Array

_ARRAY_SUFFIXES = (".npy", ".npz")


def are_arrays(files: Sequence[str]) -> bool:
    """Whether files hold arrays, not images; NetcError where both kinds are given."""
    arrays = [name for name in files if name.lower().endswith(_ARRAY_SUFFIXES)]
    if arrays and len(arrays) != len(files):
        other = next(name for name in files if name not in arrays)
        raise NetcError(f"{other}: images and arrays cannot be mixed (there is {arrays[0]} too)")
    return bool(arrays)


def preprocessing(
    mean: str | None,
    raw_scale: float,
    input_scale: float,
    channel_order: ChannelOrder,
    image_dims: str | None = None,
    oversample: bool = False,
) -> Preprocessing:
    """How images become input, from the options of a command; reads the file of the mean."""
    return Preprocessing(
        mean=None if mean is None else read_mean(mean),
        raw_scale=raw_scale,
        input_scale=input_scale,
        channel_order=channel_order,
        image_dims=None if image_dims is None else _size(image_dims),
        oversample=oversample,
    )


def read_arrays(files: Sequence[str], input_names: Sequence[str]) -> dict[str, Array]:
    """Input name -> array, from ``x.npz`` (keys are names), ``NAME=x.npy``, or ``x.npy`` for a sole input."""
    found: dict[str, Array] = {}
    for text in files:
        name, path = _split(text)
        if path.lower().endswith(".npz"):
            if name is not None:
                raise NetcError(f"{text}: an .npz names its arrays itself")
            read = _read_npz(path)
        else:
            read = {_sole(path, input_names) if name is None else name: read_npy(path)}
        twice = sorted(set(found) & set(read))
        if twice:
            raise NetcError(f"{path}: the input '{twice[0]}' is given twice")
        found.update(read)
    return found


def write_npz(path: str, arrays: dict[str, Array]) -> None:
    """Write arrays under any names (``numpy.savez`` cannot take an array called ``file``)."""
    try:
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
    except OSError as error:
        raise NetcError(f"{path}: {error.strerror or error}") from None


def read_labels(path: str) -> list[str]:
    """The names of the classes, one a line."""
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise NetcError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise NetcError(f"{path}: not UTF-8 text at byte {error.start}") from None


def _size(text: str) -> tuple[int, int]:
    """Height and width from ``256,256``."""
    parts = text.split(",")
    if len(parts) != 2 or not all(p.strip().isdecimal() and int(p) > 0 for p in parts):
        raise NetcError(f"'{text}' is no size of images", remedy="write height and width: 256,256")
    return int(parts[0]), int(parts[1])


def _split(text: str) -> tuple[str | None, str]:
    """``NAME=file`` or ``file``; a file that exists under the whole text is that file."""
    name, equals, path = text.partition("=")
    return (name, path) if equals and not Path(text).exists() else (None, text)


def _sole(path: str, input_names: Sequence[str]) -> str:
    if len(input_names) != 1:
        raise NetcError(
            f"{path}: which input is it for? The net has {', '.join(input_names) or 'none'}",
            remedy=f"write NAME={path}",
        )
    return input_names[0]


def _read_npz(path: str) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise NetcError(f"{path}: holds no named arrays")
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise NetcError(f"{path}: {why_unreadable(error, 'arrays')}") from None
