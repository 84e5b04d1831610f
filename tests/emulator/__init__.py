"""An emulator of CUDA devices for tests: see README.md."""

from .compiler import CompileError, missing
from .emulator import Emulator
from .fault import EmulatorFault

__all__ = ["CompileError", "Emulator", "EmulatorFault", "missing"]
