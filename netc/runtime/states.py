"""What lasts from run to run: moving sums, hidden states, the state of the random numbers.

A function of the IR has no memory. It takes such a state as an argument and returns its next content as a
result; here the one is put in the place of the other after every run.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from netc.frontend.imported_net import ImportedNet
from netc.ir.dim import evaluate
from netc.ir.opdef import numpy_dtype
from netc.ir.ops.random import STATE
from netc.runtime.memory import Array
from netc.runtime.params import ParamStore
from netc.runtime.shapes import Binding, tensor_of


class StateStore:
    """The states of a net that are no parameters, by argument; each is zeros before its first run.

    Modules that are parts of one net can share a store.
    """

    def __init__(self, seed: int = 0) -> None:
        self._arrays: dict[str, Array] = {}
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Begin the random numbers anew; equal seeds, 64 bits of which count, give equal numbers."""
        self._seed = np.uint64(seed % 2**64).astype(np.int64)
        self._arrays = {name: a for name, a in self._arrays.items() if a.dtype != np.int64}

    @property
    def first_seed(self) -> int:
        """What the random numbers began with, as a signed integer."""
        return int(self._seed)

    def reset(self) -> None:
        """Forget everything but the seed."""
        self._arrays = {}

    @property
    def arrays(self) -> dict[str, Array]:
        """The states that a run has left so far, by argument."""
        return dict(self._arrays)

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Go on with states that :attr:`arrays` gave earlier."""
        self._arrays = {name: array.copy() for name, array in arrays.items()}

    def inputs(self, net: ImportedNet, binding: Binding) -> dict[str, Array]:
        """The states that a run takes. One of another size than now is needed begins anew."""
        sizes = dict(binding)
        found: dict[str, Array] = {}
        for state in net.carried:
            type_ = tensor_of(state.value.type)
            shape = tuple(evaluate(d, sizes) for d in type_.shape)
            known = self._arrays.get(state.value.name)
            if known is None or known.shape != shape:
                known = np.zeros(shape, numpy_dtype(type_.dtype))
                if type_ == STATE:
                    known[0] = self._seed
            found[state.value.name] = known
        return found

    def update(self, net: ImportedNet, results: Mapping[str, Array], params: ParamStore) -> None:
        """Take over what a run left."""
        if not net.states:
            return
        carried = {state.value.name for state in net.carried}
        for state in net.states:
            if state.next not in results:
                continue  # the run has changed it in place
            if state.value.name in carried:
                self._arrays[state.value.name] = results[state.next]
            else:
                params.assign(state.value.name, results[state.next])
