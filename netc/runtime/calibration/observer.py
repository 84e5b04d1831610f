"""A net compiled in float32 whose runs show the values that 8-bit codes are needed for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from netc.backends.llvm.target import parse_target
from netc.frontend.message import Message
from netc.ir.diagnostics import NetcError
from netc.passes.lower_precision import values_to_measure
from netc.passes.pipeline import before_narrowing
from netc.runtime.compiler import compile_imported, import_message
from netc.runtime.memory import Array
from netc.runtime.module import Module
from netc.runtime.options import CompileOptions
from netc.runtime.params import ParamStore
from netc.runtime.precision import DEFAULT_PRECISION
from netc.runtime.ranges import net_digest

PREFIX = "measured."


class Observer:
    """``names`` are the values; :meth:`run` gives their arrays for a batch of the compiled shapes."""

    def __init__(self, message: Message, options: CompileOptions, params: ParamStore) -> None:
        options = replace(options, precision=DEFAULT_PRECISION, ranges=None)
        net = import_message(message, options)
        self.name, self.digest = net.module.name, net_digest(net)
        block = parse_target(options.target).lanes
        wide = dict(options.input_shapes) if options.fully_convolutional else None
        module = before_narrowing(net.module, block=block, fully_convolutional=wide)
        values = values_to_measure(module, block=block)
        if not values:
            raise NetcError(
                f"the net '{self.name}' has no layer that would be computed in 8-bit integers: none is a "
                "convolution or an inner product of enough channels"
            )
        self.names = tuple(value.name for value in values)
        main = module.func("main")
        main = replace(
            main,
            results=(*main.results, *values),
            result_names=(*main.result_names, *(PREFIX + name for name in self.names)),
        )
        compiled = compile_imported(
            net, replace(options, fully_convolutional=False), module=module.with_func(main)
        )
        self.module = Module(message, compiled, params)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Name -> array; NetcError where one is not finite."""
        self.module.run(**inputs)
        found = {name: self.module.blob(PREFIX + name) for name in self.names}
        for name, array in found.items():
            if not np.isfinite(array).all():
                raise NetcError(
                    f"'{name}' is not finite on a sample input", remedy="check the weights and the inputs"
                )
        return found
