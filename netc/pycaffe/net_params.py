"""The parameters of a whole net: filled, loaded from files, and found by layer."""

from __future__ import annotations

import os
import warnings

import numpy as np

from netc.frontend.weights import load_weights
from netc.pycaffe.mode import next_seed
from netc.pycaffe.parameters import ParamSlot, ParamSlots
from netc.pycaffe.segment import Segment
from netc.runtime.compiler import import_message
from netc.runtime.load_params import bind_weights, loaded_params
from netc.runtime.options import CompileOptions
from netc.runtime.params import ParamStore, own_params, param_entries


class NetParams:
    """The parameters of all layers of a net, which ``whole`` is; what ``weights`` lack, fillers draw."""

    def __init__(
        self, whole: Segment, options: CompileOptions, weights: str | os.PathLike[str] | None
    ) -> None:
        self.slots: ParamSlots = {}
        self._by_value: dict[str, ParamSlot] = {}
        self._net = None if whole.is_empty else import_message(whole.message, options)
        if self._net is None:
            return
        given = None if weights is None else load_weights(weights)
        arrays, report = bind_weights(self._net, given, next_seed())
        _warn(report.warnings)
        store = ParamStore(param_entries(self._net), own_params(arrays))
        self._by_value = {name: ParamSlot(store, name) for name in store.versions}
        slots = {}
        for info in self._net.params:
            position = whole.positions[info.owner]
            assert position is not None
            slots[position, info.index] = self._by_value[info.value.name], info.shape
        self.slots = slots

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take what a file of weights has, by the names of layers; others stay as they are."""
        if self._net is None:
            return
        arrays, messages = loaded_params(self._net, load_weights(path))
        _warn(messages)
        for name, array in arrays.items():
            self._by_value[name].assign(np.asarray(array))


def _warn(messages: tuple[str, ...] | list[str]) -> None:
    for message in messages:
        if message.startswith("warning: "):
            warnings.warn(message.removeprefix("warning: "), stacklevel=4)
