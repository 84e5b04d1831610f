"""What the tests of the data layers share: sources opened from a layer's text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from netc.frontend.net_file import load_net
from netc.runtime.data.open_source import open_source
from netc.runtime.data.source import DataSource

Open = Callable[..., DataSource]


@pytest.fixture
def open_layer(tmp_path: Path) -> Open:
    """Opens the source of a layer given as prototxt; its paths start in the test's folder."""

    def opened(text: str, *, phase: str = "TRAIN", seed: int = 1) -> DataSource:
        (layer,) = load_net(f"layer {{ name: 'source' {text} }}", phase=phase).messages("layer")
        return open_source(layer, phase=phase, seed=seed, root=tmp_path)

    return opened
