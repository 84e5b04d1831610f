"""A compiled net at one size: its memory, and the kernels with the addresses they work on."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from netc.backends.llvm.backend import REFERENCE_KERNEL
from netc.backends.llvm.library import Library
from netc.backends.llvm.spmd import Executor, Step
from netc.backends.llvm.spmd import Program as StepProgram
from netc.ir.arena import arena_bytes, unshared_bytes
from netc.ir.core import Func, Module, Op
from netc.ir.dim import Dim, product
from netc.ir.layout import pack, unpack
from netc.ir.opdef import numpy_dtype
from netc.ir.ops.buffer import AllocAttrs, LaunchAttrs, ViewAttrs
from netc.ir.types import DTYPE_BYTES, BufferType, TensorType
from netc.runtime.input_slots import InputSlots, is_readable, readable_in_place
from netc.runtime.memory import Array, aligned_zeros
from netc.runtime.program_parts import PartsProgram
from netc.runtime.reference_launch import ReferenceLaunch
from netc.runtime.shapes import tensor_of


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel call of a program: the op, which ran as step ``index``."""

    index: int
    kernel: str
    op: Op


class KernelProgram(PartsProgram):
    """The buffers of a static module (offsets set) allocated, and its launches ready to run.

    ``result_names`` names the results, in order. ``kernel_symbols`` gives for each kernel the names of its
    symbols, which follow the operands in its slots; ``values`` is what they stand for here. ``scratch`` gives
    for each kernel the bytes that it needs besides, which follow in turn. ``persistent`` is the memory of the
    prepared parameters and of the states, as the kernels read it. Where there are ``late`` inputs, the
    launches from the first on that depends on one are the backward pass, and ``forward_launches`` come
    before it.
    """

    def __init__(
        self,
        module: Module,
        result_names: Sequence[str],
        kernel_symbols: Mapping[str, Sequence[str]],
        scratch: Mapping[str, int],
        values: Mapping[str, int],
        library: Library,
        persistent: Mapping[str, Array],
        executor: Executor,
        late: Collection[str] = (),
    ) -> None:
        self.func = func = module.func("main")
        states = {value.name for value in func.states}
        self._inputs = [(value.name, tensor_of(value.type)) for value in func.inputs]
        self._outputs = [(value.name, tensor_of(value.type)) for value in func.outputs]
        self.result_names = tuple(name for name in result_names if name not in states)
        self.arena_bytes, self.unshared_bytes = arena_bytes(module), unshared_bytes(module)
        arena = aligned_zeros((self.arena_bytes,), np.uint8, what="the memory of intermediate blobs")
        shared = aligned_zeros((max(scratch.values(), default=0),), np.uint8, what="the memory of kernels")
        self.storages: dict[str, Array] = {}
        addresses: dict[str, int] = {}
        # inputs that may lie anywhere have the address 0 here: what points into them is an offset
        self._movable = {name: InputSlots() for name in readable_in_place(func, (REFERENCE_KERNEL,))}
        self._borrowed: list[str] = []
        for arg, role in zip(func.args, func.roles, strict=True):
            if role in ("param", "state"):
                addresses[arg.name] = persistent[arg.name].ctypes.data
                continue
            if arg.name in self._movable:
                addresses[arg.name] = 0
            else:
                self.storages[arg.name] = _storage(arg.name, tensor_of(arg.type))
                addresses[arg.name] = self.storages[arg.name].ctypes.data
        calls = [op for op in func.ops if op.name == "buffer.launch"]
        self.launches = tuple(Launch(index, _kernel_name(op), op) for index, op in enumerate(calls))
        backward, self._late = dependent(func, late)
        self.forward_launches = len(calls) if backward is None else calls.index(backward)
        self._backward: int | None = None
        # runs of compiled steps, with launches that have no kernel between them
        parts: list[list[Step] | ReferenceLaunch] = []
        inputs = {name: name for name in self._movable}  # by the buffers that lie in them
        for op in func.ops:
            if op.name != "buffer.launch":
                addresses[op.result.name] = buffer_address(op, addresses, arena.ctypes.data)
                if op.operands and op.operands[0].name in inputs:
                    inputs[op.result.name] = inputs[op.operands[0].name]
                continue
            if op is backward:
                self._backward = len(parts)
                parts.append([])
            kernel = _kernel_name(op)
            words = [addresses[v.name] for v in op.operands]
            if kernel == REFERENCE_KERNEL:
                parts.append(ReferenceLaunch(op, words))
                continue
            words += [values[name] for name in kernel_symbols[kernel]]
            if scratch[kernel]:
                words.append(shared.ctypes.data)
            step = Step(kernel, library.address(kernel), np.array(words, dtype=np.int64))
            for index, value in enumerate(op.operands):
                if value.name in inputs:
                    self._movable[inputs[value.name]].add(step.slots, index, addresses[value.name])
            if parts and isinstance(parts[-1], list):
                parts[-1].append(step)
            else:
                parts.append([step])
        alive = [library, arena, shared, *persistent.values()]
        self._parts: list[StepProgram | ReferenceLaunch] = [
            StepProgram(executor, part, alive) if isinstance(part, list) else part for part in parts
        ]

    def run(
        self, arrays: Mapping[str, Array], meanwhile: Callable[[], object] | None = None
    ) -> dict[str, Array]:
        """The outputs for these inputs, as new arrays. Inputs are read where they lie, if they can be."""
        try:
            return super().run(arrays, meanwhile)
        finally:
            self._give_back()

    def take(self, arrays: Mapping[str, Array]) -> None:
        """Read inputs where they lie, if they can be; copy the others."""
        self.fill(self._borrow(arrays))

    def run_timed(self) -> list[float]:
        """Run on the inputs of the last :meth:`fill`; the seconds of each launch."""
        for name, type_ in self._inputs:
            self._own(name, type_)
        seconds: list[float] = []
        for part in self._parts:
            if isinstance(part, ReferenceLaunch):
                start = time.perf_counter()
                part.run()
                seconds.append(time.perf_counter() - start)
            else:
                seconds += part.run_timed()
        return seconds

    def fill(self, arrays: Mapping[str, Array]) -> None:
        """Copy inputs into their buffers, as float32."""
        for name, type_ in self._inputs:
            if name not in arrays:
                continue
            layout, storage, array = type_.layout, self._own(name, type_), arrays[name]
            np.copyto(storage, array if layout is None else pack(array, layout), casting="unsafe")

    def _own(self, name: str, type_: TensorType) -> Array:
        """The program's own memory for an input, which kernels read from now on."""
        if name in self._movable:
            if name not in self.storages:
                self.storages[name] = _storage(name, type_)
            self._movable[name].point_to(self.storages[name].ctypes.data)
        return self.storages[name]

    def _borrow(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Let kernels read the inputs that they can read as they lie; the others."""
        others = dict(arrays)
        for name, type_ in self._inputs:
            if name in self._movable and type_.layout is None:
                array = others.get(name)
                if array is not None and is_readable(array, numpy_dtype(type_.dtype)):
                    self._movable[name].point_to(array.ctypes.data)
                    self._borrowed.append(name)
                    del others[name]
        return others

    def _give_back(self) -> None:
        """No kernel may read an array of the caller's when the run is over."""
        while self._borrowed:
            name = self._borrowed.pop()
            own = self.storages.get(name)
            self._movable[name].point_to(0 if own is None else own.ctypes.data)

    def outputs(self, *, late: bool | None = None) -> dict[str, Array]:
        """Copies of the outputs of the last run: all, or those that depend on late inputs or do not."""
        found = {}
        for (value, type_), name in zip(self._outputs, self.result_names, strict=True):
            if late is not None and (value in self._late) != late:
                continue
            storage = self.storages[value]
            if type_.layout is None:
                found[name] = storage.copy()
            else:
                found[name] = unpack(storage, type_.static_shape, type_.layout)
        return found


def buffer_address(op: Op, addresses: Mapping[str, int], arena: int) -> int:
    """Where the buffer that an op defines begins, in an arena and beside buffers at these addresses."""
    attrs = op.attrs
    if isinstance(attrs, AllocAttrs):
        if attrs.offset is None:
            raise ValueError(f"%{op.result.name} has no place in the arena")
        return arena + attrs.offset
    base = op.operands[0]
    assert isinstance(base.type, BufferType)
    if isinstance(attrs, ViewAttrs):
        return addresses[base.name] + view_elements(base.type, attrs) * DTYPE_BYTES[base.type.tensor.dtype]
    return addresses[base.name]  # buffer.reinterpret


def dependent(func: Func, inputs: Collection[str]) -> tuple[Op | None, frozenset[str]]:
    """The first launch that reads one of the inputs or what was computed from one; all memory it reaches."""
    reached = set(inputs)
    root: dict[str, str] = {}
    first: Op | None = None
    for op in func.ops:
        if op.name != "buffer.launch":
            if op.operands:
                root[op.result.name] = root.get(op.operands[0].name, op.operands[0].name)
            continue
        names = [root.get(v.name, v.name) for v in op.operands]
        if any(name in reached for name in names[: len(names) - op.attrs.writes]):
            first = first or op
            reached.update(names[len(names) - op.attrs.writes :])
    return first, frozenset(reached)


def _bytes(type_: TensorType) -> int:
    size = type_.storage_bytes
    assert isinstance(size, int)
    return size


def _storage(name: str, type_: TensorType) -> Array:
    dtype = numpy_dtype(type_.dtype)
    flat = aligned_zeros((_bytes(type_) // dtype.itemsize,), dtype, what=f"the memory for '{name}'")
    return flat.reshape(type_.static_shape) if type_.layout is None else flat


def _kernel_name(op: Op) -> str:
    assert isinstance(op.attrs, LaunchAttrs)
    if op.attrs.kernel is None:
        raise ValueError("the module has launches without a kernel")
    return op.attrs.kernel


def view_elements(base: BufferType, attrs: ViewAttrs) -> int:
    """How many elements of storage lie before the view."""
    layout = base.tensor.layout
    total: Dim = 0
    for axis, (start, stride) in enumerate(
        zip(attrs.start, base.storage_strides[: base.tensor.rank], strict=True)
    ):
        steps = start // layout.size if layout is not None and layout.axis == axis else start
        total = total + product((steps, stride))
    assert isinstance(total, int)
    return total
