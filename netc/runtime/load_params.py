"""Gives every parameter of an imported net its values: from a file's weights by layer name, or its filler."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.frontend.imported_net import ImportedNet, ParamInfo
from netc.frontend.message import Message
from netc.frontend.weights import load_blob
from netc.ir.diagnostics import NetcError
from netc.ir.types import TensorType
from netc.runtime.fillers import fill
from netc.runtime.memory import Array, aligned_zeros, check_available

SHOWN_LAYERS = 3


@dataclass(frozen=True, slots=True)
class LoadReport:
    """Names of layers: ``loaded`` from the weights, ``filled`` for lack of any, ``ignored`` in the weights.

    ``warnings`` are texts for the user.
    """

    loaded: tuple[str, ...] = ()
    filled: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def bind_weights(
    imported: ImportedNet, weights: Mapping[str, Sequence[Any]] | None = None, seed: int = 0
) -> tuple[dict[str, Array], LoadReport]:
    """The array of every ``param`` argument by value name, and what became of the weights.

    Weights match by layer name. Of layers with one name the first with parameters takes them; of layers
    that share a parameter the last, as the original copies one layer after the other. The arrays may be
    views of those given. NetcError where a layer's blobs do not fit.
    """
    weights = {} if weights is None else weights
    _check_size(imported)
    arrays, warnings = loaded_params(imported, weights)
    owners = _owners(imported)
    filled: dict[str, None] = {}
    for info in imported.params:
        if info.value.name not in arrays:
            _check_repeated_name(info, owners, weights, warnings)
            arrays[info.value.name] = _first_values(info, seed)
            if info.learnable:
                filled.setdefault(info.layer)
    ignored = tuple(n for n in weights if n not in owners)
    if weights:
        warnings += _summary(tuple(filled), ignored, len(owners))
    loaded = tuple(n for n in owners if n in weights)
    return arrays, LoadReport(loaded, tuple(filled), ignored, tuple(dict.fromkeys(warnings)))


def loaded_params(
    imported: ImportedNet, weights: Mapping[str, Sequence[Any]]
) -> tuple[dict[str, Array], list[str]]:
    """What the weights give: arrays by value name, and warnings. Parameters of other layers are left out."""
    arrays: dict[str, Array] = {}
    warnings: list[str] = []
    for name, owner in _owners(imported).items():
        if name in weights:
            infos = [i for i in imported.params if i.owner == owner]
            warnings += _take_layer(infos, weights[name], arrays)
    return arrays, warnings


def _check_size(imported: ImportedNet) -> None:
    sizes = {info.value.name: math.prod(info.shape) for info in imported.params}
    check_available(sum(sizes.values()) * np.dtype(np.float32).itemsize, "the net's parameters")


def _owners(imported: ImportedNet) -> dict[str, int]:
    """Layer name -> the position of the first layer of that name that learns something."""
    owners: dict[str, int] = {}
    for info in imported.params:
        if info.learnable:
            owners.setdefault(info.layer, info.owner)
    return owners


def _summary(filled: Sequence[str], ignored: Sequence[str], layers: int) -> list[str]:
    """What a user should know of weights that do not match the net layer by layer."""
    if layers and len(filled) == layers:
        theirs, ours = _some(ignored), _some(filled)
        return [f"warning: the weights are those of another net: they have layers {theirs}, it has {ours}"]
    lines = []
    if filled:
        lines.append(f"warning: no weights for {_count(filled)}, which keep their fillers: {_some(filled)}")
    if ignored:
        lines.append(f"note: the net does not have {_count(ignored)} of the weights: {_some(ignored)}")
    return lines


def _take_layer(infos: Sequence[ParamInfo], blobs: Sequence[Any], arrays: dict[str, Array]) -> list[str]:
    """Put a layer's blobs in their places; the result are warnings."""
    layer, location = infos[0].layer, infos[0].location
    if isinstance(blobs, str) or not hasattr(blobs, "__len__"):
        raise NetcError(
            f"the weights of a layer are a list of arrays, got {type(blobs).__name__}",
            location=location,
            layer=layer,
        )
    if len(blobs) != len(infos):
        raise NetcError(
            f"the net has {_blobs(len(infos))} here, the weights have {_blobs(len(blobs))}",
            location=location,
            layer=layer,
        )
    warnings = []
    for info, blob in zip(infos, blobs, strict=True):
        array = _as_array(info, blob)
        if array.size and not (math.isfinite(array.min()) and math.isfinite(array.max())):
            warnings.append(f"warning: layer '{layer}': blob {info.index} holds NaN or infinity")
        arrays[info.value.name] = array.reshape(_value_shape(info))
    return warnings


def _as_array(info: ParamInfo, blob: Any) -> Array:
    try:
        given = np.asarray(blob)
        if given.dtype.kind not in "fiub":
            raise TypeError
        array = given.astype(np.float32, copy=False)
    except (TypeError, ValueError):
        raise NetcError(
            f"blob {info.index} is no array of numbers", location=info.location, layer=info.layer
        ) from None
    # legacy files have 4 axes always, the first of them 1; scalars have none, or one of extent 1
    if _without_leading_ones(array.shape) != _without_leading_ones(info.shape):
        raise NetcError(
            f"blob {info.index} must be {_show(info.shape)}, the weights have {_show(array.shape)}",
            location=info.location,
            layer=info.layer,
            remedy="the weights belong to another net, or the layer was renamed or changed since",
        )
    return array


def _file_values(info: ParamInfo, path: str) -> Array:
    """The array in the file that a layer names."""
    try:
        array = load_blob(path)
    except NetcError as error:
        error.location, error.layer = info.location, info.layer
        raise
    if array.size != math.prod(info.shape):
        raise NetcError(
            f"{path} has {array.size} numbers, {math.prod(info.shape)} are needed for {_show(info.shape)}",
            location=info.location,
            layer=info.layer,
        )
    return array.astype(np.float32)


def _first_values(info: ParamInfo, seed: int) -> Array:
    shape = _value_shape(info)
    if info.file is not None:
        return _file_values(info, info.file).reshape(shape)
    if info.stored is not None:
        return _stored_values(info, info.stored).reshape(shape)
    if info.initial is not None:
        return info.initial.astype(np.float32).reshape(shape)
    array = aligned_zeros(shape, what=f"parameter {info.value.name}")
    try:
        fill(array, info.filler, info.value.name, seed)
    except NetcError as error:
        error.at(info.location, info.layer)
        raise
    return array


def _stored_values(info: ParamInfo, blob: Message) -> Array:
    """A blob that the definition holds inline."""
    numbers = blob.numbers("double_data") or blob.numbers("data")
    if len(numbers) != math.prod(info.shape):
        raise NetcError(
            f"blob {info.index} must be {_show(info.shape)}, the one here holds {len(numbers)} numbers",
            location=blob.location,
            layer=info.layer,
        )
    return np.array(numbers, np.float32)


def _check_repeated_name(
    info: ParamInfo, owners: Mapping[str, int], weights: Mapping[str, Any], warnings: list[str]
) -> None:
    if info.learnable and info.layer in weights and owners[info.layer] != info.owner:
        warnings.append(
            f"warning: layer '{info.layer}': an earlier layer has the same name and took the weights; "
            "this one keeps its filler"
        )


def _value_shape(info: ParamInfo) -> tuple[int, ...]:
    assert isinstance(info.value.type, TensorType)
    return info.value.type.static_shape


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    first = next((i for i, extent in enumerate(shape) if extent != 1), len(shape))
    return shape[first:]


def _show(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a scalar"


def _blobs(count: int) -> str:
    return f"{count} parameter blob{'' if count == 1 else 's'}"


def _count(layers: Sequence[str]) -> str:
    return f"{len(layers)} layer{'' if len(layers) == 1 else 's'}"


def _some(layers: Sequence[str]) -> str:
    return ", ".join(map(str, layers[:SHOWN_LAYERS])) + (", …" if len(layers) > SHOWN_LAYERS else "")
