"""Runs a buffer-level module as a machine would: one arena of bytes, views by strides, launches in order.

The arena is filled with NaN first, so a kernel that reads what nobody wrote is found, and so is one whose
operand somebody else has overwritten (its values are wrong).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from netc.backends.numpy_reference import run_func
from netc.ir.arena import arena_bytes
from netc.ir.core import Block, Func, Module, Op, Role
from netc.ir.layout import pack, storage_shape, unpack
from netc.ir.types import BufferType, TensorType

Array = npt.NDArray[Any]


def run_buffers(module: Module, args: Mapping[str, Array]) -> list[Array]:
    """The outputs of ``@main`` in order. ``args`` holds logical arrays for inputs and params."""
    main = module.func("main")
    arena = np.full(arena_bytes(module) // 4, np.nan, np.float32)
    memory: dict[str, Array] = {}
    for arg, role in zip(main.args, main.roles, strict=True):
        tensor = _tensor(arg.type)
        if role == "output":
            memory[arg.name] = np.full(_stored(tensor), np.nan, np.float32)
        else:
            memory[arg.name] = pack(np.asarray(args[arg.name], np.float32), tensor.layout).copy()
    for op in main.ops:
        _step(op, memory, arena)
    return [memory[a.name] for a in main.outputs]


def _step(op: Op, memory: dict[str, Array], arena: Array) -> None:
    if op.name == "buffer.launch":
        _launch(op, memory)
        return
    tensor = _tensor(op.result.type)
    if op.name == "buffer.alloc":
        first = op.attrs.offset // 4
        stored = _stored(tensor)
        memory[op.result.name] = arena[first : first + int(np.prod(stored))].reshape(stored)
        return
    base = memory[op.operands[0].name]
    if op.name == "buffer.reinterpret":
        assert base.flags.c_contiguous
        memory[op.result.name] = base.reshape(_stored(tensor))
        return
    layout = tensor.layout
    cut = [slice(s, s + n) for s, n in zip(op.attrs.start, tensor.static_shape, strict=True)]
    if layout is not None:
        start, extent = op.attrs.start[layout.axis], tensor.static_shape[layout.axis]
        cut[layout.axis] = slice(start // layout.size, -(-(start + extent) // layout.size))
    memory[op.result.name] = base[tuple(cut)]
    assert isinstance(op.result.type, BufferType)
    assert memory[op.result.name].strides == tuple(4 * s for s in op.result.type.storage_strides)


def _launch(op: Op, memory: dict[str, Array]) -> None:
    assert op.body is not None
    count = len(op.operands) - op.attrs.writes
    arrays: dict[str, Array] = {}
    for value, arg in zip(op.operands[:count], op.body.args, strict=True):
        tensor = _tensor(value.type)
        arrays[arg.name] = unpack(
            np.ascontiguousarray(memory[value.name]), tensor.static_shape, tensor.layout
        )
        assert not np.isnan(arrays[arg.name]).any(), f"{value.name} is read before it is written"
    names = tuple(str(i) for i in range(len(op.body.results)))
    results = run_func(_kernel(op.body, names), arrays)
    for value, name in zip(op.operands[count:], names, strict=True):
        memory[value.name][...] = pack(results[name], _tensor(value.type).layout)


def _kernel(body: Block, names: tuple[str, ...]) -> Func:
    roles: list[Role] = ["input"] * len(body.args)
    return Func("kernel", body.args, tuple(roles), body.ops, body.results, names)


def _tensor(type_: object) -> TensorType:
    assert isinstance(type_, BufferType)
    return type_.tensor


def _stored(tensor: TensorType) -> tuple[int, ...]:
    shape = storage_shape(tensor.shape, tensor.layout)
    assert all(isinstance(d, int) for d in shape)
    return tuple(d for d in shape if isinstance(d, int))
