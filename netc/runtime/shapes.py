"""What a caller passes to a run: which arrays, of what shape, and which values that gives the symbols."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netc.ir.core import Value
from netc.ir.diagnostics import NetcError
from netc.ir.dim import Symbol, SymDim, evaluate, symbols
from netc.ir.types import BufferType, TensorType, Type
from netc.runtime.memory import Array
from netc.runtime.options import MAX_EXTENT, Shape

_HOST_DEVICES = (1, 3, 11, 13)  # of DLPack: the CPU; pinned for CUDA, for ROCm; managed by CUDA

Binding = tuple[tuple[str, int], ...]
"""Values of symbols, sorted by name."""


def tensor_of(type_: Type) -> TensorType:
    """The tensor type of an argument at the tensor or the buffer level."""
    found = type_.tensor if isinstance(type_, BufferType) else type_
    assert isinstance(found, TensorType)
    return found


def show_shape(shape: Sequence[object]) -> str:
    """``1x3x224x224``; ``()`` for a single number."""
    return "x".join(map(str, shape)) or "()"


def shown_shape(value: Value) -> tuple[int | str, ...]:
    """The shape of a value; a dimension that may be anything is the text of its expression."""
    return tuple(d if isinstance(d, int) else str(d) for d in tensor_of(value.type).shape)


def as_arrays(given: Mapping[str, Any], inputs: tuple[Value, ...]) -> dict[str, Array]:
    """The caller's inputs as arrays, every input once; NetcError says which one is missing or unknown."""
    names = [v.name for v in inputs]
    for name in given:
        if name not in names:
            close = difflib.get_close_matches(name, names, 1)
            raise NetcError(
                f"the net has no input '{name}'; its inputs are {', '.join(names) or 'none'}",
                remedy=f"did you mean '{close[0]}'?" if close else None,
            )
    missing = [name for name in names if name not in given]
    if missing:
        raise NetcError(f"the input '{missing[0]}' is missing; the inputs are {', '.join(names)}")
    return {name: as_array(name, given[name]) for name in names}


def as_array(name: str, value: Any) -> Array:
    """A caller's value for an input as an array of numbers; a tensor that speaks DLPack is not copied."""
    try:
        if hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray | np.generic):
            array = _from_dlpack(name, value)
        else:
            array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError, BufferError, AttributeError) as error:
        raise NetcError(f"input '{name}' is not an array of numbers: {error}") from None
    if array.dtype.kind not in "fiub":
        raise NetcError(f"input '{name}' has the element type {array.dtype}; expected numbers")
    return array


def _from_dlpack(name: str, value: Any) -> Array:
    device = int(value.__dlpack_device__()[0])
    if device not in _HOST_DEVICES:
        raise NetcError(
            f"input '{name}' lies in the memory of another device (DLPack's device type {device})",
            remedy="copy it to the CPU first, as tensor.cpu() does",
        )
    return np.from_dlpack(value)


def bind_shapes(arrays: Mapping[str, Array], inputs: tuple[Value, ...]) -> Binding | None:
    """The values that the shapes of the arrays give the symbols.

    None where a shape differs in a dimension that is a number: another module is needed. NetcError where
    no module could take the arrays.
    """
    if all(arrays[v.name].shape == tensor_of(v.type).shape for v in inputs):
        return ()
    found: dict[str, tuple[int, str]] = {}
    fits = True
    for value in inputs:
        have, want = arrays[value.name].shape, tensor_of(value.type).shape
        _check_rank(value.name, have, want)
        for axis, (extent, dim) in enumerate(zip(have, want, strict=True)):
            name = _symbol_name(dim)
            if name is None:
                fits &= extent == dim or isinstance(dim, SymDim)
            elif found.setdefault(name, (extent, value.name))[0] != extent:
                other, where = found[name]
                raise NetcError(
                    f"the size {name} is {other} in input '{where}' and {extent} in axis {axis} of "
                    f"input '{value.name}'"
                )
    values = {name: extent for name, (extent, _) in found.items()}
    for value in inputs:  # dimensions such as 2*N
        for extent, dim in zip(arrays[value.name].shape, tensor_of(value.type).shape, strict=True):
            if isinstance(dim, SymDim) and symbols(dim) <= set(values):
                fits &= evaluate(dim, values) == extent
    return tuple(sorted(values.items())) if fits else None


def _check_rank(name: str, have: tuple[int, ...], want: Shape) -> None:
    if len(have) != len(want):
        hint = None
        if len(have) == len(want) - 1:
            hint = f"add the batch axis: {name}[numpy.newaxis]"
        raise NetcError(
            f"input '{name}' has the shape {show_shape(have)}; expected {len(want)} axes, {show_shape(want)}",
            remedy=hint,
        )
    if not all(1 <= extent <= MAX_EXTENT for extent in have):
        raise NetcError(f"input '{name}' has the shape {show_shape(have)}: no axis may be empty")


def _symbol_name(dim: int | SymDim) -> str | None:
    """The symbol that a dimension is; None for numbers and for expressions."""
    if isinstance(dim, int) or len(dim.terms) != 1:
        return None
    ((atoms, factor),) = dim.terms
    if factor == 1 and len(atoms) == 1 and isinstance(atoms[0], Symbol):
        return atoms[0].name
    return None


def symbol_names(inputs: tuple[Value, ...]) -> tuple[str, ...]:
    """The symbols in the shapes of the inputs, sorted."""
    return tuple(sorted({s for v in inputs for d in tensor_of(v.type).shape for s in symbols(d)}))
