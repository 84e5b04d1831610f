"""A launch without a kernel, run by the reference between the compiled ones.

That is how an op of a plug-in works in a compiled net before anybody writes a kernel for it. It costs
copies and the GIL; the numbers are the reference's.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from netc.backends.numpy_reference import run_func
from netc.ir.core import Func, Op, Role
from netc.ir.layout import pack, storage_shape, unpack
from netc.ir.opdef import Array, numpy_dtype
from netc.ir.types import BufferType


class ReferenceLaunch:
    """One launch bound to addresses, one per operand; the memory there must outlive it."""

    def __init__(self, launch: Op, addresses: Sequence[int]) -> None:
        assert launch.body is not None
        body = launch.body
        names = tuple(f"result{i}" for i in range(len(body.results)))
        roles: tuple[Role, ...] = tuple("input" for _ in body.args)
        self._func = Func("launch", body.args, roles, body.ops, body.results, names)
        types = [v.type for v in launch.operands if isinstance(v.type, BufferType)]
        storages = [_storage_at(a, t) for a, t in zip(addresses, types, strict=True)]
        split = len(types) - launch.attrs.writes
        self._reads = list(zip(body.args, types[:split], storages[:split], strict=True))
        self._writes = list(zip(names, types[split:], storages[split:], strict=True))

    def run(self) -> None:
        """Read, compute, write."""
        arrays = {
            arg.name: unpack(np.ascontiguousarray(storage), type_.tensor.static_shape, type_.tensor.layout)
            for arg, type_, storage in self._reads
        }
        results = run_func(self._func, arrays)
        for name, type_, storage in self._writes:
            storage[...] = pack(results[name], type_.tensor.layout).reshape(storage.shape)


def _storage_at(address: int, type_: BufferType) -> Array:
    """The (possibly strided) storage of a buffer as an array on its memory."""
    dtype = numpy_dtype(type_.tensor.dtype)
    shape = tuple(_static(d) for d in storage_shape(type_.tensor.shape, type_.tensor.layout))
    strides = tuple(_static(s) for s in type_.storage_strides)
    span = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if all(shape) else 0
    memory = (ctypes.c_byte * (span * dtype.itemsize)).from_address(address)
    flat = np.ctypeslib.as_array(memory).view(dtype)
    byte_strides = tuple(s * dtype.itemsize for s in strides)
    return np.lib.stride_tricks.as_strided(flat, shape, byte_strides)


def _static(dim: object) -> int:
    assert isinstance(dim, int)
    return dim
