"""Matrix products on the ordinary cores, in full float32: register tiles fed from shared memory.

A block computes a tile of the result. While its threads multiply one stage, what the next one needs is on its
way from global memory to registers. Where k is cut into parts, each part's sums go to scratch memory and a
second function adds them up in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower.epilogue import finish_at
from netc.backends.cuda.lower.product import GROUP, Operand, Product
from netc.backends.cuda.lower.tiling import SIMT_TILES, Schedule, Tile, choose
from netc.backends.cuda.text import c_dim, split_index
from netc.ir.core import Op
from netc.ir.dim import Dim, ceildiv, exact_quotient

PADDING = 4  # floats behind a row of a tile, so that columns written lie in different banks
CROSSED_DEPTH = 16  # of a tile: with this padding columns 8 apart lie in the same banks
WARP = 32


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op], product: Product) -> None:
    """Emit the kernel of a product."""
    schedule = choose(SIMT_TILES, product.m, product.n, product.k, product.groups)
    emit(kernel, anchor, tail, product, schedule)


def emit(kernel: Kernel, anchor: Op, tail: Sequence[Op], product: Product, schedule: Schedule) -> None:
    """Emit the kernel of a product by a schedule."""
    tile = schedule.tile
    a = SideLoads(kernel, "a", product.a, tile.m, tile, product.m, product.k, by_depth=True)
    b = SideLoads(kernel, "b", product.b, tile.n, tile, product.n, product.k, by_depth=True)
    with product_function(kernel, product, schedule, blocks=1):
        kernel.line(f"NETC_SHARED(float, a_tile, {2 * tile.k * (tile.m + PADDING)});")
        kernel.line(f"NETC_SHARED(float, b_tile, {2 * tile.k * (tile.n + PADDING)});")
        for side in (a, b):
            side.declare_rows()
            kernel.line(f"float {side.name}_next[{side.count * side.run}];")
        kernel.line(f"float sum[{tile.tm}][{tile.tn}] = {{}};")
        kernel.line(f"const int tm = threadIdx.x / {tile.n // tile.tn} * 4;")
        kernel.line(f"const int tn = threadIdx.x % {tile.n // tile.tn} * 4;")
        with kernel.closure("fetch", "k0"):
            for side in (a, b):
                _emit_fetch(kernel, side)
        with kernel.closure("keep", "stage"):
            for side in (a, b):
                _emit_keep(kernel, side, tile)
        kernel.line("fetch(first);")
        kernel.line("keep(0);")
        kernel.line("__syncthreads();")
        kernel.line("int stage = 0;")
        with kernel.block(f"for (int k0 = first; k0 < last; k0 += {tile.k}, stage ^= 1)"):
            kernel.line(f"const bool more = k0 + {tile.k} < last;")
            kernel.line(f"if (more) fetch(k0 + {tile.k});")
            _emit_multiply(kernel, tile)
            kernel.line("if (more) keep(stage ^ 1);")
            kernel.line("__syncthreads();")
        with kernel.unrolled("j", tile.tn):
            column = f"j / 4 * {tile.n // (tile.tn // 4)} + tn + j % 4"
            with result_columns(kernel, product, f"n0 + {column}") as columns, kernel.unrolled("i", tile.tm):
                kernel.line(f"const int m = m0 + i / 4 * {tile.m // (tile.tm // 4)} + tm + i % 4;")
                store_result(kernel, anchor, tail, product, schedule, "sum[i][j]", columns)
    join_parts(kernel, anchor, tail, product, schedule)


def _emit_fetch(kernel: Kernel, side: SideLoads) -> None:
    """Elements of the step at k0, to registers."""
    with side.elements() as (element, offset, condition):
        pointer, target = side.operand.pointer, f"{side.name}_next"
        if side.run == 1:
            value = f"{pointer}[{offset}]"
            kernel.line(f"{target}[{element}] = {f'{condition} ? {value} : 0.0f' if condition else value};")
            return
        four = f"load4({pointer} + {offset})"
        zero = "float4{0.0f, 0.0f, 0.0f, 0.0f}"
        kernel.line(
            f"unpack({target} + {element} * 4, {f'{condition} ? {four} : {zero}' if condition else four});"
        )


def _emit_keep(kernel: Kernel, side: SideLoads, tile: Tile) -> None:
    """From registers to a stage of the tile: [k][row]."""
    width = side.rows + PADDING
    with kernel.unrolled("i", side.count):
        row, column = side.place("i")
        if side.run == 1:
            at = f"(stage * {tile.k} + {column}) * {width} + {row}"
            kernel.line(f"{side.name}_tile[{at}] = {side.name}_next[i];")
        elif side.operand.fast == "row":
            at = f"(stage * {tile.k} + {column}) * {width} + {row}"
            kernel.line(f"store4({side.name}_tile, {at}, pack({side.name}_next + i * 4));")
        else:
            with kernel.unrolled("e", 4):
                at = f"(stage * {tile.k} + {column} + e) * {width} + {row}"
                kernel.line(f"{side.name}_tile[{at}] = {side.name}_next[i * 4 + e];")


def _emit_multiply(kernel: Kernel, tile: Tile) -> None:
    with kernel.unrolled("k", tile.k):
        kernel.line(f"float a[{tile.tm}], b[{tile.tn}];")
        for name, count, rows in (("a", tile.tm, tile.m), ("b", tile.tn, tile.n)):
            own = "tm" if name == "a" else "tn"
            with kernel.unrolled("i", count, step=4):
                at = f"(stage * {tile.k} + k) * {rows + PADDING} + i / 4 * {rows // (count // 4)} + {own}"
                kernel.line(f"unpack({name} + i, load4({name}_tile, {at}));")
        with kernel.unrolled("i", tile.tm), kernel.unrolled("j", tile.tn):
            kernel.line("sum[i][j] = fmaf(a[i], b[j], sum[i][j]);")


class SideLoads:
    """How the threads of a block share the elements of one operand's tile, ``rows`` x ``tile.k``.

    A thread moves ``count`` runs of ``run`` elements; neighbours in memory go to neighbouring threads. With
    ``by_depth`` the tile lies as [k][row] whatever the operand: half of the threads along k then take other
    rows than the rest of their warp, whose banks they would meet.
    """

    def __init__(
        self,
        kernel: Kernel,
        name: str,
        operand: Operand,
        rows: int,
        tile: Tile,
        extent: Dim,
        depth: Dim,
        *,
        by_depth: bool = False,
    ) -> None:
        self.kernel, self.name, self.operand, self.rows, self.tile = kernel, name, operand, rows, tile
        self.extent, self.depth = extent, depth
        whole = operand.fast == "column" or exact_quotient(extent, 4) is not None
        self.run = 4 if operand.fours and whole else 1
        fast = rows if operand.fast == "row" else tile.k
        self.line = fast // self.run  # threads along the fast direction
        self.count = rows * tile.k // self.run // tile.threads
        if self.count == 0:
            self.run, self.line, self.count = 1, fast, rows * tile.k // tile.threads
        self.step = tile.threads // self.line  # how far apart a thread's runs are across it
        apart = WARP // self.line if self.line < WARP else 0  # rows of a warp
        crossed = by_depth and operand.fast == "column" and tile.k == CROSSED_DEPTH
        self.apart = apart if crossed and self.step % (2 * apart) == 0 else 0
        self.row_varies = operand.fast == "column" and self.count > 1
        self.held = len(operand.fields) * (self.count if self.row_varies else 1)  # registers of a thread

    def place(self, i: str) -> tuple[str, str]:
        """Row and column, within the tile, of the first element of a thread's run ``i``."""
        times = f" * {self.run}" if self.run > 1 else ""
        along = f"int(threadIdx.x % {self.line}{times})"
        across = f"int(threadIdx.x / {self.line})"
        if i != "0":
            across = f"({across} + {i} * {self.step})"
        if self.apart:
            across = f"({across} ^ int(threadIdx.x % {self.line} / {self.line // 2} * {self.apart}))"
        return (along, across) if self.operand.fast == "row" else (across, along)

    def declare_rows(self) -> None:
        """Take apart the rows that this thread loads, once."""
        kernel, name = self.kernel, self.name
        count = self.count if self.row_varies else 1
        for field in self.operand.fields:
            kernel.line(f"int {name}_{field}[{count}];")
        with kernel.unrolled("i", count):
            row, _ = self.place("i" if self.row_varies else "0")
            origin = "m0" if name == "a" else "n0"
            # rows beyond the last are computed from it and never stored
            last = c_dim(self.extent - (self.run if self.operand.fast == "row" else 1))
            kernel.line(f"const int row = min({origin} + {row}, {last});")
            values = self.operand.row(kernel, "row")
            for field, value in zip(self.operand.fields, values, strict=True):
                kernel.line(f"{name}_{field}[i] = {value};")

    @contextmanager
    def elements(self) -> Iterator[tuple[str, str, str]]:
        """A loop over this thread's runs of the step at ``k0``: number, offset and condition of each."""
        kernel = self.kernel
        with kernel.unrolled("i", self.count):
            _, column = self.place("i" if self.operand.fast == "row" else "0")
            kernel.line(f"const int k = k0 + {column};")
            row = [f"{self.name}_{f}[{'i' if self.row_varies else 0}]" for f in self.operand.fields]
            offset, condition = self.operand.element(row, self.operand.column(kernel, "k"))
            conditions = [c for c in (self._within_depth(), condition) if c]
            yield "i", offset, " && ".join(conditions)

    def _within_depth(self) -> str:
        whole = isinstance(self.depth, int) and self.depth % self.tile.k == 0
        return "" if whole else f"k < {c_dim(self.depth)}"


@contextmanager
def product_function(kernel: Kernel, product: Product, schedule: Schedule, blocks: int) -> Iterator[None]:
    """The function of a product's tiles, with what every thread of it knows.

    ``blocks`` are to fit on a processor at once: the assembler, when it is not told, saves registers for more
    of them than there are, and spills.
    """
    tile, parts = schedule.tile, schedule.parts
    grid = (ceildiv(product.n, tile.n), ceildiv(product.m, tile.m), product.groups * parts)
    if parts > 1:
        kernel.scratch_bytes = product.m * product.n * (4 * product.groups * parts)
    with kernel.function(grid, tile.threads, scratch=parts > 1, blocks=blocks):
        kernel.line(f"const int m0 = blockIdx.y * {tile.m}, n0 = blockIdx.x * {tile.n};")
        if product.groups > 1:
            divided = f" / {parts}" if parts > 1 else ""
            kernel.line(f"const int {GROUP} = blockIdx.z{divided};")
        else:
            kernel.line(f"const int {GROUP} = 0;")
        if parts > 1:
            kernel.line(f"const int part = blockIdx.z % {parts};")
            kernel.line(f"const int first = part * {schedule.share};")
            kernel.line(f"const int last = min(first + {schedule.share}, {c_dim(product.k)});")
        else:
            kernel.line(f"const int first = 0, last = {c_dim(product.k)};")
        yield


@contextmanager
def result_columns(kernel: Kernel, product: Product, n: str) -> Iterator[list[str]]:
    """A block for a column of the result, if there is one; yields what its index is made of."""
    kernel.line(f"const int n = {n};")
    with kernel.block(f"if (n < {c_dim(product.n)})"):
        yield kernel.split("n", [f"n_{a}" for a in range(len(product.columns))], product.columns)


def store_result(
    kernel: Kernel,
    anchor: Op,
    tail: Sequence[Op],
    product: Product,
    schedule: Schedule,
    value: str,
    columns: Sequence[str],
) -> None:
    """What becomes of a sum, at ``m`` and a column: a part goes to scratch memory, a whole is finished."""
    with kernel.block(f"if (m < {c_dim(product.m)})"):
        if schedule.parts > 1:
            slab = f"part * {product.groups} + {GROUP}" if product.groups > 1 else "part"
            at = f"(({slab}) * {c_dim(product.m)} + m) * {c_dim(product.n)} + n"
            kernel.line(f"scratch[{at}] = {value};")
        else:
            _finish(kernel, anchor, tail, product, value, columns)


def _finish(
    kernel: Kernel,
    anchor: Op,
    tail: Sequence[Op],
    product: Product,
    value: str,
    columns: Sequence[str],
    m: str = "m",
) -> None:
    """Add the bias, run what follows, store."""
    group = GROUP if product.groups > 1 else "0"
    indices = product.place(group, m, columns)
    condition = product.inside(group, columns) if product.inside is not None else ""
    with kernel.block(f"if ({condition})") if condition else nullcontext():
        if product.bias is not None:
            value = f"{value} + {product.bias.element([indices[1]])}"
        kernel.line(f"const float value = {value};")
        finish_at(kernel, {anchor.result.name: "value"}, tail, indices)


def join_parts(kernel: Kernel, anchor: Op, tail: Sequence[Op], product: Product, schedule: Schedule) -> None:
    """The second stage, where there are parts: their sum in order, and what follows."""
    if schedule.parts == 1:
        return
    extents = (product.groups, product.m, product.n)
    with kernel.elements(extents, [GROUP, "m", "n"], suffix="_join", scratch=True) as (_, m, n):
        kernel.line("float total = 0.0f;")
        size = product.m * product.n * product.groups
        with kernel.block(f"for (int part = 0; part < {schedule.parts}; ++part)"):
            kernel.line(f"total += scratch[part * {c_dim(size)} + item];")
        columns = split_index(n, product.columns)
        grouped = [f"({c})" if c != "0" else c for c in columns]
        _finish(kernel, anchor, tail, product, "total", grouped, m)
