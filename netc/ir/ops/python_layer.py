"""A layer whose meaning is code outside of netc, called by a key: what a class of the user's computes.

Whoever makes such an op enters the code under its key, and keeps it alive as long as the op.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

from netc.ir.diagnostics import OpError
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, OpDef, define
from netc.ir.types import TensorType

T = TypeVar("T")

CALLS = TensorType("f32", (1,))
"""How many layers were called: an op takes the number and returns the next, so that each is called in a run,
once, in order."""


class LayerCode(Protocol):
    """The code of one layer. It may remember things from call to call."""

    @property
    def has_backward(self) -> bool:
        """Whether it can be asked for gradients."""

    def forward(self, inputs: Sequence[Array], results: Sequence[TensorType]) -> Sequence[Array]:
        """New arrays of the types of the results."""

    def backward(
        self,
        inputs: Sequence[Array],
        results: Sequence[Array],
        gradients: Sequence[Array],
        wanted: Sequence[bool],
    ) -> Sequence[Array]:
        """The gradients of the wanted inputs, after :meth:`forward`, from those of the results."""


@dataclass(frozen=True, slots=True)
class PythonLayerAttrs:
    """The key of the code, and the types that it was set up for: inputs and results, row-major."""

    key: str
    inputs: tuple[TensorType, ...]
    results: tuple[TensorType, ...]


@dataclass(frozen=True, slots=True)
class PythonLayerGradientAttrs:
    """``wanted`` says for each of the inputs whether its gradient is a result."""

    key: str
    wanted: tuple[bool, ...]


_CODE: WeakValueDictionary[str, LayerCode] = WeakValueDictionary()
_numbers = count(1)


def enter_code(name: str, code: LayerCode) -> str:
    """A key for code, which begins with a name; it holds as long as somebody holds the code."""
    key = f"{name}#{next(_numbers)}"
    _CODE[key] = code
    return key


def code_of(key: str) -> LayerCode:
    """The code under a key; OpError where it is gone, as in IR that was read from a text."""
    found = _CODE.get(key)
    if found is None:
        raise OpError(f"the code of the Python layer {key} is not in this process", attr="key")
    return found


def _infer(operands: tuple[TensorType, ...], attrs: PythonLayerAttrs) -> tuple[TensorType, ...]:
    calls, *inputs = operands
    if calls != CALLS:
        raise OpError(f"the number of calls, {CALLS}, expected, got {calls}")
    if tuple(inputs) != attrs.inputs:
        expected, got = (", ".join(map(str, types)) or "nothing" for types in (attrs.inputs, inputs))
        raise OpError(f"the layer was set up for {expected}, got {got}", attr="inputs")
    for result in attrs.results:
        if result.layout is not None or not all(isinstance(d, int) for d in result.shape):
            raise OpError(f"row-major results of known size expected, got {result}", attr="results")
    return (*attrs.results, CALLS)


def _reference(operands: tuple[Array, ...], attrs: PythonLayerAttrs) -> tuple[Array, ...]:
    calls, *inputs = operands
    return (*code_of(attrs.key).forward(inputs, attrs.results), calls + 1)


def _infer_gradient(
    operands: tuple[TensorType, ...], attrs: PythonLayerGradientAttrs
) -> tuple[TensorType, ...]:
    inputs, results, gradients = _split(operands, attrs)
    if not any(attrs.wanted):
        raise OpError("no gradient is wanted", attr="wanted")
    if results != gradients or any(x.layout is not None for x in operands):
        raise OpError("row-major inputs, results, and gradients of the types of the results expected")
    return tuple(x for x, wanted in zip(inputs, attrs.wanted, strict=True) if wanted)


def _gradient(operands: tuple[Array, ...], attrs: PythonLayerGradientAttrs) -> tuple[Array, ...]:
    inputs, results, gradients = _split(operands, attrs)
    return tuple(code_of(attrs.key).backward(inputs, results, gradients, attrs.wanted))


def _split(
    operands: tuple[T, ...], attrs: PythonLayerGradientAttrs
) -> tuple[tuple[T, ...], tuple[T, ...], tuple[T, ...]]:
    """The operands of a gradient: inputs, results, gradients of the results."""
    inputs = len(attrs.wanted)
    results, odd = divmod(len(operands) - inputs, 2)
    if odd or results < 1:
        raise OpError(
            f"{inputs} inputs, then results, then as many gradients expected, got {len(operands)} operands"
        )
    return operands[:inputs], operands[inputs : inputs + results], operands[inputs + results :]


PYTHON_LAYER = define(
    OpDef(
        "python.layer",
        "tensor",
        "What the code under the key computes. The last result is the number of calls.",
        ("calls", "inputs*"),
        PythonLayerAttrs,
        infer=_infer,
        reference=_reference,
        acts_once=True,
    )
)
PYTHON_LAYER_GRADIENT = define(
    OpDef(
        "python.layer_gradient",
        "tensor",
        "The gradients of a Python layer's wanted inputs, from its inputs, its results and their gradients.",
        ("operands*",),
        PythonLayerGradientAttrs,
        infer=_infer_gradient,
        reference=_gradient,
        vjp=NOT_DIFFERENTIABLE,
        acts_once=True,
    )
)
