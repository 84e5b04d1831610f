"""Object files linked into this process by LLVM: every format and processor that LLVM knows."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from typing import Any

from netc.backends.llvm import binding
from netc.backends.llvm.engine import DEFAULT_OPT_LEVEL
from netc.backends.llvm.target import Target
from netc.ir.diagnostics import InternalError

_LIBRARY_NAME = "netc"


class JitImage:
    """Object files in memory that may be executed; the keys of ``objects`` are symbols that they define.

    ``imports`` are the addresses of what they may call. A missing symbol, one that is defined twice or a
    damaged object is an `InternalError`.
    """

    def __init__(self, objects: Mapping[str, bytes], imports: Mapping[str, int], target: Target) -> None:
        llvm = binding.llvm
        self._trackers: list[Any] = []
        # suppress_errors: LLVM would print what the exception says
        self._jit = llvm.create_lljit_compiler(
            target.machine(DEFAULT_OPT_LEVEL),
            use_jit_link=os.name != "nt",  # JITLink does not do all of COFF yet
            suppress_errors=True,
        )
        builder = llvm.JITLibraryBuilder()
        for symbol, data in objects.items():
            builder.add_object_img(data)
            builder.export_symbol(symbol)
        for symbol, address in imports.items():
            builder.import_symbol(symbol, address)
        try:
            linked = builder.link(self._jit, _LIBRARY_NAME)
        except RuntimeError as error:
            self._jit.close()
            raise InternalError(
                f"cannot load the compiled kernels: {error}",
                detail=f"besides its own symbols a kernel may call only {', '.join(imports)}",
            ) from None
        self._trackers.append(linked)
        self._addresses = {symbol: int(linked[symbol]) for symbol in objects}
        # an image in a reference cycle is torn down in any order, and LLVM crashes where the compiler goes
        # before its trackers: the finalizer holds both, and ends them in order
        self._finalizer = weakref.finalize(self, _unload, self._trackers, self._jit)
        self._finalizer.atexit = False

    def address(self, name: str) -> int:
        """Of a symbol of one of the objects; `KeyError` where none defines it."""
        if name not in self._addresses:
            try:
                found = self._jit.lookup(_LIBRARY_NAME, name)
            except RuntimeError:
                raise KeyError(name) from None
            self._trackers.append(found)
            self._addresses[name] = int(found[name])
        return self._addresses[name]

    def close(self) -> None:
        """Unload the code. Nothing may run it, now or later."""
        self._finalizer()


def _unload(trackers: list[Any], jit: Any) -> None:
    for tracker in reversed(trackers):
        tracker.close()
    trackers.clear()
    jit.close()
