"""Turns NumPy arrays into the memory of a launch, and the report of a launch into a fault."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .signatures import POINTERS, SCALARS, Kernel, Parameter

Array = np.ndarray[Any, Any]


class Memory(ctypes.Structure):
    """As in runtime/launch.cpp."""

    _fields_ = [
        ("host", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("element_bytes", ctypes.c_int32),
        ("read_only", ctypes.c_int32),
        ("initialised", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
    ]


class Traffic(ctypes.Structure):
    """As in runtime/runtime.h."""

    _fields_ = [
        ("pc", ctypes.c_uint64),
        ("shared", ctypes.c_int32),
        ("write", ctypes.c_int32),
        ("bytes", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("requests", ctypes.c_uint64),
        ("transactions", ctypes.c_uint64),
        ("least", ctypes.c_uint64),
    ]


class Launch(ctypes.Structure):
    """As in runtime/launch.cpp."""

    _fields_ = [
        ("entry", ctypes.c_void_p),
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("shared_bytes", ctypes.c_uint64),
        ("cpu_seconds", ctypes.c_double),
        ("memories", ctypes.POINTER(Memory)),
        ("arguments", ctypes.POINTER(ctypes.c_uint64)),
        ("argument_of", ctypes.POINTER(ctypes.c_int32)),
        ("memory_count", ctypes.c_int32),
        ("argument_count", ctypes.c_int32),
        ("traffic", ctypes.POINTER(Traffic)),
        ("traffic_count", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
    ]


class Report(ctypes.Structure):
    """As in runtime/runtime.h."""

    _fields_ = [
        ("kind", ctypes.c_int32),
        ("write", ctypes.c_int32),
        ("index", ctypes.c_int64),
        ("extent", ctypes.c_int64),
        ("thread", ctypes.c_uint32),
        ("other", ctypes.c_uint32),
        ("line", ctypes.c_int32),
        ("reserved", ctypes.c_int32),
        ("pc", ctypes.c_uint64),
        ("buffer", ctypes.c_char * 64),
        ("detail", ctypes.c_char * 192),
    ]


@dataclass(slots=True)
class Extent:
    """Bytes of the host that arguments share: one, or several that overlap."""

    begin: int
    end: int
    names: list[str]
    element_bytes: int
    read_only: bool
    initialised: bool


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a kernel is called with: extents, and for each parameter its bits or (extent, offset)."""

    extents: tuple[Extent, ...]
    values: tuple[int, ...]
    extent_of: tuple[int, ...]


def bind(kernel: Kernel, args: Sequence[Any], uninitialised: frozenset[str]) -> Arguments:
    """Checks arguments against the kernel's parameters; arrays that overlap share their memory."""
    if len(args) != len(kernel.parameters):
        raise TypeError(f"{kernel.name} takes {len(kernel.parameters)} arguments, got {len(args)}")
    pairs = list(zip(kernel.parameters, args, strict=True))
    known = {p.name for p in kernel.parameters if p.pointer}
    if not uninitialised <= known:
        raise TypeError(f"{kernel.name} has no buffer {sorted(uninitialised - known)}")
    extents: list[Extent] = []
    for parameter, arg in pairs:
        if parameter.pointer and arg is not None:
            extents = _with(extents, _extent(kernel, parameter, arg, parameter.name not in uninitialised))
    values, extent_of = [], []
    for parameter, arg in pairs:
        if not parameter.pointer:
            values.append(_scalar_bits(kernel, parameter, arg))
            extent_of.append(-1)
        elif arg is None or arg.size == 0:
            values.append(0)
            extent_of.append(-1)
        else:
            at = arg.ctypes.data
            number = next(i for i, e in enumerate(extents) if e.begin <= at < e.end)
            values.append(at - extents[number].begin)
            extent_of.append(number)
    return Arguments(tuple(extents), tuple(values), tuple(extent_of))


def _extent(kernel: Kernel, parameter: Parameter, array: Any, initialised: bool) -> Extent:
    where = f"{kernel.name}: {parameter.name}"
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{where} takes an array, got {type(array).__name__}")
    allowed = POINTERS.get(parameter.type)
    if allowed is not None and array.dtype not in [np.dtype(t) for t in allowed]:
        raise TypeError(f"{where} takes {parameter.type}, got an array of {array.dtype}")
    if not array.flags.c_contiguous:
        raise TypeError(f"{where}: the array is not contiguous")
    if not parameter.const and not array.flags.writeable:
        raise TypeError(f"{where}: the array is read-only, the parameter is not const")
    begin = array.ctypes.data
    return Extent(
        begin,
        begin + array.nbytes,
        [parameter.name],
        array.itemsize,
        parameter.const,
        initialised or parameter.const,
    )


def _with(extents: list[Extent], new: Extent) -> list[Extent]:
    """The extents with another, which takes those that it overlaps into itself."""
    if new.begin == new.end:
        return extents
    kept = []
    for e in extents:
        if e.end <= new.begin or new.end <= e.begin:
            kept.append(e)
            continue
        new = Extent(
            min(e.begin, new.begin),
            max(e.end, new.end),
            e.names + new.names,
            min(e.element_bytes, new.element_bytes),
            e.read_only and new.read_only,
            e.initialised or new.initialised,
        )
    return [*kept, new]


def _scalar_bits(kernel: Kernel, parameter: Parameter, value: Any) -> int:
    where = f"{kernel.name}: {parameter.name}"
    dtype = SCALARS.get(parameter.type)
    if dtype is None:
        raise TypeError(f"{where}: arguments of type {parameter.type} are not known")
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError(f"{where} takes a {parameter.type}, got an array")
    if np.dtype(dtype).kind in "iu" and int(value) != value:
        raise TypeError(f"{where} takes a {parameter.type}, got {value!r}")
    raw = np.array(value, dtype).tobytes()
    return int.from_bytes(raw, "little")


def describe_launch(
    entry: int,
    grid: tuple[int, int, int],
    block: tuple[int, int, int],
    shared_bytes: int,
    cpu_seconds: float,
    arguments: Arguments,
    traffic: ctypes.Array[Traffic] | None,
) -> Launch:
    """The launch as the runtime takes it; ``traffic`` is the room for a profile."""
    memories = (Memory * max(1, len(arguments.extents)))()
    for memory, e in zip(memories, arguments.extents, strict=False):
        memory.host, memory.bytes, memory.name = e.begin, e.end - e.begin, "/".join(e.names).encode()[:63]
        memory.element_bytes, memory.read_only, memory.initialised = (
            e.element_bytes,
            e.read_only,
            e.initialised,
        )
    count = len(arguments.values)
    return Launch(
        entry,
        (ctypes.c_uint32 * 3)(*grid),
        (ctypes.c_uint32 * 3)(*block),
        shared_bytes,
        cpu_seconds,
        memories,
        (ctypes.c_uint64 * max(1, count))(*arguments.values),
        (ctypes.c_int32 * max(1, count))(*arguments.extent_of),
        len(arguments.extents),
        count,
        traffic,
        0 if traffic is None else len(traffic),
    )
