"""Matrix products on the ordinary cores, in full float32: register tiles fed from shared memory.

A block computes a tile of the result. While its threads multiply one stage, what the next one needs is on its
way from global memory to registers. Where k is cut into parts, each part's sums go to scratch memory and a
second function adds them up in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower.product import GROUP, Product
from netc.backends.cuda.lower.results import Sums, join_parts, store_sums
from netc.backends.cuda.lower.side_loads import SideLoads
from netc.backends.cuda.lower.tiling import Tile, Tiling
from netc.backends.cuda.text import c_dim
from netc.ir.core import Op
from netc.ir.dim import ceildiv

PADDING = 4  # floats behind a row of a tile, so that columns written lie in different banks


def emit(kernel: Kernel, anchor: Op, tail: Sequence[Op], product: Product, schedule: Tiling) -> None:
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
        m = f"m0 + i / 4 * {tile.m // (tile.tm // 4)} + tm + i % 4"
        n = f"n0 + j * {tile.n // (tile.tn // 4)} + tn"
        sums = Sums(m, tile.tm, n, tile.tn // 4, 4, "sum[i][j * 4 + e]")
        store_sums(kernel, anchor, tail, product, schedule, sums)
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


@contextmanager
def product_function(
    kernel: Kernel, product: Product, schedule: Tiling, blocks: int, shared_bytes: int = 0
) -> Iterator[None]:
    """The function of a product's tiles, with what every thread of it knows.

    ``blocks`` are to fit on a processor at once: the assembler, when it is not told, saves registers for more
    of them than there are, and spills.
    """
    tile, parts = schedule.tile, schedule.parts
    grid = (ceildiv(product.n, tile.n), ceildiv(product.m, tile.m), product.groups * parts)
    if parts > 1:
        kernel.scratch_bytes = product.m * product.n * (4 * product.groups * parts)
    kept = product.kept_at is not None
    with kernel.function(
        grid,
        tile.threads,
        suffix="_product" if kept else "",
        scratch=kept or parts > 1,
        blocks=blocks,
        shared_bytes=shared_bytes,
    ):
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
