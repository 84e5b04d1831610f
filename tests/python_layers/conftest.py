"""What tests of Python layers share."""

import sys

import numpy as np
import pytest

import netc
from netc.pycaffe.install import install

INPUT = 'layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ {} }} }} }}\n'


@pytest.fixture(autouse=True)
def modules(monkeypatch):
    """Modules and paths are as before after each test; ``caffe`` is netc's."""
    for name in [n for n in sys.modules if n.split(".")[0] in ("caffe", "sample_layers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    install()
    yield
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("caffe", "sample_layers"):
            del sys.modules[name]


def input_layer(*shape: int) -> str:
    return INPUT.format(" ".join(f"dim: {extent}" for extent in shape))


def python_layer(cls: str, bottoms: str = "x", tops: str = "y", more: str = "", param_str: str = "") -> str:
    """A layer of a class of sample_layers.py."""
    names = "".join(f'bottom: "{name}" ' for name in bottoms.split())
    names += "".join(f'top: "{name}" ' for name in tops.split())
    return (
        f'layer {{ name: "{cls.lower()}" type: "Python" {names}{more} python_param {{ module: "sample_layers" '
        f'layer: "{cls}" param_str: "{param_str}" }} }}\n'
    )


def compiled(text: str, **options):
    options.setdefault("allow_python_layers", True)
    return netc.compile(text, **options)


def normal(*shape: int, seed: int = 0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
