"""llvmlite, which has no types, behind one door.

``binding.llvm`` and ``binding.ffi`` load LLVM (40 MB, 40 ms) when they are first used: what only runs code
that is already compiled never asks for them.
"""

from __future__ import annotations

import os
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

    if "ffi" not in globals():
        _hold_lock_while_forking(llvmlite.binding.ffi)
    globals().update(llvm=llvmlite.binding, ffi=llvmlite.binding.ffi)
    return globals()[name]


def _hold_lock_while_forking(ffi: Any) -> None:
    """Let a child never find llvmlite's lock held, as it would be for ever, by a thread of the parent's."""
    lock = getattr(ffi.lib, "_lock", None)
    if lock is not None and hasattr(os, "register_at_fork"):

        def leave() -> None:
            lock.__exit__(None, None, None)

        os.register_at_fork(before=lock.__enter__, after_in_parent=leave, after_in_child=leave)
