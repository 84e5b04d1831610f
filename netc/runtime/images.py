"""Images as inputs, prepared as Caffe's Classifier does: load, resize, crop, reorder channels, scale, mean.

An image is a float32 array (height, width, channels) with values in 0 … 1, channels in the order R, G, B.
Unlike newer versions of skimage, which the original calls, resizing does not smooth before it shrinks, and
at the border it repeats the outermost pixels.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from netc.frontend.weights import load_blob
from netc.ir.diagnostics import NetcError
from netc.runtime.memory import Array
from netc.runtime.shapes import show_shape

if TYPE_CHECKING:
    from PIL.Image import Image

# what skimage takes for the brightness of R, G, B
LUMINANCE = (0.2125, 0.7154, 0.0721)
CROPS = 10  # of an oversampled image: four corners and the centre, and all of them mirrored

ChannelOrder = Literal["bgr", "rgb"]


@dataclass(frozen=True)
class Preprocessing:
    """How images become the net's input.

    In this order: resize to ``image_dims`` (height, width; None is the net's input), crop the centre (or
    :data:`CROPS` crops with ``oversample``), put channels into ``channel_order``, multiply by ``raw_scale``,
    subtract ``mean`` (one value a channel, or channels x height x width), multiply by ``input_scale``.
    """

    mean: Array | None = None
    raw_scale: float = 255.0
    input_scale: float = 1.0
    channel_order: ChannelOrder = "bgr"
    image_dims: tuple[int, int] | None = None
    oversample: bool = False

    @property
    def rows(self) -> int:
        """How many rows of a batch one image takes."""
        return CROPS if self.oversample else 1


def load_image(path: str | os.PathLike[str], *, color: bool) -> Array:
    """An image file as (height, width, 3), or (height, width, 1) without color."""
    try:
        from PIL import Image
    except ImportError:
        raise NetcError(
            "reading images needs Pillow, which is not installed",
            remedy="pip install 'netc[images]', or pass arrays in .npy files",
        ) from None
    name = os.fspath(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(name) as image:
                return _as_floats(image, color)
    except (OSError, Image.DecompressionBombError) as error:
        raise NetcError(f"{name}: {why_unreadable(error, 'an image')}") from None
    except (ValueError, SyntaxError, EOFError) as error:  # what Pillow raises for damaged files
        raise NetcError(f"{name}: damaged image: {error}") from None


def preprocess(
    images: Sequence[Array], shape: tuple[int, int, int], how: Preprocessing, input_name: str = "data"
) -> Array:
    """The rows of a batch, (rows, channels, height, width), for an input of ``shape`` (without the batch)."""
    channels, height, width = shape
    if channels not in (1, 3):
        raise NetcError(f"input '{input_name}' has {channels} channels; images have 1 or 3")
    size = how.image_dims or (height, width)
    if size[0] < height or size[1] < width:
        raise NetcError(f"images of {size[0]}x{size[1]} are smaller than the input, {height}x{width}")
    mean = None if how.mean is None else _fitted_mean(how.mean, shape)
    rows = np.empty((len(images) * how.rows, channels, height, width), np.float32)
    for index, image in enumerate(images):
        resized = resize(image, size)
        crops = _oversampled(resized, height, width) if how.oversample else [_centre(resized, height, width)]
        for offset, crop in enumerate(crops):
            row = rows[index * how.rows + offset]
            row[...] = crop.transpose(2, 0, 1)[:: -1 if how.channel_order == "bgr" else 1]
            row *= np.float32(how.raw_scale)
            if mean is not None:
                row -= mean
            row *= np.float32(how.input_scale)
    return rows


def merge_crops(rows: Array, how: Preprocessing) -> Array:
    """The mean over the crops of each image."""
    if how.rows == 1:
        return rows
    return np.asarray(rows.reshape(-1, how.rows, *rows.shape[1:]).mean(axis=1))


def resize(image: Array, size: tuple[int, int]) -> Array:
    """Bilinear interpolation between pixel centres."""
    for axis, extent in enumerate(size):
        image = _resize_axis(image, axis, extent)
    return image


def read_mean(text: str) -> Array:
    """A mean as the command line gives it: ``104,117,123``, or the path of a .npy or .binaryproto file."""
    try:
        return np.array([float(v) for v in text.split(",")], np.float32)
    except ValueError:
        pass
    if not text.endswith(".npy"):
        mean: Array = load_blob(text)
    else:
        mean = read_npy(text)
    mean = np.asarray(mean, np.float32)
    while mean.ndim > 3 and mean.shape[0] == 1:  # a blob of one image
        mean = mean[0]
    if mean.ndim not in (1, 3):
        raise NetcError(
            f"{text}: a mean of shape {show_shape(mean.shape)}; expected channels x height x width"
        )
    return mean


def read_npy(path: str) -> Array:
    """One array of numbers from a .npy file."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise NetcError(f"{path}: {why_unreadable(error, 'an array')}") from None
    if not isinstance(array, np.ndarray):
        raise NetcError(f"{path}: holds several arrays; expected one")
    return array


def why_unreadable(error: Exception, what: str) -> str:
    """Why a file cannot be read: the system's words without the file's name, or the library's."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"cannot be read as {what}: {error}"


def _as_floats(image: Image, color: bool) -> Array:
    if image.mode.startswith("I"):  # grey, 16 bits
        grey = np.asarray(image, np.float32) / np.float32(65535)
        found = grey[..., np.newaxis]
    elif image.mode == "F":  # numbers are taken as they are
        found = np.array(image, np.float32)[..., np.newaxis]
    elif image.mode in ("1", "L", "LA"):
        found = np.asarray(image.convert("L"), np.float32)[..., np.newaxis] / np.float32(255)
    else:
        found = np.asarray(image.convert("RGB"), np.float32) / np.float32(255)
    if color:
        return np.repeat(found, 3, axis=2) if found.shape[2] == 1 else found
    return found if found.shape[2] == 1 else (found @ np.array(LUMINANCE, np.float32))[..., np.newaxis]


def _resize_axis(image: Array, axis: int, extent: int) -> Array:
    old = image.shape[axis]
    if old == extent:
        return image
    at = (np.arange(extent) + 0.5) * (old / extent) - 0.5
    low = np.clip(np.floor(at).astype(np.intp), 0, old - 1)
    high = np.minimum(low + 1, old - 1)
    weight = np.clip(at - low, 0, 1).astype(np.float32)
    weight = weight.reshape([-1 if a == axis else 1 for a in range(image.ndim)])
    left, right = np.take(image, low, axis), np.take(image, high, axis)
    return np.asarray(left + (right - left) * weight)


def _centre(image: Array, height: int, width: int) -> Array:
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def _oversampled(image: Array, height: int, width: int) -> list[Array]:
    bottom, right = image.shape[0] - height, image.shape[1] - width
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
    crops = [image[top : top + height, left : left + width] for top, left in corners]
    crops.append(_centre(image, height, width))
    return crops + [crop[:, ::-1] for crop in crops]


def _fitted_mean(mean: Array, shape: tuple[int, int, int]) -> Array:
    """The mean for each element of the input; of a larger mean image its centre."""
    channels, height, width = shape
    if mean.ndim == 1 and mean.size in (1, channels):
        return mean.reshape(-1, 1, 1)
    if mean.ndim == 3 and mean.shape[0] == channels and mean.shape[1] >= height and mean.shape[2] >= width:
        return _centre(mean.transpose(1, 2, 0), height, width).transpose(2, 0, 1)
    if mean.ndim == 1:
        raise NetcError(
            f"the mean has {mean.size} values; expected one, or one for each of {channels} channels"
        )
    raise NetcError(f"the mean is {show_shape(mean.shape)}, and the input {show_shape(shape)}")
