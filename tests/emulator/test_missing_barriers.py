"""Correct kernels without one of their barriers, waits or commits: none of them goes unnoticed."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from .emulator import Emulator
from .fault import EmulatorFault
from .kernels import PRELUDE
from .test_correct_kernels import GEMM, REDUCE, TENSOR_GEMM, TRANSPOSE, TREE, random

# what is launched, and which barriers of the text it passes: those of the kernel, or of block_reduce
CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "reduce": (
        REDUCE,
        PRELUDE,
        {"grid": (1,), "block": (64,), "args": [random(200), np.zeros(2, np.float32), 200]},
    ),
    "tree": (TREE, TREE, {"grid": (1,), "block": (128,), "args": [random(128), np.zeros(1, np.float32)]}),
    "transpose": (
        TRANSPOSE,
        TRANSPOSE,
        {"grid": (1, 1), "block": (32, 8), "args": [random(32, 32), random(32, 32), 32, 32]},
    ),
    "gemm": (
        GEMM,
        GEMM,
        {"grid": (1, 1), "block": (256,), "args": [*(random(64, 64) for _ in range(3)), 64, 64, 64]},
    ),
    "tensor_gemm": (
        TENSOR_GEMM,
        TENSOR_GEMM,
        {
            "grid": (1, 1),
            "block": (128,),
            "args": [np.zeros((32, 160), np.uint16), np.zeros((32, 160), np.uint16), random(32, 32), 32, 160],
            "shared_bytes": 3 * 32 * 32 * 4,
        },
    ),
}
ORDERING = re.compile(r"(__syncthreads\(\)|__syncwarp\(\)|copy_async_wait<[^>]*>\(\)|copy_async_commit\(\));")
LIBRARY = PRELUDE.index("block_reduce(")  # behind the definitions of the wrappers


def places() -> list[tuple[str, int]]:
    """(kernel, offset into the translation unit) of everything that orders memory in a kernel of the table."""
    found = []
    for name, (text, passed, _) in CASES.items():
        first = LIBRARY if passed is PRELUDE else len(PRELUDE)
        last = len(PRELUDE) if passed is PRELUDE else len(PRELUDE + text)
        found += [(name, m.start()) for m in ORDERING.finditer(PRELUDE + text, first, last)]
    return found


def test_the_kernels_order_memory_in_so_many_places():
    assert len(places()) == 13


@pytest.mark.parametrize(("name", "offset"), places())
def test_a_kernel_without_one_of_its_barriers_is_found(emulate, name, offset):
    text, _, launch = CASES[name]
    unit = PRELUDE + text
    removed = ORDERING.match(unit, offset)
    assert removed is not None
    emulator = Emulator(unit[:offset] + unit[removed.end() :])
    with pytest.raises(EmulatorFault) as caught:
        emulator.launch(name, **launch)
    assert caught.value.kind in ("race", "missing_wait", "uninitialised_shared")
