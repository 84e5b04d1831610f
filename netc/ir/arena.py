"""Facts about memory at the buffer level: which allocation lives when, and what the arena adds up to."""

from __future__ import annotations

from dataclasses import dataclass

from netc.ir.core import Func, Module
from netc.ir.diagnostics import NetcError
from netc.ir.dim import evaluate
from netc.ir.layout import storage_shape
from netc.ir.ops.buffer import AllocAttrs
from netc.ir.types import DTYPE_BYTES, BufferType, TensorType, Type

ALIGN_BYTES = 64  # a cache line, and the widest vector


@dataclass(frozen=True, slots=True)
class LiveInterval:
    """An allocation, its size, and the first and last op (by index) that touches it or a part of it."""

    name: str
    nbytes: int
    first: int
    last: int

    def meets(self, other: LiveInterval) -> bool:
        """Whether both are alive at some op; an op that reads one and writes the other counts."""
        return self.first <= other.last and other.first <= self.last


def span_bytes(type_: Type) -> int:
    """From the first byte of a static buffer, which may be a view, to its last."""
    assert isinstance(type_, BufferType)
    shape = storage_shape(type_.tensor.shape, type_.tensor.layout)
    extents = [evaluate(d, {}) for d in shape]
    strides = [evaluate(s, {}) for s in type_.storage_strides]
    count = 1 + sum((n - 1) * s for n, s in zip(extents, strides, strict=True))
    return count * DTYPE_BYTES[type_.tensor.dtype]


def live_intervals(func: Func) -> tuple[LiveInterval, ...]:
    """The allocations of a function that some launch uses, in order. NetcError if a size is symbolic."""
    root: dict[str, str] = {}
    touched: dict[str, list[int]] = {}
    for index, op in enumerate(func.ops):
        if op.name == "buffer.alloc":
            root[op.result.name] = op.result.name
        elif op.name in ("buffer.view", "buffer.reinterpret"):
            base = op.operands[0].name
            if base in root:
                root[op.result.name] = root[base]
        else:
            for value in op.operands:
                if value.name in root:
                    touched.setdefault(root[value.name], []).append(index)
    sizes = _alloc_bytes(func)
    return tuple(LiveInterval(n, sizes[n], touched[n][0], touched[n][-1]) for n in sizes if n in touched)


def arena_bytes(module: Module) -> int:
    """The size of the arena that ``@main``'s offsets need. NetcError before share_buffers."""
    main = module.func("main")
    sizes = _alloc_bytes(main)
    end = 0
    for op in main.ops:
        if op.name == "buffer.alloc":
            if op.attrs.offset is None:
                raise NetcError(
                    f"%{op.result.name} has no offset yet; run share_buffers", location=op.location
                )
            end = max(end, op.attrs.offset + sizes[op.result.name])
    return aligned(end)


def unshared_bytes(module: Module) -> int:
    """The size of an arena where each allocation of ``@main`` has memory of its own."""
    return sum(aligned(nbytes) for nbytes in _alloc_bytes(module.func("main")).values())


def argument_bytes(func: Func) -> int:
    """The size of what a caller gives in every call, and gets: inputs and outputs of known sizes."""
    total = 0
    for value in (*func.inputs, *func.outputs):
        type_ = value.type.tensor if isinstance(value.type, BufferType) else value.type
        assert isinstance(type_, TensorType)
        nbytes = type_.storage_bytes
        assert isinstance(nbytes, int)
        total += nbytes
    return total


def aligned(nbytes: int) -> int:
    """The next multiple of :data:`ALIGN_BYTES`."""
    return -(-nbytes // ALIGN_BYTES) * ALIGN_BYTES


def _alloc_bytes(func: Func) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for op in func.ops:
        if op.name == "buffer.alloc":
            assert isinstance(op.attrs, AllocAttrs)
            nbytes = op.attrs.tensor.storage_bytes
            if not isinstance(nbytes, int):
                raise NetcError(
                    f"%{op.result.name} has {nbytes} bytes: bind the symbols before placing buffers",
                    location=op.location,
                )
            sizes[op.result.name] = nbytes
    return sizes
