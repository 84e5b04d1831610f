"""Runs one kernel: tensor ops in a launch, lowered, compiled, run on threads, compared with the reference.

Memory is hostile: every buffer ends at a page that may not be touched, what lies between the elements of a
strided buffer is checked to stay as it was, and padding of blocked inputs holds NaN.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from arm_kernel import TARGET as ARM
from arm_kernel import EmulatedKernel
from arm_kernel import wanted as arm_wanted

from netc.backends.llvm.emit import emit_kernel
from netc.backends.llvm.engine import compile_to_object
from netc.backends.llvm.library import Library
from netc.backends.llvm.lower.kernel import launch_symbols
from netc.backends.llvm.lower.table import lower_launch, scratch_bytes
from netc.backends.llvm.spmd import Program, Step, executor_for
from netc.backends.llvm.target import parse_target
from netc.ir.builder import FuncBuilder
from netc.ir.core import Block, Func, Module, Op, Value
from netc.ir.dim import evaluate
from netc.ir.layout import pack, storage_shape
from netc.ir.opdef import numpy_dtype, opdef
from netc.ir.ops.buffer import LaunchAttrs
from netc.ir.ops.elementwise import ReluAttrs
from netc.ir.rewrite import bind_symbols
from netc.ir.types import BufferType, TensorType, substitute_type
from netc.ir.verify import verify

Array = npt.NDArray[Any]
Build = Callable[[FuncBuilder, list[Value]], Value | Sequence[Value]]
GAP = np.float32(12345.0)


LANES = {"cpu:sse2": 4, "cpu:avx2": 8, "cpu:avx512": 16, ARM: 4}
TARGETS = tuple(t for t in LANES if parse_target(t).lacking_here is None or (t == ARM and arm_wanted()))
PAGE = mmap.PAGESIZE
MOST_THREADS = 3


def launch_of(
    args: Sequence[TensorType | BufferType],
    build: Build,
    *,
    result_strides: Mapping[int, tuple[Any, ...]] = {},
    in_place: Mapping[int, int] = {},
) -> Op:
    """A launch of the ops that ``build`` makes of the arguments. ``in_place``: result -> argument."""
    builder = FuncBuilder("body")
    buffers = [a if isinstance(a, BufferType) else BufferType(a) for a in args]
    values = [builder.arg(f"x{i}", a.tensor, "input") for i, a in enumerate(buffers)]
    made = build(builder, values)
    results = [made] if isinstance(made, Value) else list(made)
    reads = [Value(f"read{i}", t) for i, t in enumerate(buffers)]
    writes = []
    for i, result in enumerate(results):
        assert isinstance(result.type, TensorType)
        fresh = Value(f"write{i}", BufferType(result.type, result_strides.get(i)))
        writes.append(reads[in_place[i]] if i in in_place else fresh)
    body = Block(tuple(values), tuple(builder.ops), tuple(results))
    return Op("buffer.launch", (*reads, *writes), LaunchAttrs(len(writes)), (), body)


def one_op(name: str, attrs: Any = None) -> Build:
    """A body of one op on all arguments."""
    return lambda builder, args: builder.add1(name, args, attrs, hint="y")


def added_and_rectified(name: str, attrs: Any) -> Build:
    """An op of all arguments but the last, that one added to its result, and a ReLU."""

    def build(builder: FuncBuilder, given: list[Value]) -> Value:
        made = builder.add1(name, given[:-1], attrs, hint="y")
        total = builder.add1("math.add", [made, given[-1]], hint="sum")
        return builder.add1("math.relu", [total], ReluAttrs(), hint="relu")

    return build


def reference(launch: Op, arrays: Sequence[Array], dtype: Any = np.float64) -> list[Array]:
    """What the launch should compute, in float64."""
    assert launch.body is not None
    known = {
        a.name: x.astype(dtype) if x.dtype == np.float32 else x
        for a, x in zip(launch.body.args, arrays, strict=True)
    }
    with np.errstate(all="ignore"):
        for op in launch.body.ops:
            rule = opdef(op.name).reference
            assert rule is not None
            results = rule(tuple(known[v.name] for v in op.operands), op.attrs)
            known |= {r.name: x for r, x in zip(op.results, results, strict=True)}
    return [known[r.name] for r in launch.body.results]


class Memory:
    """The memory of a buffer type whose shape is known; it ends where a forbidden page begins.

    What is no float is filled with the low bytes of ``GAP``.
    """

    def __init__(self, type_: BufferType) -> None:
        self.type = type_
        shape = [evaluate(d, {}) for d in storage_shape(type_.tensor.shape, type_.tensor.layout)]
        strides = [evaluate(d, {}) for d in type_.storage_strides]
        count = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        dtype = numpy_dtype(type_.tensor.dtype)
        size = dtype.itemsize
        self.gap = GAP if dtype == np.float32 else np.array(GAP).astype(np.int64).astype(dtype)
        pages = -(-size * count // PAGE)
        self._map = mmap.mmap(-1, (pages + 1) * PAGE)
        raw = np.frombuffer(self._map, dtype)
        begin = pages * PAGE // size - count
        self.elements = raw[begin : begin + count]
        self.before = raw[:begin]
        forbid = ctypes.c_void_p(raw.ctypes.data + pages * PAGE)
        assert ctypes.CDLL(None, use_errno=True).mprotect(forbid, ctypes.c_size_t(PAGE), 0) == 0
        self.elements[:] = self.gap
        self.before[:] = self.gap
        self.storage = np.lib.stride_tricks.as_strided(self.elements, shape, [size * s for s in strides])

    @property
    def address(self) -> int:
        return int(self.elements.ctypes.data)

    def put(self, array: Array) -> None:
        """Write a logical array; padding becomes NaN, for it is unspecified."""
        tensor = self.type.tensor
        self.storage[...] = pack(array.astype(self.storage.dtype), tensor.layout)
        if tensor.layout is not None:
            axis, size = tensor.layout.axis, tensor.layout.size
            extent = array.shape[axis]
            if extent % size:
                last = np.moveaxis(self.storage, axis, 0)[-1]
                last[..., extent % size :] = self.unspecified

    @property
    def unspecified(self) -> Any:
        """What no kernel may depend on."""
        return np.nan if self.storage.dtype == np.float32 else self.gap

    def logical(self) -> Array:
        tensor = self.type.tensor
        if tensor.layout is None:
            return self.storage.copy()
        axis = tensor.layout.axis
        extent = evaluate(tensor.shape[axis], {})
        merged = np.moveaxis(self.storage, -1, axis + 1)
        flat = merged.reshape(*merged.shape[:axis], -1, *merged.shape[axis + 2 :])
        return np.ascontiguousarray(np.take(flat, range(extent), axis))

    def padding(self) -> Array:
        """The elements beyond the blocked axis."""
        tensor = self.type.tensor
        assert tensor.layout is not None
        extent = evaluate(tensor.shape[tensor.layout.axis], {})
        last = np.moveaxis(self.storage, tensor.layout.axis, 0)[-1]
        rest = extent % tensor.layout.size
        return last[..., rest:] if rest else last[..., :0]

    def check_gaps(self) -> None:
        """Nothing was written outside of the elements."""
        assert (self.before == self.gap).all(), "memory in front of the buffer was written"
        inside = np.zeros(len(self.elements), bool)
        strides = [s // self.storage.itemsize for s in self.storage.strides]
        np.lib.stride_tricks.as_strided(inside, self.storage.shape, strides)[...] = True
        assert (self.elements[~inside] == self.gap).all(), "memory between the elements was written"


class Run:
    """A compiled launch with its memory; ``results`` are logical arrays, ``padding`` that of each result."""

    def __init__(
        self, launch: Op, arrays: Sequence[Array], target: str, opt: int, symbols: Mapping[str, int]
    ) -> None:
        self.target = parse_target(target)
        func = lower_launch("kernel", launch, self.target)
        module = Module("m", "loop", (func,))
        verify(module)
        self.module = module
        text = emit_kernel(func, fma=self.target.fma, dots=self.target.dots)
        code = compile_to_object(text, self.target, opt)
        self.emulated = EmulatedKernel(code) if target == ARM and self.target.lacking_here else None
        self.library = None if self.emulated else Library({"kernel": code}, self.target)
        split = len(launch.operands) - launch.attrs.writes
        self.memories: dict[str, Memory] = {}
        for value in launch.operands:
            bound = substitute_type(value.type, dict(symbols))
            assert isinstance(bound, BufferType)
            self.memories.setdefault(value.name, Memory(bound))
        self.inputs = [
            (self.memories[v.name], a) for v, a in zip(launch.operands[:split], arrays, strict=True)
        ]
        self.outputs = [self.memories[v.name] for v in launch.operands[split:]]
        self._operands = [list(self.memories).index(v.name) for v in launch.operands]
        slots = [self.memories[v.name].address for v in launch.operands]
        slots += [symbols[s] for s in launch_symbols(launch)]
        scratch = scratch_bytes(launch, self.target)
        self.scratch = (
            Memory(BufferType(TensorType("f32", (scratch // 4 * MOST_THREADS,)))) if scratch else None
        )
        if self.scratch is not None:
            slots.append(self.scratch.address)
        self.slots = np.array(slots, np.int64)

    def run(self, threads: int) -> list[Array]:
        for memory in self.outputs:
            memory.storage[...] = memory.unspecified
        for memory, array in self.inputs:
            memory.put(array)
        if self.scratch is not None:
            # the threads' memories end where the forbidden page begins
            elements = len(self.scratch.elements) // MOST_THREADS * threads
            self.scratch.elements[:] = np.nan
            self.slots[-1] = self.scratch.address + 4 * (len(self.scratch.elements) - elements)
        if self.emulated is not None:
            self._emulate(self.emulated, threads)
        else:
            assert self.library is not None
            step = Step("kernel", self.library.address("kernel"), self.slots)
            Program(executor_for(threads), [step], [self.library]).run()
        for memory in self.memories.values():
            memory.check_gaps()
        if self.scratch is not None:
            assert np.isnan(self.scratch.elements[:-elements]).all(), "the memory of no thread was written"
        return [m.logical() for m in self.outputs]

    def _emulate(self, kernel: EmulatedKernel, threads: int) -> None:
        """Run on copies of the memories; slots are memories, values of symbols, and scratch, in this order."""
        memories = [m.elements for m in self.memories.values()]
        slots = [(index, 0) for index in self._operands]
        slots += [(-1, int(word)) for word in self.slots[len(slots) :]]
        if self.scratch is not None:
            slots[-1] = (len(memories), int(self.slots[-1]) - self.scratch.address)
            memories.append(self.scratch.elements)
        kernel.run(memories, slots, threads)


def run_launch(
    launch: Op,
    arrays: Sequence[Array],
    *,
    target: str = "cpu",
    opt: int = 1,
    threads: Sequence[int] = (1, 2, 3),
    symbols: Mapping[str, int] = {},
) -> Run:
    """Compile and run; the results are the same to the bit on any number of threads."""
    run = Run(launch, arrays, target, opt, symbols)
    first: list[Array] | None = None
    for count in threads:
        results = run.run(count)
        if first is None:
            first = results
        for x, y in zip(first, results, strict=True):
            np.testing.assert_array_equal(x.reshape(-1).view(np.uint8), y.reshape(-1).view(np.uint8))
    return run


def assert_near(got: Array, wanted: Array, tolerance: float, relative_to_each: bool) -> None:
    """Numbers differ by at most the tolerance times the largest, or times each; what is no float32 is equal."""
    assert got.shape == wanted.shape
    if got.dtype != np.float32:
        np.testing.assert_array_equal(got, wanted)
        return
    finite = np.abs(wanted[np.isfinite(wanted)])
    scale = np.abs(wanted) if relative_to_each else (finite.max() if finite.size else 1.0)
    with np.errstate(invalid="ignore"):
        close = np.abs(got - wanted) <= tolerance * scale + 1e-37
    good = close | (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    if not good.all():
        at = tuple(np.argwhere(~good)[0])
        raise AssertionError(
            f"{(~good).sum()} of {good.size} differ; the first at {at}: {got[at]} is not {wanted[at]}"
        )


def check_launch(
    launch: Op,
    arrays: Sequence[Array],
    *,
    tolerance: float = 2e-6,
    relative_to_each: bool = False,
    **options: Any,
) -> Run:
    """Compare with the float64 reference: errors relative to the largest element, or to each element."""
    run = run_launch(launch, arrays, **options)
    symbols = options.get("symbols", {})
    expected = reference(bound_launch(launch, symbols), arrays)
    for memory, wanted in zip(run.outputs, expected, strict=True):
        assert_near(memory.logical(), wanted, tolerance, relative_to_each)
    return run


def bound_launch(launch: Op, symbols: Mapping[str, int]) -> Op:
    """The launch with numbers for its symbols (also in attributes)."""
    if not symbols:
        return launch
    assert launch.body is not None
    roles = ("input",) * len(launch.body.args)
    names = tuple(f"r{i}" for i in range(len(launch.body.results)))
    func = Func("f", launch.body.args, roles, launch.body.ops, launch.body.results, names)
    func = bind_symbols(Module("m", "tensor", (func,)), dict(symbols)).funcs[0]
    return Op(launch.name, launch.operands, launch.attrs, (), Block(func.args, func.ops, func.results))


def random(shape: Sequence[int], seed: int = 0, low: float = -2, high: float = 2) -> Array:
    generator = np.random.default_rng(seed)
    return generator.uniform(low, high, shape).astype(np.float32)
