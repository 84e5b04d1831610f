"""First values of parameters, drawn as Caffe's fillers draw them (not the same numbers: the same laws)."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from netc.frontend.message import Message
from netc.frontend.suggest import did_you_mean
from netc.frontend.variance_norm import fan
from netc.ir.diagnostics import NetcError

if TYPE_CHECKING:
    from numpy.random import Generator  # loaded where numbers are drawn

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Draw = Callable[[Shape, Message, "Generator"], Array]


def fill(array: Array, filler: Message | None, name: str, seed: int = 0) -> None:
    """Write first values into a float32 array; zeros where there is no filler.

    The random numbers depend on the parameter's name and the seed, on nothing else.
    """
    if filler is None:
        array[...] = 0
        return
    kind = filler.text("type")
    draw = FILLERS.get(kind)
    if draw is None:
        raise NetcError(
            f"unknown filler type '{kind}'",
            location=filler.where("type"),
            remedy=did_you_mean(kind, FILLERS) or f"fillers are {', '.join(FILLERS)}",
        )
    generator = np.random.default_rng([seed % 2**64, zlib.crc32(name.encode())])
    array[...] = draw(array.shape, filler, generator)


def _constant(shape: Shape, filler: Message, _: Generator) -> Array:
    return np.full(shape, filler.number("value"), np.float32)


def _uniform(shape: Shape, filler: Message, generator: Generator) -> Array:
    return _between(filler.number("min"), filler.number("max"), shape, generator)


def _gaussian(shape: Shape, filler: Message, generator: Generator) -> Array:
    """Normal; with ``sparse`` only so many inputs of every output, on average, are not zero."""
    values = _normal(filler.number("mean"), filler.number("std"), shape, generator)
    sparse = filler.integer("sparse")
    if sparse < 0:
        return values
    if not shape:
        raise NetcError("sparse needs a parameter with axes", location=filler.where("sparse"))
    kept = generator.random(shape, np.float32) < sparse / shape[0]
    return np.asarray(values * kept)


def _positive_unitball(shape: Shape, filler: Message, generator: Generator) -> Array:
    """Non-negative; the values of every output sum to 1."""
    del filler
    values = generator.random(shape, np.float32)
    rows = values.reshape(shape[0] if shape else 1, -1)
    rows /= rows.sum(axis=1, keepdims=True)
    return values


def _xavier(shape: Shape, filler: Message, generator: Generator) -> Array:
    """Uniform with the variance 1 / n."""
    scale = math.sqrt(3 / fan(shape, filler))
    return _between(-scale, scale, shape, generator)


def _msra(shape: Shape, filler: Message, generator: Generator) -> Array:
    """Normal with the variance 2 / n."""
    return _normal(0.0, math.sqrt(2 / fan(shape, filler)), shape, generator)


def _bilinear(shape: Shape, filler: Message, generator: Generator) -> Array:
    """The kernel of a Deconvolution that interpolates, the same for all channels."""
    del generator
    if len(shape) != 4 or shape[2] != shape[3]:
        shown = "x".join(map(str, shape))
        raise NetcError(
            f"the bilinear filler needs a square kernel of 4 axes, got {shown}", location=filler.where("type")
        )
    width = shape[3]
    factor = math.ceil(width / 2)
    centre = (width - 1) / (2 * factor)
    slope = 1 - np.abs(np.arange(width) / factor - centre)
    return np.broadcast_to(np.outer(slope, slope), shape)


FILLERS: Mapping[str, Draw] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}


def _between(low: float, high: float, shape: Shape, generator: Generator) -> Array:
    return generator.random(shape, np.float32) * np.float32(high - low) + np.float32(low)


def _normal(mean: float, deviation: float, shape: Shape, generator: Generator) -> Array:
    return generator.standard_normal(shape, np.float32) * np.float32(deviation) + np.float32(mean)
