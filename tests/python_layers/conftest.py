"""What tests of Python layers share."""

import sys

import pytest

from netc.pycaffe.install import install


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
