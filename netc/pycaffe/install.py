"""Lets scripts that say ``import caffe`` run as they are."""

from __future__ import annotations

import sys
from importlib import import_module

from netc.ir.diagnostics import NetcError

PACKAGE = "netc.pycaffe"
_MODULES = ("", ".classifier", ".detector", ".draw", ".io", ".net_spec", ".proto", ".proto.caffe_pb2")


def install(name: str = "caffe") -> None:
    """Make ``import caffe`` mean this package, in this process; NetcError if another one was imported."""
    present = sys.modules.get(name)
    if present is not None and present.__name__ != PACKAGE:
        raise NetcError(f"another '{name}' is imported already", remedy="call netc.pycaffe.install() before")
    for suffix in _MODULES:
        sys.modules[name + suffix] = import_module(PACKAGE + suffix)
