"""The value of a net's objective, and what each of its outputs counts for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from netc.frontend.imported_net import ImportedNet
from netc.ir.core import Value, fresh_name
from netc.runtime.compiler import unread_blobs
from netc.runtime.memory import Array
from netc.runtime.solver.reports import Outputs
from netc.runtime.training import loss_weights


class Objective:
    """The losses of a net among the results of a run. ``net`` is the net with all of them as results."""

    def __init__(self, net: ImportedNet) -> None:
        main = net.module.func("main")
        names = {value.name: name for name, value in zip(main.result_names, main.results, strict=True)}
        taken = {*main.result_names, *net.blobs}
        added: dict[str, Value] = {}
        self._terms: list[tuple[str, float]] = []
        for term in net.losses:
            value = term.value.name
            if value not in names:  # another layer reads it, or it has no name
                names[value] = fresh_name(f"{value}.loss", taken)
                added[names[value]] = term.value
            self._terms.append((names[value], term.weight))
        results = replace(
            main,
            results=(*main.results, *added.values()),
            result_names=(*main.result_names, *added),
        )
        self.net = replace(net, module=net.module.with_func(results)) if added else net
        by_value = loss_weights(net)
        self._outputs = tuple(name for name in main.result_names if name in unread_blobs(net.layers))
        self._weights = {name: by_value.get(net.blobs[name].name, 0.0) for name in self._outputs}

    def loss(self, results: Mapping[str, Array]) -> float:
        """The weighted sum of the losses, in 32-bit floats as the original's."""
        total = np.float32(0)
        with np.errstate(all="ignore"):  # losses of a run that diverges
            for name, weight in self._terms:
                total += np.float32(weight) * np.sum(results[name], dtype=np.float32)
        return float(total)

    def outputs(self, results: Mapping[str, Array]) -> Outputs:
        """The net's outputs among the results."""
        return Outputs({name: results[name] for name in self._outputs if name in results}, self._weights)
