"""Puts the images of a list into a database, as the original's convert_imageset does."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netc.ir.diagnostics import NetcError
from netc.runtime.data.datum import Datum, write_datum
from netc.runtime.data.draws import permutation
from netc.runtime.data.image_file import Pixels, decode_image, library, read_image
from netc.runtime.data.image_list import read_list
from netc.runtime.data.resize import resize
from netc.runtime.data.write_database import new_database

_JPEG_QUALITY = 95  # OpenCV's
_SEED = 0  # of the order: the same list gives the same database

OnProgress = Callable[[int, int], None]
OnSkip = Callable[[str], None]


@dataclass(frozen=True)
class ImageOptions:
    """``size`` is (height, width), 0 where images keep theirs.

    ``encoding`` is None for raw pixels, "" for the encoding that each file's name says, or one as ``png``.
    """

    color: bool = True
    size: tuple[int, int] = (0, 0)
    encoding: str | None = None
    check_size: bool = False


def convert_images(
    root: str,
    listed: Path,
    target: Path,
    options: ImageOptions,
    *,
    backend: str = "lmdb",
    shuffle: bool = False,
    on_skip: OnSkip,
    on_progress: OnProgress | None = None,
) -> int:
    """The number of images in the new database.

    ``root`` is put in front of the paths as it is. A file that cannot be read is left out, and ``on_skip``
    gets the reason.
    """
    if options.encoding:
        _check_encoding(options.encoding, color=options.color)
    library()  # what is missing here is missing for every file
    lines = read_list(listed)
    if shuffle:
        lines = [lines[place] for place in permutation(_SEED, "convert-imageset", 0, len(lines))]
    count = 0
    size: int | None = None
    with new_database(target, backend) as put:
        for number, (name, label) in enumerate(lines):
            try:
                datum = _datum(Path(root + name), label, options)
            except NetcError as error:
                on_skip(error.message)
                continue
            size = len(datum.data) if size is None else size
            if options.check_size and len(datum.data) != size:
                raise NetcError(
                    f"{root + name}: {len(datum.data)} bytes of data, and the first image has {size}",
                    remedy="resize all to one size: --resize_height and --resize_width",
                )
            put(f"{number:08d}_{name}".encode(errors="surrogateescape"), write_datum(datum))
            count += 1
            if on_progress is not None:
                on_progress(number + 1, len(lines))
        if count == 0:
            raise NetcError(f"{listed}: none of the {len(lines)} images can be read")
    return count


def _datum(path: Path, label: int, options: ImageOptions) -> Datum:
    image = read_image(path, color=options.color)
    if options.size != (0, 0):
        image = resize(image, *options.size)
    if options.encoding is None:
        channels, height, width = image.shape
        return Datum(channels, height, width, image.tobytes(), label)
    suffix = path.suffix.lower().lstrip(".")
    encoding = options.encoding or suffix
    if options.color and options.size == (0, 0) and _same(suffix, encoding):
        data = path.read_bytes()  # as it is
    else:
        data = _encode(path, image, encoding)
    # the original leaves the extents of encoded images out
    return Datum(0, 0, 0, data, label, encoded=True)


def _encode(path: Path, image: Pixels, encoding: str) -> bytes:
    kind = _format(encoding)
    rgb = np.ascontiguousarray(image[::-1].transpose(1, 2, 0))
    file = io.BytesIO()
    picture = library().fromarray(rgb if image.shape[0] == 3 else rgb[..., 0])
    try:
        picture.save(file, kind, **({"quality": _JPEG_QUALITY} if kind == "JPEG" else {}))
    except (OSError, ValueError, KeyError, struct.error) as error:  # each format has limits of its own
        raise NetcError(
            f"{path}: an image of {rgb.shape[1]} x {rgb.shape[0]} cannot be encoded as '{encoding}': {error}",
            remedy="choose another --encode_type, for example png, or resize the images",
        ) from None
    return file.getvalue()


def _check_encoding(encoding: str, *, color: bool) -> None:
    """Refuse what could not be decoded when the database is used."""
    image = np.zeros((3 if color else 1, 8, 8), np.uint8)
    try:
        decode_image(_encode(Path(), image, encoding), color, "")
    except NetcError:
        raise _no_encoding(encoding) from None


def _format(encoding: str) -> str:
    """Pillow's name of an encoding that it can write, and read again when the database is used."""
    images = library()
    kind = images.registered_extensions().get(f".{encoding.lower()}")
    if kind not in images.SAVE or kind not in images.OPEN:
        raise _no_encoding(encoding)
    return str(kind)


def _no_encoding(encoding: str) -> NetcError:
    return NetcError(f"images cannot be encoded as '{encoding}'", remedy="for example --encode_type png")


def _same(suffix: str, encoding: str) -> bool:
    return suffix == encoding or {suffix, encoding} <= {"jpg", "jpeg"}
