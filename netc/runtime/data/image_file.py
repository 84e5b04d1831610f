"""Decodes image files to pixels as OpenCV gives them to Caffe: uint8, channels in the order B, G, R."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.ir.diagnostics import NetcError
from netc.runtime.images import why_unreadable

Pixels = NDArray[np.uint8]

# what Pillow raises for damaged files
_DAMAGED = (
    ArithmeticError,
    EOFError,
    LookupError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)


def read_image(path: Path, *, color: bool) -> Pixels:
    """The pixels of a file: (3, height, width) as B, G, R, or (1, height, width)."""
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise NetcError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    return decode_image(data, color, str(path))


def decode_image(data: bytes, color: bool | None, name: str) -> Pixels:
    """The pixels (channels, height, width).

    With ``color`` None an image keeps its channels: 1, 3, or 4 with alpha. ``name`` says in errors where
    the bytes come from.
    """
    images = library()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with images.open(io.BytesIO(data)) as image:
                return _pixels(image, color)
    except (OSError, images.DecompressionBombError) as error:
        raise NetcError(f"{name}: {why_unreadable(error, 'an image')}") from None
    except _DAMAGED as error:
        raise NetcError(f"{name}: damaged image: {error}") from None


def _pixels(image: Any, color: bool | None) -> Pixels:
    if color is None:
        color = image.mode not in ("1", "L", "LA", "La", "F") and not image.mode.startswith("I")
        if image.mode == "RGBA":
            return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)[[2, 1, 0, 3]])
    if image.mode.startswith("I"):  # 16 bits: the upper half counts
        grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return np.repeat(grey[np.newaxis], 3 if color else 1, axis=0)
    if not color:
        image.draft("L", None)  # of a JPEG the brightness that it holds, not one computed from its colours
        return np.asarray(image.convert("L"), np.uint8)[np.newaxis]
    return np.ascontiguousarray(np.asarray(image.convert("RGB"), np.uint8).transpose(2, 0, 1)[::-1])


def library() -> Any:
    """Pillow, which decodes and encodes images."""
    try:
        from PIL import Image
    except ImportError:
        raise NetcError(
            "reading images needs Pillow, which is not installed", remedy="pip install 'netc[images]'"
        ) from None
    return Image
