"""llvmlite, which has no types, behind one door.

``binding.llvm`` and ``binding.ffi`` load LLVM (40 MB, 40 ms) when they are first used: what only runs code
that is already compiled never asks for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import llvmlite

LLVMLITE_VERSION = str(llvmlite.__version__)

Context: TypeAlias = Any
Module: TypeAlias = Any
TargetMachine: TypeAlias = Any

if TYPE_CHECKING:
    llvm: Any
    ffi: Any


def __getattr__(name: str) -> Any:
    if name not in ("llvm", "ffi"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    import llvmlite.binding

    globals().update(llvm=llvmlite.binding, ffi=llvmlite.binding.ffi)
    return globals()[name]
