"""One launch on its way to CUDA C++: its memory, its symbols, and the functions that implement it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from netc.backends.cuda.target import Precision
from netc.backends.cuda.text import C_TYPES, c_dim, linear, split_index, symbol_name
from netc.ir.core import Op, Value
from netc.ir.dim import Dim, ceildiv, symbols
from netc.ir.opdef import opdef
from netc.ir.printer import print_op
from netc.ir.types import BufferType, TensorType

THREADS = 256  # of a block where nothing else decides
Grid = tuple[Dim, Dim, Dim]


@dataclass(frozen=True, slots=True)
class Memory:
    """An operand inside of a kernel: its pointer's name, its logical type, its strides in elements.

    ``aligned``: it begins at a multiple of 16 bytes.
    """

    pointer: str
    type: TensorType
    strides: tuple[Dim, ...]
    aligned: bool

    def at(self, indices: Sequence[str]) -> str:
        """The offset of an element; along an axis of extent 1 every index is 0."""
        chosen = ["0" if d == 1 else i for i, d in zip(indices, self.type.shape, strict=True)]
        return linear(chosen, self.strides)

    def element(self, indices: Sequence[str]) -> str:
        """The element as an expression."""
        return f"{self.pointer}[{self.at(indices)}]"

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie one after the other in row-major order."""
        total: Dim = 1
        for extent, stride in zip(reversed(self.type.shape), reversed(self.strides), strict=True):
            if extent != 1 and stride != total:
                return False
            total = total * extent
        return True


@dataclass(frozen=True, slots=True)
class Stage:
    """One ``__global__`` function, and how it is started: ``shared_bytes`` of dynamic shared memory."""

    name: str
    text: str
    grid: Grid
    threads: int
    shared_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LibraryProduct:
    """A matrix product that a library computes: C[m, n] = sum over k of A[m, k] B[n, k], in scratch memory.

    ``a`` and ``b`` are numbers of the kernel's pointers, their strides those of (row, column), one of them 1.
    """

    m: int
    n: int
    k: int
    a: int
    a_strides: tuple[int, int]
    b: int
    b_strides: tuple[int, int]
    precision: Precision


@dataclass(frozen=True, slots=True)
class CudaKernel:
    """A launch's stages, run one after the other on one stream, behind the product of a library if any.

    Each takes a pointer for every distinct operand in order (``operands``: the number of the first of equal
    ones), the scratch memory where there is some (``scratch_bytes``), then the symbols as ints.
    """

    name: str
    lowering: str
    stages: tuple[Stage, ...]
    operands: tuple[int, ...]
    symbols: tuple[str, ...]
    scratch_bytes: Dim = 0
    library: LibraryProduct | None = None

    @property
    def text(self) -> str:
        """The functions' text."""
        return "\n".join(stage.text for stage in self.stages)


def launch_symbols(launch: Op) -> tuple[str, ...]:
    """The symbols that a kernel of this launch needs, in the order of its parameters."""
    found: set[str] = set()
    for value in launch.operands:
        assert isinstance(value.type, BufferType)
        for dim in (*value.type.tensor.shape, *(value.type.strides or ())):
            found |= symbols(dim)
    return tuple(sorted(found))


class Kernel:
    """The functions of a launch in the making.

    ``reads`` and ``writes`` are the operands in order. ``aligned`` says of each operand whether its memory
    begins at a multiple of 16 bytes. ``warpgroups``: whether matrix products may be computed by them.
    """

    def __init__(
        self,
        name: str,
        launch: Op,
        precision: Precision,
        aligned: Sequence[bool],
        *,
        warpgroups: bool = False,
    ) -> None:
        assert launch.body is not None
        self.name = name
        self.launch = launch
        self.body = launch.body
        self.precision = precision
        self.warpgroups = warpgroups
        self.symbols = launch_symbols(launch)
        self.stages: list[Stage] = []
        self.scratch_bytes: Dim = 0
        self.library: LibraryProduct | None = None
        self._lines: list[str] = []
        self._depth = 0
        split = len(launch.operands) - launch.attrs.writes
        names = _read_names(launch)
        written = {v.name for v in launch.operands[split:]}
        self._params: dict[str, tuple[str, str, bool]] = {}
        memory: list[Memory] = []
        for i, value in enumerate(launch.operands):
            assert isinstance(value.type, BufferType)
            type_ = value.type.tensor
            fresh = names[i] if i < split else f"out{i - split}" if launch.attrs.writes > 1 else "out"
            pointer, *_ = self._params.setdefault(
                value.name, (fresh, C_TYPES[type_.dtype], value.name in written)
            )
            memory.append(Memory(pointer, type_, value.type.storage_strides, aligned[i]))
        first = {v.name: i for i, v in reversed(list(enumerate(launch.operands)))}
        self.operands = tuple(first[name] for name in self._params)
        self.reads, self.writes = memory[:split], memory[split:]
        self.arguments = {a.name: m for a, m in zip(self.body.args, self.reads, strict=True)}

    def operand(self, value: Value) -> Memory:
        """The memory behind a body argument."""
        return self.arguments[value.name]

    def pointer_number(self, memory: Memory) -> int:
        """Which of the functions' pointers leads to an operand."""
        return [pointer for pointer, *_ in self._params.values()].index(memory.pointer)

    def bias(self, anchor: Op) -> Memory | None:
        """The third operand of a product with weights, which may have none."""
        return self.operand(anchor.operands[2]) if len(anchor.operands) > 2 else None

    # --- text ---
    def line(self, text: str) -> None:
        """Add a line at the current depth; a ``#pragma`` too."""
        self._lines.append("  " * self._depth + text if text else "")

    @contextmanager
    def block(self, head: str, end: str = "") -> Iterator[None]:
        """A block in braces behind ``head``."""
        self.line(f"{head} {{")
        self._depth += 1
        yield
        self._depth -= 1
        self.line(f"}}{end}")

    def closure(self, name: str, parameter: str) -> AbstractContextManager[None]:
        """A function inside of the function, of one int."""
        return self.block(f"const auto {name} = [&](int {parameter})", ";")

    @contextmanager
    def unrolled(
        self, variable: str, count: int, step: int = 1, at_once: int | None = None
    ) -> Iterator[None]:
        """A loop over ``variable`` that the compiler unrolls, whole or ``at_once`` steps of it."""
        self.line("#pragma unroll" if at_once is None else f"#pragma unroll {at_once}")
        move = f"++{variable}" if step == 1 else f"{variable} += {step}"
        with self.block(f"for (int {variable} = 0; {variable} < {count}; {move})"):
            yield

    def split(self, index: str, names: Sequence[str], extents: Sequence[Dim]) -> list[str]:
        """Declare the row-major indices of a linear one; returns them, 0 along axes of extent 1."""
        found = split_index(index, extents)
        for i, (name, value) in enumerate(zip(names, found, strict=True)):
            if value != "0":
                self.line(f"const int {name} = {value};")
                found[i] = name
        return found

    @contextmanager
    def function(
        self,
        grid: Grid,
        threads: int,
        *,
        suffix: str = "",
        scratch: bool = False,
        blocks: int = 0,
        shared_bytes: int = 0,
    ) -> Iterator[None]:
        """A ``__global__`` function; ``blocks`` is how many are to fit on a processor at once."""
        name = f"{self.name}{suffix}"
        params = [
            f"{kind}* __restrict__ {pointer}" if written else f"const {kind}* __restrict__ {pointer}"
            for pointer, kind, written in self._params.values()
        ]
        params += ["float* __restrict__ scratch"] if scratch else []
        params += [f"int {symbol_name(symbol)}" for symbol in self.symbols]
        bounds = f"{threads}, {blocks}" if blocks else str(threads)
        outer, self._lines = self._lines, []
        if not self.stages:
            self._describe()
        self.line(f'extern "C" __global__ void __launch_bounds__({bounds})')
        with self.block(f"{name}({', '.join(params)})"):
            yield
        self.stages.append(Stage(name, "\n".join(self._lines) + "\n", grid, threads, shared_bytes))
        self._lines = outer

    @contextmanager
    def elements(
        self, extents: Sequence[Dim], names: Sequence[str], **options: object
    ) -> Iterator[list[str]]:
        """A function with one thread for each element of a box; yields the thread's indices."""
        total: Dim = 1
        for extent in extents:
            total = total * extent
        with self.function((ceildiv(total, THREADS), 1, 1), THREADS, **options):  # type: ignore[arg-type]
            self.line(f"const int item = int(blockIdx.x * {THREADS}u + threadIdx.x);")
            # the last block's numbers may exceed an int
            self.line(f"if (unsigned(item) >= unsigned({c_dim(total)})) return;")
            yield self.split("item", names, extents)

    def _describe(self) -> None:
        for op in self.body.ops:
            self.line(f"// {' '.join(print_op(op, locations=False).split())}")
        if not self.body.ops:
            self.line("// a copy")

    def finish(self, lowering: str) -> CudaKernel:
        """The kernel; ``lowering`` names how it was made."""
        return CudaKernel(
            self.name,
            lowering,
            tuple(self.stages),
            self.operands,
            self.symbols,
            self.scratch_bytes,
            self.library,
        )


def _read_names(launch: Op) -> list[str]:
    """A name for each operand read: the anchor's own names for its operands, numbers for the others."""
    assert launch.body is not None
    args = [a.name for a in launch.body.args]
    names = [f"in{i}" for i in range(len(args))]
    anchor = next((op for op in launch.body.ops if not opdef(op.name).elementwise), None)
    if anchor is None:
        return names
    declared = opdef(anchor.name).operands
    for value, name in zip(anchor.operands, declared, strict=False):
        if value.name in args and name.rstrip("?").isidentifier():
            names[args.index(value.name)] = name.rstrip("?")
    return names
