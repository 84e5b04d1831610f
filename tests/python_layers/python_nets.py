"""Texts of nets with the Python layers of sample_layers.py."""

import numpy as np

import netc

INPUT = 'layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ {} }} }} }}\n'


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
