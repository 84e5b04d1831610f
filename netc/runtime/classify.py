"""Runs a module over rows of a batch: as many at a time as it takes, the last batch filled up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.frontend.message import Message
from netc.ir.diagnostics import NetcError
from netc.runtime.memory import Array
from netc.runtime.module import Module
from netc.runtime.shapes import show_shape

LARGEST_BATCH = 16  # where the module takes any number of rows


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The input that takes images: its name and (batch, channels, height, width); None may be any size."""

    name: str
    batch: int | None
    channels: int
    height: int | None
    width: int | None


def image_input(inputs: dict[str, tuple[int | str, ...]]) -> ImageInput:
    """The only input of a net, which must be one for images."""
    if len(inputs) != 1:
        raise NetcError(
            f"images can be given to a net with one input; this one has {', '.join(inputs) or 'none'}",
            remedy="give arrays: an .npz file with one array for each input",
        )
    ((name, shape),) = inputs.items()
    if len(shape) != 4 or not isinstance(shape[1], int):
        raise NetcError(f"input '{name}' is {show_shape(shape)}; images need batch x channels x h x w")
    batch, channels, height, width = (d if isinstance(d, int) else None for d in shape)
    assert channels is not None
    return ImageInput(name, batch, channels, height, width)


def input_ranks(message: Message) -> dict[str, int | None]:
    """The blobs that a net's layers take from the caller, and how many axes each has; None if not stated."""
    ranks: dict[str, int | None] = {}
    for layer in message.messages("layer"):
        if layer.list("bottom") or layer.text("type") == "DummyData":
            continue
        shapes = layer.message("input_param").messages("shape")
        for index, top in enumerate(layer.texts("top")):
            stated = shapes[min(index, len(shapes) - 1)] if shapes else None
            ranks[top] = None if stated is None else len(stated.list("dim"))
    return ranks


def run_rows(module: Module, name: str, rows: Array, batch: int) -> dict[str, Array]:
    """All results for the rows (kept blobs too), ``batch`` rows at a time.

    NetcError where a result has no row for each row of the input, and there are several batches.
    """
    parts: dict[str, list[Array]] = {}
    for start in range(0, len(rows), batch):
        chunk = rows[start : start + batch]
        full = chunk
        if len(chunk) < batch:
            full = np.zeros((batch, *rows.shape[1:]), np.float32)
            full[: len(chunk)] = chunk
        module.run(**{name: full})
        for result in module.compiled.main.result_names:
            parts.setdefault(result, []).append(_own_rows(result, module.blob(result), batch, len(chunk)))
    return {result: found[0] if len(found) == 1 else np.concatenate(found) for result, found in parts.items()}


def _own_rows(name: str, result: Array, batch: int, used: int) -> Array:
    if used == batch:
        return result
    if result.ndim == 0 or result.shape[0] != batch:
        raise NetcError(
            f"the output '{name}' is {show_shape(result.shape)}, not one row for each of {batch} images",
            remedy="give as many images as the net's batch has rows",
        )
    return result[:used]
