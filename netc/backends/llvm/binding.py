"""llvmlite, which has no types, behind one door."""

from __future__ import annotations

from typing import Any, TypeAlias

import llvmlite
import llvmlite.binding
from llvmlite.binding import ffi as _ffi

llvm: Any = llvmlite.binding
ffi: Any = _ffi
LLVMLITE_VERSION = str(llvmlite.__version__)

Context: TypeAlias = Any
Module: TypeAlias = Any
TargetMachine: TypeAlias = Any
