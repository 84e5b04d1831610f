"""Sums, means, maxima and moments along any axes of what elementwise ops make of the operands.

Where the reduced axes hold the last one, the threads of a warp or of a block walk along it together; else
neighbouring threads reduce for neighbouring results. Few results with much to reduce are cut into parts,
collected in scratch memory, and put together in order by a second stage: no atomics, the same bits always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netc.backends.cuda.kernel import Kernel, Memory
from netc.backends.cuda.lower.epilogue import evaluate, finish_at
from netc.backends.cuda.lower.space import Space, broadcast_strides
from netc.backends.cuda.text import c_dim, linear, split_index
from netc.backends.launch_body import Parts, parts_of
from netc.ir.core import Op
from netc.ir.dim import Dim, ceildiv, product

BLOCK = 256
WARP = 32
LONG_ROW = 1024  # elements from which a whole block reduces for one result
ENOUGH_BLOCKS = 256  # what keeps a large GPU busy
LEAST_PART = 2048  # elements that are worth a block of their own
MOST_PARTS = 64

_FIELDS = {"Moments": 4}  # floats of an accumulator, where it is not one
_ACCUMULATORS = {"sum": "Sum", "mean": "Sum", "max": "Greatest"}


@dataclass(frozen=True, slots=True)
class _Scheme:
    """``lanes`` threads reduce for each of ``results`` a block; along rows they are neighbours."""

    rows: bool
    lanes: int
    results: int
    parts: int


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of reductions."""
    del tail
    parts = parts_of(kernel.body)
    shape, axes = _shape(anchor), anchor.attrs.axes
    _Reduction(kernel, parts, shape, axes).emit()


def lower_global_pool(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the whole kernel of an ``nn.global_pool``."""
    shape = _shape(anchor)
    parts = Parts((), (anchor,), tuple(tail))
    _Reduction(kernel, parts, shape, tuple(range(2, len(shape)))).emit()


def _shape(anchor: Op) -> tuple[Dim, ...]:
    type_ = anchor.operands[0].type
    return type_.shape  # type: ignore[union-attr]


class _Reduction:
    def __init__(self, kernel: Kernel, parts: Parts, shape: tuple[Dim, ...], axes: tuple[int, ...]) -> None:
        self.kernel, self.parts, self.shape, self.axes = kernel, parts, shape, axes
        self.kept = tuple(a for a in range(len(shape)) if a not in axes)
        self.count: Dim = product(tuple(shape[a] for a in axes))
        self.outputs: Dim = product(tuple(shape[a] for a in self.kept))
        read = {v.name for op in (*parts.before, *parts.anchors) for v in op.operands}
        self.sources = {n: m for n, m in kernel.arguments.items() if n in read}
        reduced = {n: broadcast_strides(m, shape) for n, m in self.sources.items()}
        self.space = Space(
            tuple(shape[a] for a in axes), {n: tuple(s[a] for a in axes) for n, s in reduced.items()}
        ).merged()
        self.kept_strides = {n: tuple(s[a] for a in self.kept) for n, s in reduced.items()}
        self.scheme = self._choose()

    def _choose(self) -> _Scheme:
        wide = [a for a in range(len(self.shape)) if self.shape[a] != 1]
        rows = not wide or wide[-1] in self.axes
        count = self.count if isinstance(self.count, int) else LONG_ROW
        outputs = self.outputs if isinstance(self.outputs, int) else ENOUGH_BLOCKS
        lanes = (BLOCK if count >= LONG_ROW else WARP) if rows else 8
        results = BLOCK // lanes
        blocks = -(-outputs // results)
        parts = min(MOST_PARTS, ENOUGH_BLOCKS // blocks, count // LEAST_PART)
        static = isinstance(self.count, int) and isinstance(self.outputs, int)
        return _Scheme(rows, lanes, results, parts if static and parts > 1 else 1)

    # --- accumulators ---
    def names(self) -> list[tuple[str, str, Op]]:
        """Type, variable and op of each accumulator."""
        found = []
        for i, op in enumerate(self.parts.anchors):
            if op.name == "nn.moments":
                kind = "Moments"
            elif op.name == "nn.global_pool":
                kind = "Raised" if op.attrs.kind == "max" else "Sum"
            else:
                kind = _ACCUMULATORS[op.attrs.kind]
            found.append((kind, f"all{i}", op))
        return found

    def results(self) -> dict[str, str]:
        """Declare what the accumulators stand for; expressions by the names of the anchors' results."""
        made: dict[str, str] = {}
        count = f"float({c_dim(self.count)})"
        for kind, name, op in self.names():
            if kind == "Moments":
                made[op.results[0].name] = f"{name}.average()"
                made[op.results[1].name] = f"({name}.squares / {count})"
            elif kind == "Sum":
                mean = op.attrs.kind in ("mean", "ave")
                made[op.result.name] = f"({name}.total / {count})" if mean else f"{name}.total"
            else:
                made[op.result.name] = f"{name}.best"
        return made

    # --- the functions ---
    def emit(self) -> None:
        kernel, scheme = self.kernel, self.scheme
        several = scheme.parts > 1
        fields = sum(_FIELDS.get(kind, 1) for kind, _, _ in self.names())
        if several:
            kernel.scratch_bytes = self.outputs * (4 * fields * scheme.parts)
        grid = (ceildiv(self.outputs, scheme.results), scheme.parts, 1)
        with kernel.function(grid, BLOCK, scratch=several):
            self._collect()
            if scheme.rows:
                self._reduce_rows()
            else:
                self._reduce_columns()
            with kernel.block(f"if (lane == 0 && result < {c_dim(self.outputs)})"):
                if several:
                    self._put_scratch()
                else:
                    self._finish()
        if several:
            with kernel.function((ceildiv(self.outputs, BLOCK), 1, 1), BLOCK, suffix="_join", scratch=True):
                kernel.line(f"const int result = blockIdx.x * {BLOCK} + threadIdx.x;")
                kernel.line(f"if (result >= {c_dim(self.outputs)}) return;")
                self._get_scratch()
                self._finish()

    def _collect(self) -> None:
        kernel, scheme = self.kernel, self.scheme
        lanes, results = scheme.lanes, scheme.results
        if scheme.rows:
            kernel.line(f"const int lane = threadIdx.x % {lanes};")
            kernel.line(f"const int result = blockIdx.x * {results} + threadIdx.x / {lanes};")
        else:
            kernel.line(f"const int lane = threadIdx.x / {results};")
            kernel.line(f"const int result = blockIdx.x * {results} + threadIdx.x % {results};")
        for kind, name, _ in self.names():
            kernel.line(f"{kind} {name};")
        first, last = "lane", c_dim(self.count)
        if scheme.parts > 1:
            assert isinstance(self.count, int)
            share = -(-self.count // scheme.parts)
            first = f"int(blockIdx.y) * {share} + lane"
            last = f"min(int(blockIdx.y + 1) * {share}, {self.count})"
        with kernel.block(f"if (result < {c_dim(self.outputs)})"):
            places = self._places("result")
            with kernel.block(f"for (int i = {first}; i < {last}; i += {lanes})"):
                at = split_index("i", self.space.extents)

                def load(name: str, memory: Memory) -> str:
                    return f"{memory.pointer}[{places[name]} + {linear(at, self.space.strides[name])}]"

                operands = [op.operands[0] for op in self.parts.anchors]
                values = evaluate(kernel, self.parts.before, {}, operands, load)
                for (_, name, _), value in zip(self.names(), values, strict=True):
                    kernel.line(f"{name}.add({value});")

    def _places(self, result: str) -> dict[str, str]:
        """Declare where each operand begins for a result."""
        kept = split_index(result, [self.shape[a] for a in self.kept])
        found = {}
        for name, memory in self.sources.items():
            variable = f"{memory.pointer}_at"
            self.kernel.line(f"const int {variable} = {linear(kept, self.kept_strides[name])};")
            found[name] = variable
        return found

    def _reduce_rows(self) -> None:
        if self.scheme.lanes == WARP:
            for _, name, _ in self.names():
                self.kernel.line(f"reduce_warp({name});")
            return
        warps = BLOCK // WARP
        most = max(_FIELDS.get(kind, 1) for kind, _, _ in self.names())
        self.kernel.line(f"NETC_SHARED(float, tile, {most * warps});")
        for _, name, _ in self.names():
            self.kernel.line(f"reduce_block<{warps}>({name}, tile);")

    def _reduce_columns(self) -> None:
        kernel = self.kernel
        most = max(_FIELDS.get(kind, 1) for kind, _, _ in self.names())
        kernel.line(f"NETC_SHARED(float, tile, {most * BLOCK});")
        for number, (kind, name, _) in enumerate(self.names()):
            if number:
                kernel.line("__syncthreads();")
            kernel.line(f"{name}.put(tile, threadIdx.x, {BLOCK});")
            kernel.line("__syncthreads();")
            head = (
                f"for (int i = {self.scheme.results}; lane == 0 && i < {BLOCK}; i += {self.scheme.results})"
            )
            with kernel.block(head):
                kernel.line(f"{kind} other;")
                kernel.line(f"other.get(tile, threadIdx.x + i, {BLOCK});")
                kernel.line(f"{name}.merge(other);")

    def _scratch_places(self) -> list[tuple[str, str, int]]:
        """Type, variable and first field of each accumulator in the scratch memory of a part."""
        found, field = [], 0
        for kind, name, _ in self.names():
            found.append((kind, name, field))
            field += _FIELDS.get(kind, 1)
        return found

    def _at_scratch(self, part: str, field: int) -> str:
        fields = sum(_FIELDS.get(kind, 1) for kind, _, _ in self.names())
        return f"({part} * {fields} + {field}) * {c_dim(self.outputs)} + result"

    def _put_scratch(self) -> None:
        for _, name, field in self._scratch_places():
            at = self._at_scratch("int(blockIdx.y)", field)
            self.kernel.line(f"{name}.put(scratch, {at}, {c_dim(self.outputs)});")

    def _get_scratch(self) -> None:
        kernel = self.kernel
        for kind, name, field in self._scratch_places():
            kernel.line(f"{kind} {name};")
            with kernel.block(f"for (int part = 0; part < {self.scheme.parts}; ++part)"):
                kernel.line(f"{kind} other;")
                kernel.line(f"other.get(scratch, {self._at_scratch('part', field)}, {c_dim(self.outputs)});")
                kernel.line(f"{name}.merge(other);")

    def _finish(self) -> None:
        rank = len(self.shape)
        kept = self.kernel.split("result", [f"k{a}" for a in self.kept], [self.shape[a] for a in self.kept])
        indices = ["0"] * rank
        for axis, name in zip(self.kept, kept, strict=True):
            indices[axis] = name
        finish_at(self.kernel, self.results(), self.parts.after, indices)
