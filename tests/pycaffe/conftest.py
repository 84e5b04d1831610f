"""Small nets in files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_nets import CONV_NET

import netc.pycaffe as caffe


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    """Writes a net to a file; the result is its path."""
    count = 0

    def write_net(text: str) -> str:
        nonlocal count
        count += 1
        path = tmp_path / f"net{count}.prototxt"
        path.write_text(text)
        return str(path)

    return write_net


@pytest.fixture
def net(write) -> caffe.Net:
    return caffe.Net(write(CONV_NET), caffe.TEST)


@pytest.fixture
def batch() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (2, 3, 8, 8)).astype("f4")
