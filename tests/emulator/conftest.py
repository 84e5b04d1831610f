from __future__ import annotations

from collections.abc import Callable

import pytest

from .compiler import missing
from .emulator import Emulator
from .kernels import PRELUDE


@pytest.fixture
def emulate() -> Callable[..., Emulator]:
    """Makes an emulator of kernels behind the prelude; skips the test where there is no compiler."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    return lambda kernels, **options: Emulator(PRELUDE + kernels, **options)
