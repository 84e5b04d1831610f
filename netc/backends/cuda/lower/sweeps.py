"""Several sweeps of one walk over arrays of different sizes as one kernel: the updates of many parameters.

Every block belongs to one sweep, and finds it by comparing its number, which leads to the pointers and the
size. What is computed is the same text for all. A thread takes four elements, 16 bytes where memory allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netc.backends.cuda.kernel import THREADS, Kernel
from netc.backends.cuda.lower.epilogue import evaluate
from netc.ir.core import Block, Op, Value
from netc.ir.dim import Dim, product
from netc.ir.types import BufferType, TensorType, contiguous_strides

RUN = 4  # elements of a thread
PER_BLOCK = THREADS * RUN


@dataclass(frozen=True, slots=True)
class Sweep:
    """The ops of one sweep, its body's arguments, its results, and their numbers in the launch."""

    ops: tuple[Op, ...]
    args: tuple[Value, ...]
    results: tuple[Value, ...]
    numbers: tuple[int, ...]

    @property
    def shape(self) -> tuple[Dim, ...]:
        """The shape of its results."""
        return _tensor(self.results[0]).shape

    @property
    def elements(self) -> int:
        """How many elements each result has."""
        size = product(self.shape)
        assert isinstance(size, int)
        return size

    @property
    def blocks(self) -> int:
        """How many blocks it takes."""
        return -(-self.elements // PER_BLOCK)

    def walk(self) -> str:
        """What is computed, whatever the shape: a text that is equal for equal sweeps."""
        names = {v.name: str(i) for i, v in enumerate((*self.args, *(op.result for op in self.ops)))}
        kinds = [self.is_single(a) for a in self.args]
        lines = [f"{op.name} {op.attrs} {[names[v.name] for v in op.operands]}" for op in self.ops]
        return "\n".join([str(kinds), *lines, *(names[r.name] for r in self.results)])

    def is_single(self, arg: Value) -> bool:
        """Whether an argument is one element for all of the result's."""
        return _tensor(arg).shape != self.shape


def sweeps_of(body: Block) -> list[Sweep]:
    """The parts of an elementwise body that have no value in common, in the order of their results."""
    group = {v.name: v.name for v in (*body.args, *(r for op in body.ops for r in op.results))}

    def root(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    for op in body.ops:
        first = root(op.result.name)
        for value in op.operands:
            group[root(value.name)] = first
    found: dict[str, list[int]] = {}
    for i, value in enumerate(body.results):
        found.setdefault(root(value.name), []).append(i)
    return [
        Sweep(
            tuple(op for op in body.ops if root(op.result.name) == name),
            tuple(a for a in body.args if root(a.name) == name),
            tuple(body.results[i] for i in numbers),
            tuple(numbers),
        )
        for name, numbers in found.items()
    ]


def fit_one_kernel(launch: Op) -> bool:
    """Whether the sweeps of an elementwise launch are one, or many that compute the same on whole arrays."""
    assert launch.body is not None
    sweeps = sweeps_of(launch.body)
    if len(sweeps) == 1:
        return True
    buffers = [v.type for v in launch.operands if isinstance(v.type, BufferType)]
    return (
        len({sweep.walk() for sweep in sweeps}) == 1
        and all(isinstance(product(sweep.shape), int) for sweep in sweeps)
        and all(_tensor(v).shape == sweep.shape for sweep in sweeps for v in sweep.results)
        and all(product(_tensor(a).shape) == 1 or not s.is_single(a) for s in sweeps for a in s.args)
        and all(b.strides is None or b.strides == contiguous_strides(b.tensor) for b in buffers)
    )


def _tensor(value: Value) -> TensorType:
    assert isinstance(value.type, TensorType)
    return value.type


def lower_sweeps(kernel: Kernel, sweeps: Sequence[Sweep]) -> None:
    """Emit the kernel of sweeps that compute the same."""
    first = sweeps[0]
    starts = [0]
    for sweep in sweeps:
        starts.append(starts[-1] + sweep.blocks)
    # values of the first sweep stand for those of all
    single = [first.is_single(a) for a in first.args]
    with kernel.function((starts[-1], 1, 1), THREADS):
        for i in range(len(first.args)):
            kernel.line(f"const float* from{i};")
        for i in range(len(first.results)):
            kernel.line(f"float* to{i};")
        kernel.line("int begin, count;")
        kernel.line("bool whole;")
        _choose(kernel, sweeps, starts, 0, len(sweeps))
        kernel.line(f"const int at = (int(blockIdx.x) - begin) * {PER_BLOCK} + int(threadIdx.x) * {RUN};")
        known: dict[str, str] = {}
        for i, (arg, alone) in enumerate(zip(first.args, single, strict=True)):
            if alone:
                kernel.line(f"const float x{i} = from{i}[0];")
            known[arg.name] = f"x{i}" if alone else f"x{i}[lane]"
        several = [i for i, alone in enumerate(single) if not alone]
        for i in several:
            kernel.line(f"float x{i}[{RUN}] = {{}};")
        for i in range(len(first.results)):
            kernel.line(f"float y{i}[{RUN}];")
        kernel.line(f"const bool four = whole && at + {RUN} <= count;")
        with kernel.block("if (four)"):
            for i in several:
                kernel.line(f"unpack(x{i}, load4(from{i} + at));")
        with kernel.block("else"), kernel.unrolled("lane", RUN):
            for i in several:
                kernel.line(f"if (at + lane < count) x{i}[lane] = from{i}[at + lane];")
        with kernel.unrolled("lane", RUN):
            _compute(kernel, first, known)
        with kernel.block("if (four)"):
            for i in range(len(first.results)):
                kernel.line(f"store4(to{i} + at, pack(y{i}));")
        with kernel.block("else"), kernel.unrolled("lane", RUN):
            for i in range(len(first.results)):
                kernel.line(f"if (at + lane < count) to{i}[at + lane] = y{i}[lane];")


def _compute(kernel: Kernel, sweep: Sweep, known: Mapping[str, str]) -> None:
    results = evaluate(kernel, sweep.ops, known, sweep.results, lambda name, _: known[name])
    for i, result in enumerate(results):
        kernel.line(f"y{i}[lane] = {result};")


def _choose(kernel: Kernel, sweeps: Sequence[Sweep], starts: Sequence[int], low: int, high: int) -> None:
    """What a block of the sweeps from ``low`` to before ``high`` works on."""
    if high - low > 1:
        middle = (low + high) // 2
        with kernel.block(f"if (int(blockIdx.x) < {starts[middle]})"):
            _choose(kernel, sweeps, starts, low, middle)
        with kernel.block("else"):
            _choose(kernel, sweeps, starts, middle, high)
        return
    sweep = sweeps[low]
    reads = [kernel.operand(a) for a in sweep.args]
    for i, memory in enumerate(reads):
        kernel.line(f"from{i} = {memory.pointer};")
    writes = [kernel.writes[i] for i in sweep.numbers]
    for i, memory in enumerate(writes):
        kernel.line(f"to{i} = {memory.pointer};")
    whole = all(m.aligned for m in (*reads, *writes))
    kernel.line(f"begin = {starts[low]}, count = {sweep.elements}, whole = {str(whole).lower()};")
