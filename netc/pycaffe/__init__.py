"""Caffe's Python interface: ``import netc.pycaffe as caffe``, and old scripts run.

What differs from the original is listed in docs/pycaffe.md.
"""

from __future__ import annotations

from netc import __version__
from netc.pycaffe import draw, io, net_spec
from netc.pycaffe.blob import Blob
from netc.pycaffe.classifier import Classifier
from netc.pycaffe.detector import Detector
from netc.pycaffe.install import install
from netc.pycaffe.layer import Layer
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
from netc.pycaffe.net import Net
from netc.pycaffe.net_spec import NetSpec, layers, params, to_proto
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
    "NetSpec",
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
    "layers",
    "log",
    "net_spec",
    "params",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
    "solver_count",
    "solver_rank",
    "to_proto",
]
