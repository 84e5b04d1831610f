"""Caffe's Python interface: ``import netc.pycaffe as caffe``, and old scripts run.

What differs from the original is listed in docs/pycaffe.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from netc import __version__
from netc.ir.diagnostics import NetcError
from netc.pycaffe import draw, io
from netc.pycaffe.blob import Blob
from netc.pycaffe.classifier import Classifier
from netc.pycaffe.detector import Detector
from netc.pycaffe.install import install
from netc.pycaffe.mode import (
    TEST,
    TRAIN,
    has_nccl,
    init_log,
    layer_type_list,
    log,
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_random_seed,
    solver_count,
    solver_rank,
)
from netc.pycaffe.net import Layer, Net
from netc.pycaffe.proto import caffe_pb2
from netc.pycaffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)

__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "Classifier",
    "Detector",
    "Layer",
    "NesterovSolver",
    "Net",
    "RMSPropSolver",
    "SGDSolver",
    "__version__",
    "caffe_pb2",
    "draw",
    "get_solver",
    "has_nccl",
    "init_log",
    "install",
    "io",
    "layer_type_list",
    "log",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
    "solver_count",
    "solver_rank",
]

_NET_SPEC = "netc.frontend.net_spec"


def __getattr__(name: str) -> Any:
    """The names of the Python builder of nets, and the modules that it is found in."""
    if name in ("NetSpec", "layers", "params", "to_proto", "net_spec"):
        try:
            module = import_module(_NET_SPEC)
        except ModuleNotFoundError:
            raise NetcError(f"caffe.{name}: this version of netc has no Python builder of nets") from None
        return module if name == "net_spec" else getattr(module, name)
    raise AttributeError(f"module 'netc.pycaffe' has no attribute '{name}'")
