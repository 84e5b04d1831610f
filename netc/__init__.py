"""netc: a compiler for Caffe networks.

>>> module = netc.compile("deploy.prototxt", "weights.caffemodel")     # doctest: +SKIP
>>> module.run(data=image)["prob"]                                     # doctest: +SKIP

Importing the package costs nothing: NumPy and LLVM are imported when one of the names below is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netc.frontend.net_spec import NetSpec, layers, params, to_proto
    from netc.ir.diagnostics import NetcError
    from netc.plugins import define_op, register_layer, register_python_layer
    from netc.runtime.api import compile_net as compile
    from netc.runtime.api import load
    from netc.runtime.calibration.calibrate import calibrate
    from netc.runtime.module import Module
    from netc.runtime.solver.solver import Solver

__version__ = "0.1.0"
__all__ = [
    "Module",
    "NetSpec",
    "NetcError",
    "Solver",
    "__version__",
    "calibrate",
    "compile",
    "define_op",
    "layers",
    "load",
    "params",
    "register_layer",
    "register_python_layer",
    "to_proto",
]

# public name -> where it is defined, and what it is called there
_HOMES = {
    "compile": ("netc.runtime.api", "compile_net"),
    "calibrate": ("netc.runtime.calibration.calibrate", "calibrate"),
    "load": ("netc.runtime.api", "load"),
    "Module": ("netc.runtime.module", "Module"),
    "Solver": ("netc.runtime.solver.solver", "Solver"),
    "NetSpec": ("netc.frontend.net_spec", "NetSpec"),
    "layers": ("netc.frontend.net_spec", "layers"),
    "params": ("netc.frontend.net_spec", "params"),
    "to_proto": ("netc.frontend.net_spec", "to_proto"),
    "NetcError": ("netc.ir.diagnostics", "NetcError"),
    "define_op": ("netc.plugins", "define_op"),
    "register_layer": ("netc.plugins", "register_layer"),
    "register_python_layer": ("netc.plugins", "register_python_layer"),
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'netc' has no attribute '{name}'")
    from importlib import import_module

    value = getattr(import_module(home[0]), home[1])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
