"""Gives every parameter of a net its values: from trained weights by layer name, else as its filler says."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from netc.frontend.imported_net import ImportedNet, ParamInfo
from netc.frontend.message import Message
from netc.frontend.weights import load_weights
from netc.ir.diagnostics import NetcError
from netc.ir.types import TensorType
from netc.runtime.fillers import fill
from netc.runtime.memory import Array, aligned_zeros, check_available
from netc.runtime.params import ParamEntry
from netc.runtime.shapes import show_shape

WeightSource: TypeAlias = "str | os.PathLike[str] | Mapping[str, Sequence[Any]] | None"
SHOWN_LAYERS = 3


def read_weights(source: WeightSource) -> Mapping[str, Sequence[Any]]:
    """Layer name -> arrays, from a file or as the caller has them; empty for None."""
    if source is None:
        return {}
    if isinstance(source, Mapping):
        return source
    return load_weights(source)


def param_entries(net: ImportedNet) -> tuple[ParamEntry, ...]:
    """The parameters of a net, shared ones once."""
    uses: dict[str, list[tuple[str, int]]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for info in net.params:
        assert isinstance(info.value.type, TensorType)
        shapes[info.value.name] = info.value.type.static_shape
        if info.learnable:
            uses.setdefault(info.value.name, []).append((info.layer, info.index))
    return tuple(ParamEntry(name, shape, tuple(uses.get(name, ()))) for name, shape in shapes.items())


def initial_params(
    net: ImportedNet, weights: Mapping[str, Sequence[Any]]
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Value name -> array for all parameters, and warnings. NetcError where shapes do not agree.

    As in Caffe: layers are found by name, the first one of a name gets the weights; a layer that the
    weights lack keeps its filler; weights of unknown layers are ignored.
    """
    check_available(
        sum(4 * math.prod(shape) for shape in {i.value.name: i.shape for i in net.params}.values()),
        "the net's parameters",
    )
    arrays: dict[str, Array] = {}
    first_owner: dict[str, int] = {}
    unfilled: list[str] = []
    for info in net.params:
        owner = first_owner.setdefault(info.layer, info.owner)
        given = weights.get(info.layer) if info.learnable and owner == info.owner else None
        if given is not None:
            arrays[info.value.name] = _trained(net, info, given)
        elif info.value.name not in arrays:
            arrays[info.value.name] = _initial(info)
            if info.learnable and info.stored is None and info.layer not in unfilled:
                unfilled.append(info.layer)
    return arrays, _warnings(net, weights, unfilled)


def _trained(net: ImportedNet, info: ParamInfo, given: Sequence[Any]) -> Array:
    expected = 1 + max(p.index for p in net.params if p.owner == info.owner and p.learnable)
    if len(given) != expected:
        raise NetcError(
            f"the weights have {len(given)} blobs for it, and the net needs {expected}",
            location=info.location,
            layer=info.layer,
        )
    found = _shaped(info, _numbers(info, given[info.index]), "the weights")
    # a copy: the caller's arrays, or a file's, stay as they are
    array = aligned_zeros(found.shape, what=f"parameter {info.value.name}")
    array[...] = found
    return array


def _numbers(info: ParamInfo, value: Any) -> Array:
    try:
        return np.asarray(value, np.float32)
    except (TypeError, ValueError) as error:
        raise NetcError(
            f"the weights have no array of numbers for its parameter {info.index}: {error}",
            location=info.location,
            layer=info.layer,
        ) from None


def _initial(info: ParamInfo) -> Array:
    if info.stored is not None:
        return _shaped(info, _stored(info.stored), "the definition")
    assert isinstance(info.value.type, TensorType)
    array = aligned_zeros(info.value.type.static_shape, what=f"parameter {info.value.name}")
    try:
        fill(array, info.filler, info.value.name)
    except NetcError as error:
        raise error.at(info.location, info.layer) from None
    return array


def _stored(blob: Message) -> Array:
    values = np.array(blob.numbers("data") or blob.numbers("double_data"), np.float32)
    if blob.has("shape"):
        shape = blob.message("shape").integers("dim")
    elif any(blob.has(name) for name in ("num", "channels", "height", "width")):
        shape = tuple(blob.integer(name) for name in ("num", "channels", "height", "width"))
    else:
        shape = values.shape
    if math.prod(shape) != values.size or any(extent < 0 for extent in shape):
        raise NetcError(
            f"a blob of shape {show_shape(shape)} holds {values.size} numbers", location=blob.location
        )
    return values.reshape(shape)


def _shaped(info: ParamInfo, array: Array, source: str) -> Array:
    """The array in the shape that the IR has; leading ones do not count (files of older generations)."""
    if _significant(array.shape) != _significant(info.shape):
        raise NetcError(
            f"parameter {info.index} is {show_shape(info.shape)}, but {source} give it as "
            f"{show_shape(array.shape)}",
            location=info.location,
            layer=info.layer,
            remedy="are the weights those of another net, or is the input's shape another one?",
        )
    assert isinstance(info.value.type, TensorType)
    return array.reshape(info.value.type.static_shape)


def _significant(shape: tuple[int, ...]) -> tuple[int, ...]:
    first = next((i for i, extent in enumerate(shape) if extent != 1), len(shape))
    return shape[first:]


def _warnings(
    net: ImportedNet, weights: Mapping[str, Sequence[Any]], unfilled: Sequence[str]
) -> tuple[str, ...]:
    if not weights or not unfilled:
        return ()
    used = {info.layer for info in net.params} & set(weights)
    shown = ", ".join(unfilled[:SHOWN_LAYERS]) + (", …" if len(unfilled) > SHOWN_LAYERS else "")
    if not used:
        return (f"warning: the weights are those of another net: none of their layers is one of {shown}",)
    return (f"warning: no weights for {len(unfilled)} layers, which keep their fillers: {shown}",)
