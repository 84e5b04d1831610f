"""Turns the archives in which MNIST and CIFAR-10 are published into the databases of Caffe's examples."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netc.ir.diagnostics import NetcError
from netc.runtime.data.datum import Datum, write_datum
from netc.runtime.data.download import Published, download
from netc.runtime.data.draws import item_draws
from netc.runtime.data.mean_image import mean_image, write_binaryproto
from netc.runtime.data.write_database import new_database
from netc.runtime.shapes import show_shape

OnProgress = Callable[[int, int], None]
Say = Callable[[str], None]
Pixels = NDArray[np.uint8]

_MAX_BYTES = 2**28  # of an archive's content
_MNIST_PARTS = {"train": "train", "test": "t10k"}  # and what the names of their files begin with
_PAIR_SEED = 1701
_IMAGES, _LABELS = 2051, 2049  # the first four bytes of MNIST's files
_CIFAR_SHAPE = (3, 32, 32)
_CIFAR_RECORD = 1 + 3 * 32 * 32  # a label and the pixels


@dataclass(frozen=True)
class Source:
    """Where archives are: a folder to look in, and one to download what is not there to."""

    folder: Path
    downloads: Path
    say: Say
    on_progress: OnProgress | None = None

    def is_there(self, made: Path) -> bool:
        """Whether what would be made is there already, whole, as unfinished files have other names."""
        found = os.path.exists(made)
        if found:
            self.say(f"{made}: is there already")
        return found

    def find(self, file: Published, others: tuple[str, ...] = ()) -> Path:
        """The archive, or what is found of it unpacked under one of the ``others``; downloaded if need be."""
        for name in (file.name, *others):
            if os.path.exists(self.folder / name):
                return self.folder / name
        if self.folder != self.downloads:
            raise NetcError(
                f"{self.folder}: there is no {file.name}", remedy="without --from it is downloaded"
            )
        self.say(f"downloading {file.url}")
        _make_folder(self.downloads)
        download(file, self.downloads / file.name, self.on_progress)
        return self.downloads / file.name


@dataclass(frozen=True)
class DataSet:
    """``convert`` makes the files of a backend in a folder; ``terms`` say whose data it is."""

    title: str
    terms: str
    convert: Callable[[Source, Path, str], list[Path]]


def _mnist(source: Source, target: Path, backend: str) -> list[Path]:
    made = []
    for part in _MNIST_PARTS:
        made.append(target / f"mnist_{part}_{backend}")
        if not source.is_there(made[-1]):
            images, labels = _digits(source, part)
            _write(made[-1], backend, zip(images[:, np.newaxis], map(int, labels), strict=True), width=8)
    return made


def _mnist_siamese(source: Source, target: Path, backend: str) -> list[Path]:
    made = []
    for part in _MNIST_PARTS:
        made.append(target / f"mnist_siamese_{part}_{backend}")
        if not source.is_there(made[-1]):
            _write(made[-1], backend, _pairs(*_digits(source, part), part), width=8)
    return made


def _cifar10(source: Source, target: Path, backend: str) -> list[Path]:
    files = {
        "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        "test": ("test_batch.bin",),
    }
    made = []
    for part, names in files.items():
        made.append(target / f"cifar10_{part}_{backend}")
        if not source.is_there(made[-1]):
            found = source.find(_CIFAR, ("cifar-10-batches-bin", names[0]))
            _write(made[-1], backend, _pictures(found, names), width=5)
    mean = target / "mean.binaryproto"
    if not source.is_there(mean):
        write_binaryproto(mean, mean_image(made[0], backend.upper()).mean)
    return [*made, mean]


DATA_SETS = {
    "mnist": DataSet(
        "MNIST, handwritten digits",
        "by Yann LeCun, Corinna Cortes and Christopher J. C. Burges, under the Creative Commons "
        "Attribution-ShareAlike 3.0 license",
        _mnist,
    ),
    "mnist-siamese": DataSet(
        "pairs of MNIST's handwritten digits",
        "MNIST is by Yann LeCun, Corinna Cortes and Christopher J. C. Burges, under the Creative Commons "
        "Attribution-ShareAlike 3.0 license",
        _mnist_siamese,
    ),
    "cifar10": DataSet(
        "CIFAR-10, pictures of ten kinds of things",
        "please cite Alex Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        _cifar10,
    ),
}


def _digits(source: Source, part: str) -> tuple[Pixels, Pixels]:
    """The images (n, height, width) and the labels (n) of a part of MNIST."""
    stem = _MNIST_PARTS[part]
    images, labels = (
        source.find(_MNIST[f"{stem}-{kind}-ubyte.gz"], (f"{stem}-{kind}-ubyte", f"{stem}.{kind}-ubyte"))
        for kind in ("images-idx3", "labels-idx1")
    )
    pixels, targets = _idx(images, _IMAGES, 3), _idx(labels, _LABELS, 1)
    if len(pixels) != len(targets) or not pixels.size:
        raise NetcError(f"{images}: {len(pixels)} images, and {labels} has {len(targets)} labels")
    return pixels, targets


def _pairs(images: Pixels, labels: Pixels, part: str) -> Iterator[tuple[Pixels, int]]:
    """As many pairs as images, drawn with a seed of their own: two channels; 1 where the digits are equal."""
    drawn = item_draws(_PAIR_SEED, f"pairs.{part}", 0, len(images))[:, :2] % np.uint64(len(images))
    for first, second in drawn.astype(np.intp):
        yield images[[first, second]], int(labels[first] == labels[second])


def _idx(path: Path, magic: int, rank: int) -> Pixels:
    """The array in one of MNIST's files, unpacked or not."""
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else open(path, "rb") as content:
            data = content.read(_MAX_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise NetcError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    head = 4 + 4 * rank
    if len(data) < head or struct.unpack_from(">I", data)[0] != magic:
        raise NetcError(f"{path}: is not one of MNIST's files")
    shape = struct.unpack_from(f">{rank}I", data, 4)
    values = np.frombuffer(data, np.uint8, offset=head)
    if values.size != np.prod(shape, dtype=object):
        raise NetcError(f"{path}: damaged: {values.size} bytes for {show_shape(shape)}")
    return values.reshape(shape)


def _pictures(found: Path, names: tuple[str, ...]) -> Iterator[tuple[Pixels, int]]:
    """The records of some of CIFAR's files, in the archive, in a folder, or beside one of them."""
    for name, data in _members(found, names):
        if not data or len(data) % _CIFAR_RECORD:
            raise NetcError(f"{found}: {name}: {len(data)} bytes; expected a multiple of {_CIFAR_RECORD}")
        for row in np.frombuffer(data, np.uint8).reshape(-1, _CIFAR_RECORD):
            yield row[1:].reshape(_CIFAR_SHAPE), int(row[0])


def _members(found: Path, names: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    try:
        if found.suffix != ".gz":
            folder = found if found.is_dir() else found.parent
            for name in names:
                with open(folder / name, "rb") as file:
                    yield name, file.read(_MAX_BYTES)
            return
        with tarfile.open(found, "r:gz") as archive:
            for name in names:
                member = archive.extractfile(f"cifar-10-batches-bin/{name}") or io.BytesIO()
                yield name, member.read(_MAX_BYTES)
    except KeyError:
        raise NetcError(f"{found}: there is no {name} in it") from None
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise NetcError(f"{found}: damaged archive: {error}") from None
    except OSError as error:
        raise NetcError(f"{error.filename or found}: {error.strerror or error}") from None


def _write(path: Path, backend: str, items: Iterator[tuple[Pixels, int]], *, width: int) -> None:
    _make_folder(path.parent)
    with new_database(path, backend) as put:
        for number, (image, label) in enumerate(items):
            channels, *extents = image.shape
            datum = Datum(channels, extents[0], extents[1], image.tobytes(), label)
            put(f"{number:0{width}d}".encode(), write_datum(datum))


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NetcError(f"{path}: {error.strerror or error}") from None


_MNIST = {
    name: Published(f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}", sha256, size)
    for name, sha256, size in (
        (
            "train-images-idx3-ubyte.gz",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            9_912_422,
        ),
        (
            "train-labels-idx1-ubyte.gz",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            28_881,
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            1_648_877,
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            4_542,
        ),
    )
}
_CIFAR = Published(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    170_052_171,
)
