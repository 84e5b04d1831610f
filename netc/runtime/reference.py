"""The target ``numpy``: a net run by the reference rules of its ops. Slow, and what the others must equal."""

from __future__ import annotations

from collections.abc import Mapping

from netc.backends.numpy_reference import run_func
from netc.ir.core import Func
from netc.runtime.memory import Array
from netc.runtime.params import ParamStore


class ReferenceProgram:
    """``main`` of a static tensor module, run op by op on the parameters as they are."""

    def __init__(self, func: Func, params: ParamStore) -> None:
        self._func = func
        self._params = params

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The results for these inputs, as arrays that share no memory with anything."""
        params = {a.name: self._params.arrays[a.name] for a in self._func.params}
        return run_func(self._func, {**arrays, **params})
