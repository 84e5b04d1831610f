"""Matrix products by warpgroups in bf16 and fp16: operands are rounded on their way to shared memory.

A word of a tile is a pair of 16-bit floats along k. While a stage is multiplied, the next one is rounded and
stored, and the one after that is read from memory to registers. A stage goes where the products of the step
before the last read: every warp has waited for them at the barrier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower.gemm import product_function
from netc.backends.cuda.lower.gemm_tensor import PACK, store_fragments
from netc.backends.cuda.lower.gemm_wgmma import MOST_HELD, SUM, declare_sums, emit_multiply
from netc.backends.cuda.lower.product import Operand, Product
from netc.backends.cuda.lower.results import join_parts
from netc.backends.cuda.lower.side_loads import PatchLoads, SideLoads
from netc.backends.cuda.lower.tiling import Tile, Tiling
from netc.backends.cuda.text import c_dim
from netc.ir.core import Op
from netc.ir.dim import Dim

STAGES = 3
WIDEST = (
    128  # columns of an instruction: with more, a thread's sums and the next stage take too many registers
)
_PRODUCT = {"bf16": "wgmma_bf16", "fp16": "wgmma_f16"}


def fits(kernel: Kernel, product: Product, tile: Tile) -> bool:
    """Whether what a thread holds leaves it room to work."""
    sides = _sides(kernel, product, tile)
    held = sum(side.held + 2 * side.count for side in sides)
    return tile.tn <= WIDEST and tile.tn // 2 + held <= MOST_HELD


def emit(kernel: Kernel, anchor: Op, tail: Sequence[Op], product: Product, schedule: Tiling) -> None:
    """Emit the kernel of a product by a schedule."""
    tile = schedule.tile
    sides = _sides(kernel, product, tile)
    row = tile.k // 2
    a_words, b_words = (STAGES * side.rows * row for side in sides)
    with product_function(kernel, product, schedule, blocks=1, shared_bytes=4 * (a_words + b_words)):
        kernel.line(f"NETC_DYNAMIC_SHARED_AT(unsigned, a_tile, 0, {a_words});")
        kernel.line(f"NETC_DYNAMIC_SHARED_AT(unsigned, b_tile, {4 * a_words}, {b_words});")
        for side in sides:
            side.declare_rows()
            kernel.line(f"float {side.name}_next[{2 * side.count}];")
        declare_sums(kernel, tile)
        with kernel.closure("fetch", "step"):
            kernel.line(f"const int k0 = first + step * {tile.k};")
            for side in sides:
                _emit_fetch(kernel, side, product.k, tile)
        with kernel.closure("keep", "step"):
            for side in sides:
                _emit_keep(kernel, side)
        kernel.line(f"const int steps = (last - first + {tile.k - 1}) / {tile.k};")
        kernel.line("fetch(0);")
        kernel.line("keep(0);")
        kernel.line("if (steps > 1) fetch(1);")
        with kernel.block("for (int step = 0; step < steps; ++step)"):
            kernel.line("wgmma_publish();")
            kernel.line("wgmma_wait<1>();")
            kernel.line("__syncthreads();")
            emit_multiply(kernel, tile, STAGES, "unsigned", row, _PRODUCT[kernel.precision])
            kernel.line("if (step + 1 < steps) keep(step + 1);")
            kernel.line("if (step + 2 < steps) fetch(step + 2);")
        kernel.line("wgmma_wait<0>();")
        store_fragments(kernel, anchor, tail, product, schedule, 2, SUM)
    join_parts(kernel, anchor, tail, product, schedule)


def _sides(kernel: Kernel, product: Product, tile: Tile) -> tuple[SideLoads, SideLoads]:
    """How pairs are shared: as elements of a tile of half the depth."""
    pairs = replace(tile, k=tile.k // 2)

    def loads(name: str, operand: Operand, rows: int, extent: Dim) -> SideLoads:
        if operand.fast == "row":
            return PatchLoads(kernel, name, operand, rows, pairs, extent, product.k)
        return SideLoads(kernel, name, operand, rows, pairs, extent, product.k, single=True)

    return loads("a", product.a, tile.m, product.m), loads("b", product.b, tile.n, product.n)


def _emit_fetch(kernel: Kernel, side: SideLoads, depth: Dim, tile: Tile) -> None:
    """The pairs of the step at k0, to registers."""
    operand = side.operand
    whole = isinstance(depth, int) and depth % tile.k == 0
    together = operand.fours and operand.fast == "column"  # then no condition but the depth's holds
    with kernel.unrolled("i", side.count):
        _, pair = side.place("i")
        row = [f"{side.name}_{field}[{side.row_of('i')}]" for field in operand.fields]
        with kernel.unrolled("e", 1 if together else 2):
            kernel.line(f"const int k = k0 + {pair} * 2 + e;")
            offset, condition = operand.element(row, operand.column(kernel, "k"))
            conditions = [c for c in ("" if whole else f"k < {c_dim(depth)}", condition) if c]
            valid = " && ".join(conditions)
            value = f"load2({operand.pointer} + {offset})" if together else f"{operand.pointer}[{offset}]"
            zero = "float2{0.0f, 0.0f}" if together else "0.0f"
            chosen = f"{valid} ? {value} : {zero}" if valid else value
            if together:
                kernel.line(f"const float2 both = {chosen};")
                kernel.line(f"{side.name}_next[i * 2] = both.x;")
                kernel.line(f"{side.name}_next[i * 2 + 1] = both.y;")
            else:
                kernel.line(f"{side.name}_next[i * 2 + e] = {chosen};")


def _emit_keep(kernel: Kernel, side: SideLoads) -> None:
    """From registers to a stage of the tile, rounded."""
    words = side.rows * side.tile.k
    with kernel.unrolled("i", side.count):
        row, pair = side.place("i")
        both = f"{PACK[kernel.precision]}({side.name}_next[i * 2], {side.name}_next[i * 2 + 1])"
        at = f"step % {STAGES} * {words} + wgmma_place_pair({row}, {pair})"
        kernel.line(f"{side.name}_tile[{at}] = {both};")
