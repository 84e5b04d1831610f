"""Matrix products by warpgroups (wgmma, sm_90a alone): both operands are read from shared memory.

Operands are copied asynchronously into swizzled tiles as float32; the units ignore the bits that tf32 lacks.
Of four stages one is multiplied while the products of the one before may still run, and two are on their
way. A copy goes where the stage before those was: every warp has waited for its products at the barrier.
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower.gemm import product_function
from netc.backends.cuda.lower.gemm_tensor import begin_copies, store_fragments
from netc.backends.cuda.lower.product import Operand, Product
from netc.backends.cuda.lower.results import join_parts
from netc.backends.cuda.lower.side_loads import PatchLoads, SideLoads
from netc.backends.cuda.lower.tiling import Tile, Tiling
from netc.ir.core import Op
from netc.ir.dim import Dim

STAGES = 4
DEPTH = 8  # of an instruction, in words
WARPGROUP_ROWS = 64
SUM = "sum[j][i * 2 + e]"  # of row i * 8 + lane / 4 and column j * 8 + lane % 4 * 2 + e
MOST_HELD = 168  # of a thread's registers, for sums and rows, of 255


def fits(kernel: Kernel, product: Product, tile: Tile) -> bool:
    """Whether what a thread holds leaves it room to work."""
    a, b = _sides(kernel, product, tile)
    return tile.tn // 2 + a.held + b.held <= MOST_HELD


def emit(kernel: Kernel, anchor: Op, tail: Sequence[Op], product: Product, schedule: Tiling) -> None:
    """Emit the kernel of a product by a schedule."""
    tile = schedule.tile
    sides = _sides(kernel, product, tile)
    a_floats, b_floats = (STAGES * side.rows * tile.k for side in sides)
    with product_function(kernel, product, schedule, blocks=1, shared_bytes=4 * (a_floats + b_floats)):
        kernel.line(f"NETC_DYNAMIC_SHARED_AT(float, a_tile, 0, {a_floats});")
        kernel.line(f"NETC_DYNAMIC_SHARED_AT(float, b_tile, {4 * a_floats}, {b_floats});")
        for side in sides:
            side.declare_rows()
        declare_sums(kernel, tile)
        begin_copies(kernel, sides, _emit_copy, STAGES, STAGES - 2)
        with kernel.block("for (int step = 0; step < steps; ++step)"):
            kernel.line(f"copy_async_wait<{STAGES - 3}>();")
            kernel.line("wgmma_publish();")
            kernel.line("wgmma_wait<1>();")
            kernel.line("__syncthreads();")
            emit_multiply(kernel, tile, STAGES, "float", tile.k, "wgmma_tf32")
            kernel.line(f"if (step + {STAGES - 2} < steps) fetch(step + {STAGES - 2});")
            kernel.line("copy_async_commit();")
        kernel.line("wgmma_wait<0>();")
        store_fragments(kernel, anchor, tail, product, schedule, 2, SUM)
    join_parts(kernel, anchor, tail, product, schedule)


def declare_sums(kernel: Kernel, tile: Tile) -> None:
    """A thread's sums, and which rows and columns its warpgroup and its warp have."""
    across = tile.n // tile.tn
    kernel.line(f"float sum[{tile.tn // 8}][4] = {{}};")
    kernel.line("const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;")
    kernel.line(f"const int a_row = warp / 4 / {across} * {WARPGROUP_ROWS}, wm = a_row + warp % 4 * 16;")
    kernel.line(f"const int wn = warp / 4 % {across} * {tile.tn};")


def emit_multiply(kernel: Kernel, tile: Tile, stages: int, element: str, row: int, product: str) -> None:
    """Start the products of a step; a tile's rows have ``row`` elements, an instruction takes 8 of them."""
    for name, rows, own in (("a", tile.m, "a_row"), ("b", tile.n, "wn")):
        at = f"(step % {stages} * {rows} + {own}) * {row}"
        kernel.line(f"const {element}* const {name} = {name}_tile + {at};")
    kernel.line("wgmma_fence();")
    with kernel.unrolled("k", row, step=DEPTH):
        kernel.line(f"{product}(sum, a + k, b + k);")
    kernel.line("wgmma_commit();")


def _sides(kernel: Kernel, product: Product, tile: Tile) -> tuple[SideLoads, SideLoads]:
    return (
        _loads(kernel, "a", product.a, tile.m, tile, product.m, product.k),
        _loads(kernel, "b", product.b, tile.n, tile, product.n, product.k),
    )


def _loads(
    kernel: Kernel, name: str, operand: Operand, rows: int, tile: Tile, extent: Dim, depth: Dim
) -> SideLoads:
    kind = PatchLoads if operand.fast == "row" else SideLoads
    return kind(kernel, name, operand, rows, tile, extent, depth)


def _emit_copy(kernel: Kernel, side: SideLoads) -> None:
    """Start the copies of this thread's elements of a step."""
    pointer = side.operand.pointer
    with side.elements() as (element, offset, condition):
        kernel.line(f"const bool valid = {condition or 'true'};")
        guarded = f"(valid ? {offset} : 0)" if condition else offset
        row, column = side.place(element)
        target = f"stage * {side.rows * side.tile.k} + wgmma_place({row}, {column})"
        kernel.line(f"copy_async{4 * side.run}({side.name}_tile, {target}, {pointer} + {guarded}, valid);")
