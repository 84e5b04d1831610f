"""Matrix products on tensor cores: mma.sync fed by a pipeline of asynchronous copies to shared memory.

Operands stay float32 in memory and in the tiles, and are rounded (to tf32, bf16 or fp16) on their way into
fragments; sums are float32. Tiles are swizzled: the lanes of a fragment lie in different banks.
"""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower.gemm import (
    SideLoads,
    join_parts,
    product_function,
    result_columns,
    store_result,
)
from netc.backends.cuda.lower.product import Product
from netc.backends.cuda.lower.tiling import TENSOR_SPEED, TENSOR_TILES, Schedule, Tile, choose
from netc.ir.core import Op

STAGES = 3  # of the pipeline: 48 KiB at most, what every block may have
LEAST_ROWS = 16  # of either side, for which a tile of the tensor cores is worth filling
WARP = 32
THREADS_AT_ONCE = 512  # on a processor, with 128 registers each
MOST_HELD = 80  # of these, for sums and rows; a thread with more gets a processor shared by fewer


def pays(product: Product) -> bool:
    """Whether neither side is so narrow that most of a tile would be computed in vain."""
    return all(not isinstance(extent, int) or extent >= LEAST_ROWS for extent in (product.m, product.n))


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op], product: Product) -> None:
    """Emit the kernel of a product."""
    extents = (product.m, product.n, product.k)
    schedule = choose(TENSOR_TILES, *extents, product.groups, speed=TENSOR_SPEED)
    emit(kernel, anchor, tail, product, schedule)


def emit(kernel: Kernel, anchor: Op, tail: Sequence[Op], product: Product, schedule: Schedule) -> None:
    """Emit the kernel of a product by a schedule."""
    tile = schedule.tile
    a = SideLoads(kernel, "a", product.a, tile.m, tile, product.m, product.k)
    b = SideLoads(kernel, "b", product.b, tile.n, tile, product.n, product.k)
    across = tile.n // tile.tn
    crowded = tile.tm * tile.tn // WARP + a.held + b.held > MOST_HELD
    blocks = 1 if crowded else THREADS_AT_ONCE // tile.threads
    with product_function(kernel, product, schedule, blocks):
        for side in (a, b):
            kernel.line(f"NETC_SHARED(float, {side.name}_tile, {STAGES * side.rows * tile.k});")
        for side in (a, b):
            side.declare_rows()
        kernel.line(f"float sum[{tile.tm // 16}][{tile.tn // 8}][4] = {{}};")
        kernel.line(f"const int lane = threadIdx.x % {WARP}, warp = threadIdx.x / {WARP};")
        kernel.line(f"const int wm = warp / {across} * {tile.tm}, wn = warp % {across} * {tile.tn};")
        with kernel.closure("fetch", "step"):
            kernel.line(f"const int k0 = first + step * {tile.k}, stage = step % {STAGES};")
            for side in (a, b):
                _emit_copy(kernel, side, tile)
        kernel.line(f"const int steps = (last - first + {tile.k - 1}) / {tile.k};")
        with kernel.unrolled("step", STAGES - 1):
            kernel.line("if (step < steps) fetch(step);")
            kernel.line("copy_async_commit();")
        with kernel.block("for (int step = 0; step < steps; ++step)"):
            # a group is committed in every step, so that the one waited for is always the same number back
            kernel.line(f"copy_async_wait<{STAGES - 2}>();")
            kernel.line("__syncthreads();")
            kernel.line(f"if (step + {STAGES - 1} < steps) fetch(step + {STAGES - 1});")
            kernel.line("copy_async_commit();")
            kernel.line(f"const int stage = step % {STAGES};")
            _emit_multiply(kernel, tile)
        n = "n0 + wn + j * 8 + lane % 4 * 2 + e"
        with (
            kernel.unrolled("j", tile.tn // 8),
            kernel.unrolled("e", 2),
            result_columns(kernel, product, n) as columns,
            kernel.unrolled("i", tile.tm // 8),
        ):
            kernel.line("const int m = m0 + wm + i * 8 + lane / 4;")
            value = "sum[i / 2][j][i % 2 * 2 + e]"
            store_result(kernel, anchor, tail, product, schedule, value, columns)
    join_parts(kernel, anchor, tail, product, schedule)


def _swizzle_a(tile: Tile, row: str, k: str) -> str:
    """Place of A's element in a stage, [row][k]: two rows fill the banks, so pairs of rows are shifted."""
    return f"({row}) * {tile.k} + (({k}) ^ ((({row}) >> 1 & 3) << 2))"


def _swizzle_b(kernel: Kernel, tile: Tile, row: str, k: str) -> str:
    """Place of B's element in a stage, [k][row]: the rows of k that a fragment reads together are shifted."""
    apart = f"({k}) & 3" if kernel.precision == "tf32" else f"({k}) >> 1 & 3"
    return f"({k}) * {tile.n} + (({row}) ^ (({apart}) << 3))"


def _emit_copy(kernel: Kernel, side: SideLoads, tile: Tile) -> None:
    """Start the copies of this thread's elements of a step."""
    is_a = side.name == "a"
    # 16 bytes must stay together: those of A along k, those of B along its rows
    along = side.operand.fast == ("column" if is_a else "row")
    pointer = side.operand.pointer
    with side.elements() as (element, offset, condition):
        row, column = side.place(element)
        valid = condition or "true"
        kernel.line(f"const bool valid = {valid};")
        # nothing is read where nothing is valid, and the address stays inside
        kernel.line(
            f"const float* from = {pointer} + (valid ? {offset} : 0);"
            if condition
            else f"const float* from = {pointer} + {offset};"
        )
        if side.run == 4 and along:
            kernel.line(f"copy_async16({_target(kernel, side, tile, row, column)}, from, valid);")
        elif side.run == 4:
            with kernel.unrolled("e", 4):
                shifted = (f"{row} + e", column) if side.operand.fast == "row" else (row, f"{column} + e")
                kernel.line(f"copy_async4({_target(kernel, side, tile, *shifted)}, from + e, valid);")
        else:
            kernel.line(f"copy_async4({_target(kernel, side, tile, row, column)}, from, valid);")


def _target(kernel: Kernel, side: SideLoads, tile: Tile, row: str, column: str) -> str:
    place = _swizzle_a(tile, row, column) if side.name == "a" else _swizzle_b(kernel, tile, row, column)
    return f"{side.name}_tile, stage * {side.rows * tile.k} + {place}"


def _emit_multiply(kernel: Kernel, tile: Tile) -> None:
    """All products of a stage."""
    precision = kernel.precision
    depth = 8 if precision == "tf32" else 16
    kernel.line(f"const int a_stage = stage * {tile.m * tile.k}, b_stage = stage * {tile.n * tile.k};")
    with kernel.unrolled("k", tile.k, step=depth):
        kernel.line(f"unsigned a[{tile.tm // 16}][4], b[{tile.tn // 8}][2];")
        with kernel.unrolled("i", tile.tm // 16), kernel.unrolled("e", 4):
            kernel.line("const int row = wm + i * 16 + lane / 4 + e % 2 * 8;")
            kernel.line(f"a[i][e] = {_fragment_a(kernel, tile)};")
        with kernel.unrolled("j", tile.tn // 8), kernel.unrolled("e", 2):
            kernel.line("const int row = wn + j * 8 + lane / 4;")
            kernel.line(f"b[j][e] = {_fragment_b(kernel, tile)};")
        name = {"tf32": "m16n8k8_tf32", "bf16": "m16n8k16_bf16", "fp16": "m16n8k16_f16"}[precision]
        with kernel.unrolled("i", tile.tm // 16), kernel.unrolled("j", tile.tn // 8):
            kernel.line(f"mma_{name}(sum[i][j], a[i], b[j]);")


_PACK = {"bf16": "pack_bfloat162", "fp16": "pack_half2"}


def _fragment_a(kernel: Kernel, tile: Tile) -> str:
    if kernel.precision == "tf32":
        return f"to_tf32(a_tile[a_stage + {_swizzle_a(tile, 'row', 'k + lane % 4 + e / 2 * 4')}])"
    low, high = (
        f"a_tile[a_stage + {_swizzle_a(tile, 'row', f'k + lane % 4 * 2 + e / 2 * 8 + {i}')}]" for i in (0, 1)
    )
    return f"{_PACK[kernel.precision]}({low}, {high})"


def _fragment_b(kernel: Kernel, tile: Tile) -> str:
    if kernel.precision == "tf32":
        return f"to_tf32(b_tile[b_stage + {_swizzle_b(kernel, tile, 'row', 'k + lane % 4 + e * 4')}])"
    low, high = (
        f"b_tile[b_stage + {_swizzle_b(kernel, tile, 'row', f'k + lane % 4 * 2 + e * 8 + {i}')}]"
        for i in (0, 1)
    )
    return f"{_PACK[kernel.precision]}({low}, {high})"
