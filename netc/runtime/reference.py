"""The target ``numpy``: a net run by the reference rules of its ops. Slow, and what the others must equal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from netc.backends.numpy_reference import run_func
from netc.ir.core import Func
from netc.ir.types import TensorType
from netc.runtime.memory import Array
from netc.runtime.params import ParamStore


class ReferenceProgram:
    """``main`` of a static tensor module, run op by op on the parameters as they are."""

    def __init__(self, func: Func, params: ParamStore) -> None:
        self.func = func
        self._params = params
        self.arena_bytes = 0
        self.unshared_bytes = sum(
            size
            for op in func.ops
            for v in op.results
            if isinstance(v.type, TensorType) and isinstance(size := v.type.storage_bytes, int)
        )
        self.inputs_outputs_bytes = 0

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for these inputs, as new arrays."""
        given = {name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()}
        results = run_func(self.func, {**given, **self._params.arrays})
        # a result may be an argument, or share memory with one
        return {name: np.array(array, dtype=np.float32) for name, array in results.items()}
