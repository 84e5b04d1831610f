"""One Python layer: the object of the user's class, and the blobs that its methods work on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netc.frontend.python_layers.blobs import LayerBlob, ParamBlobs
from netc.frontend.python_layers.classes import describe, trace
from netc.ir.diagnostics import NetcError
from netc.ir.location import Location
from netc.ir.opdef import Array
from netc.ir.types import TensorType

Shape = tuple[int, ...]

PHASES = {"TRAIN": 0, "TEST": 1}  # as the original numbers them


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """What the net says of a Python layer; ``name`` is ``module.Class``."""

    name: str
    label: str
    location: Location | None
    param_str: str
    phase: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]


class PythonLayer:
    """Calls ``setup``, ``reshape``, ``forward`` and ``backward`` of an object as the original does.

    ``params`` are copies of its parameters as ``setup`` left them. A top in place is its bottom's blob.
    """

    def __init__(self, cls: type, facts: LayerFacts) -> None:
        self.facts = facts
        self._bottom = [LayerBlob() for _ in facts.bottoms]
        self._top = [
            self._bottom[i] if i < len(facts.bottoms) and facts.bottoms[i] == name else LayerBlob()
            for i, name in enumerate(facts.tops)
        ]
        self._blobs = ParamBlobs()
        self.params: tuple[Array, ...] = ()
        self._is_set_up = False
        self._object: Any = self._call("making the object", cls)
        attributes = {
            "param_str": facts.param_str,
            "param_str_": facts.param_str,  # the name that releases before 2015 used
            "phase": PHASES[facts.phase],
            "blobs": self._blobs,
        }
        for name, value in attributes.items():
            self._call(name, setattr, self._object, name, value)

    @property
    def has_backward(self) -> bool:
        """Whether the class has a method ``backward``."""
        return callable(getattr(self._object, "backward", None))

    def shapes(self, bottoms: Sequence[Shape]) -> list[Shape]:
        """The shapes of the tops for bottoms of these shapes; ``setup`` is called the first time."""
        for blob, shape in zip(self._bottom, bottoms, strict=True):
            blob.reshape(shape)
        if not self._is_set_up:
            self._run("setup", self._bottom, self._top)
            self.params = tuple(blob.data.copy() for blob in self._blobs)
            self._is_set_up = True
        self._run("reshape", self._bottom, self._top)
        for name, blob in zip(self.facts.tops, self._top, strict=True):
            if not blob.is_shaped:
                raise self._error(
                    f"reshape of the Python layer {self.facts.name} gave the top '{name}' no shape",
                    remedy="call top[i].reshape(...) for each top",
                )
        return [blob.shape for blob in self._top]

    def forward(self, inputs: Sequence[Array], results: Sequence[TensorType]) -> list[Array]:
        """The tops for bottoms and parameters: ``reshape``, then ``forward``."""
        self._load(inputs)
        dtype = np.result_type(*inputs) if inputs else np.dtype(np.float32)
        for blob in self._top:
            blob.use(dtype)
        for method in ("reshape", "forward"):
            self._run(method, self._bottom, self._top)
            self._check_tops(results)
        return [blob.data.copy() for blob in self._top]

    def backward(
        self,
        inputs: Sequence[Array],
        results: Sequence[Array],
        gradients: Sequence[Array],
        wanted: Sequence[bool],
    ) -> list[Array]:
        """The gradients of the wanted bottoms and parameters: what ``backward`` leaves in ``diff``."""
        self._load(inputs)
        targets = [*self._bottom, *self._blobs]
        for blob in targets:
            blob.diff[...] = 0
        for blob, result, gradient in zip(self._top, results, gradients, strict=True):
            blob.load(result)
            blob.diff[...] = gradient
        propagate_down = [bool(want) for want in wanted[: len(self._bottom)]]
        self._run("backward", self._top, propagate_down, self._bottom)
        found = [blob.diff.copy() for blob, want in zip(targets, wanted, strict=True) if want]
        for blob, array in zip(targets, inputs, strict=True):
            if blob.shape != array.shape:
                raise self._error(f"backward of the Python layer {self.facts.name} reshaped a blob")
        return found

    def _load(self, inputs: Sequence[Array]) -> None:
        for blob, array in zip((*self._bottom, *self._blobs), inputs, strict=True):
            blob.load(array)

    def _check_tops(self, results: Sequence[TensorType]) -> None:
        for name, blob, type_ in zip(self.facts.tops, self._top, results, strict=True):
            if blob.shape != type_.static_shape:
                have, want = ("x".join(map(str, shape)) for shape in (blob.shape, type_.static_shape))
                raise self._error(
                    f"the Python layer {self.facts.name} made its top '{name}' {have} in a run; the net was "
                    f"compiled for {want}",
                    remedy="a compiled net has blobs of fixed sizes: let the layer give all data one size",
                )

    def _run(self, method: str, *arguments: Any) -> None:
        function = getattr(self._object, method, None)
        if not callable(function):
            raise self._error(f"the Python layer {self.facts.name} has no method {method}")
        self._call(method, function, *arguments)

    def _call(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call the user's code; whatever it raises is an error of the layer."""
        try:
            return function(*arguments)
        except (Exception, SystemExit) as error:
            raise self._error(
                f"{what} of the Python layer {self.facts.name} failed: {describe(error)}",
                notes=(trace(error),),
            ) from error

    def _error(self, message: str, *, notes: Sequence[str] = (), remedy: str | None = None) -> NetcError:
        facts = self.facts
        return NetcError(message, location=facts.location, layer=facts.label, notes=notes, remedy=remedy)
