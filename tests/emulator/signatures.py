"""Finds the kernels of a translation unit: their names, parameters and bounds on threads."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

KERNEL = re.compile(
    r"__global__\s+void\s+(?:__launch_bounds__\s*\(([^()]*)\)\s*)?(\w+)\s*\(([^()]*)\)\s*\{", re.DOTALL
)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
POINTERS: dict[str, tuple[type[np.generic], ...]] = {
    "float": (np.float32,),
    "double": (np.float64,),
    "int": (np.int32,),
    "unsigned": (np.uint32,),
    "unsigned int": (np.uint32,),
    "long long": (np.int64,),
    "unsigned long long": (np.uint64,),
    "short": (np.int16,),
    "unsigned short": (np.uint16, np.float16),
    "char": (np.int8,),
    "signed char": (np.int8,),
    "unsigned char": (np.uint8, np.bool_),
    "bool": (np.bool_,),
    "float2": (np.float32,),
    "float4": (np.float32,),
    "int4": (np.int32,),
    "uint4": (np.uint32,),
}
SCALARS: dict[str, type[np.generic]] = {
    name: types[0] for name, types in POINTERS.items() if not name.endswith(("2", "4"))
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """``type`` is the C name of a scalar or of what a pointer points to."""

    name: str
    type: str
    pointer: bool
    const: bool


@dataclass(frozen=True, slots=True)
class Kernel:
    """``max_threads``: of a block, where __launch_bounds__ gives a number."""

    name: str
    parameters: tuple[Parameter, ...]
    max_threads: int | None


def find_kernels(text: str) -> dict[str, Kernel]:
    """The kernels of a translation unit by their names."""
    plain = COMMENT.sub(lambda m: "\n" * m.group().count("\n"), text)
    kernels = {}
    for bounds, name, parameters in KERNEL.findall(plain):
        first = bounds.split(",")[0].strip()
        listed = [_parameter(p) for p in parameters.split(",") if p.strip()]
        kernels[name] = Kernel(name, tuple(listed), int(first) if first.isdigit() else None)
    return kernels


def _parameter(text: str) -> Parameter:
    words = text.replace("*", " * ").replace("__restrict__", " ").split()
    pointer, const = (
        "*" in words,
        words[0] == "const" or ("*" in words and "const" in words[: words.index("*")]),
    )
    names = [w for w in words if w not in ("*", "const")]
    return Parameter(names[-1], " ".join(names[:-1]), pointer, const)
