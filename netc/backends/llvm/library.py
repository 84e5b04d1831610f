"""Object files loaded into this process: addresses of kernels.

Loading is hermetic: a kernel may call only the few C functions of `IMPORTS`, and a missing symbol or a
damaged object is an error with a message, never an abort.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
from collections.abc import Mapping

from netc.backends.llvm.elf_image import CannotLinkError, ElfImage
from netc.backends.llvm.jit_image import JitImage
from netc.backends.llvm.target import Target

# What LLVM itself may call in generated code: block moves, and operations that plain SSE2 lacks. All are
# exactly rounded, so results do not depend on the C library.
IMPORTS = (
    "memcpy", "memmove", "memset", "bzero", "memset_pattern16",
    "fmaf", "fma", "floorf", "ceilf", "truncf", "rintf", "nearbyintf", "roundf", "roundevenf",
    "floor", "ceil", "trunc", "rint", "nearbyint", "round", "roundeven",
)  # fmt: skip

_C_LIBRARIES: Mapping[str, tuple[str | None, ...]] = {"win32": ("msvcrt",), "linux": (None, "libm.so.6")}


class Library:
    """Object files loaded into this process.

    The keys of ``objects`` are symbols, each defined by its object; a symbol may be defined only once. All
    addresses hold until `close`, or until the library is collected: whoever keeps one keeps the library.
    Where our own linker knows how, LLVM is not loaded for it.
    """

    def __init__(self, objects: Mapping[str, bytes], target: Target) -> None:
        target.check_runs_here()
        self._image = _load(objects, target)
        self._closed = False

    def address(self, name: str) -> int:
        """The address of a symbol of one of the objects; `KeyError` where none defines it."""
        if self._closed:
            raise ValueError("the library is closed")
        return self._image.address(name)

    def close(self) -> None:
        """Unload the code. Nothing may run it, now or later."""
        self._closed = True
        self._image.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _load(objects: Mapping[str, bytes], target: Target) -> ElfImage | JitImage:
    imports = _imports()
    try:
        image = ElfImage(tuple(objects.values()), imports)
        for symbol in objects:
            image.address(symbol)
    except (CannotLinkError, KeyError):
        return JitImage(objects, imports, target)
    return image


@functools.cache
def _imports() -> Mapping[str, int]:
    libraries = []
    for path in _C_LIBRARIES.get(sys.platform, (None,)):
        with contextlib.suppress(OSError):  # libm is part of libc in some of them
            libraries.append(ctypes.CDLL(path))
    found: dict[str, int] = {}
    for name in IMPORTS:
        for library in libraries:
            function = getattr(library, name, None)
            if function is not None:
                found[name] = ctypes.cast(function, ctypes.c_void_p).value or 0
                break
    return found
