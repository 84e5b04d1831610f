"""Imports nets of one layer: inputs are named by keyword arguments, the layer stands on line 2."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from netc.backends.numpy_reference import run_func
from netc.frontend.importer import ImportedNet, import_net
from netc.frontend.net_file import load_net
from netc.ir.diagnostics import NetcError
from netc.ir.printer import print_func
from netc.ir.verify import verify
from netc.runtime.states import StateStore

Shape = tuple[int, ...]


def _import(layer: str, phase: str = "TEST", **inputs: Shape) -> ImportedNet:
    heads = [
        f'layer {{ type: "Input" top: "{name}" input_param {{ shape {{ {" ".join(f"dim: {d}" for d in shape)} }} }} }}'
        for name, shape in inputs.items()
    ]
    imported = import_net(load_net(f"{' '.join(heads)}\n{layer}\n", phase=phase), phase=phase)
    verify(imported.module)
    return imported


@pytest.fixture
def imported() -> Callable[..., ImportedNet]:
    return _import


@pytest.fixture
def ir_of() -> Callable[..., str]:
    """The text of @main without locations."""
    return lambda layer, **inputs: print_func(_import(layer, **inputs).module.func("main"), locations=False)


@pytest.fixture
def shapes_of() -> Callable[..., list[Shape]]:
    """The shapes of the net's outputs."""

    def shapes(layer: str, **inputs: Shape) -> list[Shape]:
        return [v.type.static_shape for v in _import(layer, **inputs).module.func("main").results]

    return shapes


@pytest.fixture
def error_of() -> Callable[..., str]:
    """The message of the error that the import must raise; ``@`` in the layer marks where it must point."""

    def error(layer: str, **inputs: Shape) -> str:
        before, marker, after = layer.partition("@")
        assert marker
        with pytest.raises(NetcError) as caught:
            _import(before + after, **inputs)
        location = caught.value.location
        assert location is not None
        assert (location.line, location.column) == (2, len(before) + 1)
        return caught.value.message

    return error


@pytest.fixture
def run_layer() -> Callable[..., list[Any]]:
    """Runs the layer by the reference: inputs by name, parameters in their order; gives the outputs, and counts of rows."""

    def run(layer: str, params: tuple[Any, ...] = (), phase: str = "TEST", **inputs: Any) -> list[Any]:
        arrays = {name: np.asarray(value, np.float32) for name, value in inputs.items()}
        net = _import(layer, phase, **{name: a.shape for name, a in arrays.items()})
        func = net.module.func("main")
        for value, array in zip(func.params, params, strict=True):
            arrays[value.name] = np.asarray(array, np.float32)
        states = StateStore().inputs(net, ())
        results = run_func(func, arrays | states)
        counts = {rows.count for rows in net.counted.values()}
        return [results[name] for name in func.result_names if name in net.blobs or name in counts]

    return run
