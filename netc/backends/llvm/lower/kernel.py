"""One launch on its way to the loop level: pointers, strides, symbols, the share of this thread."""

from __future__ import annotations

from dataclasses import dataclass

from netc.backends.llvm.target import Target
from netc.ir.core import Func, Op, Value
from netc.ir.dim import Dim, symbols
from netc.ir.layout import storage_shape
from netc.ir.loop_builder import Index, LoopBuilder
from netc.ir.types import BufferType, TensorType


@dataclass(frozen=True, slots=True)
class Memory:
    """A launch operand inside the kernel: base pointer, logical type, strides of the storage axes.

    ``strides`` are for computing with, ``stride_dims`` the same as dimensions, which can be compared.
    """

    pointer: Value
    type: TensorType
    strides: tuple[Index, ...]
    stride_dims: tuple[Dim, ...]

    @property
    def rows_follow(self) -> bool:
        """Whether the rows of [N, C, H, W] lie one after the other, so that a plane is one long row."""
        return self.stride_dims[2] == self.stride_dims[3] * self.type.shape[3]


def launch_symbols(launch: Op) -> list[str]:
    """The symbols a kernel of this launch needs, in the order of its slots."""
    found: set[str] = set()
    for value in launch.operands:
        assert isinstance(value.type, BufferType)
        for dim in (*value.type.tensor.shape, *(value.type.strides or ())):
            found |= symbols(dim)
    return sorted(found)


class Kernel:
    """A loop-level function in the making, with the launch it implements.

    ``reads`` and ``writes`` are the operands in order; ``b`` is the builder; ``tid`` and ``nth`` are the
    number of this thread and of all threads. ``scratch`` points to ``scratch_bytes`` of memory for each
    thread, one after the other, where the kernel wants any.
    """

    def __init__(self, name: str, launch: Op, target: Target, scratch_bytes: int = 0) -> None:
        assert launch.body is not None
        self.launch = launch
        self.body = launch.body
        self.target = target
        self.b = LoopBuilder(name, target.lanes)
        pointers: dict[str, Value] = {}
        refs: list[tuple[Value, BufferType]] = []
        for i, value in enumerate(launch.operands):
            assert isinstance(value.type, BufferType)
            pointer = self.b.pointer(f"buffer{i}", value.type.tensor.dtype)
            # a buffer that is read and written has one pointer: two would both claim to be noalias
            refs.append((pointers.setdefault(value.name, pointer), value.type))
        for symbol in launch_symbols(launch):
            self.b.symbol_arg(symbol)
        if scratch_bytes:
            self.scratch = self.b.pointer("scratch")
        self.tid = self.b.index_arg("tid")
        self.nth = self.b.index_arg("nth")
        memory = [
            Memory(p, t.tensor, tuple(map(self.b.dim, t.storage_strides)), t.storage_strides) for p, t in refs
        ]
        split = len(memory) - launch.attrs.writes
        self.reads = memory[:split]
        self.writes = memory[split:]
        self.arguments = {a.name: m for a, m in zip(self.body.args, self.reads, strict=True)}

    def operand(self, value: Value) -> Memory:
        """The memory behind a body argument."""
        return self.arguments[value.name]

    def bias(self, anchor: Op) -> Memory | None:
        """The third operand of a product with weights, which may have none."""
        return self.operand(anchor.operands[2]) if len(anchor.operands) > 2 else None

    def storage_extents(self, type_: TensorType) -> list[Index]:
        """The extents of the storage axes, lanes of a blocked layout excluded."""
        extents = [self.b.dim(d) for d in storage_shape(type_.shape, type_.layout)]
        return extents if type_.layout is None else extents[:-1]

    def share(self, total: Index) -> tuple[Index, Index]:
        """The first and one past the last of ``total`` items that this thread does."""
        b = self.b
        first = b.idiv(b.imul(total, self.tid), self.nth)
        last = b.idiv(b.imul(total, b.iadd(self.tid, 1)), self.nth)
        return first, last

    def finish(self) -> Func:
        """The loop-level function."""
        return self.b.finish()
