"""Matrix products on tensor cores: mma.sync fed by a pipeline of asynchronous copies to shared memory.

Operands stay float32 in memory and in the tiles, and are rounded (to tf32, bf16 or fp16) on their way into
fragments; sums are float32. Tiles are swizzled: the lanes of a fragment lie in different banks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower.gemm import product_function
from netc.backends.cuda.lower.product import Product
from netc.backends.cuda.lower.results import Sums, join_parts, store_sums
from netc.backends.cuda.lower.side_loads import SideLoads
from netc.backends.cuda.lower.tiling import Tiling
from netc.ir.core import Op

STAGES = 3  # of the pipeline: 48 KiB at most, what every block may have
LEAST_ROWS = 16  # of either side, for which a tile of the tensor cores is worth filling
WARP = 32
THREADS_AT_ONCE = 512  # on a processor, with 128 registers each
COPIES_AT_ONCE = 8  # whose addresses are computed side by side, which takes registers
MOST_HELD = 80  # of these, for sums and rows; a thread with more gets a processor shared by fewer


def pays(product: Product) -> bool:
    """Whether neither side is so narrow that most of a tile would be computed in vain."""
    return all(not isinstance(extent, int) or extent >= LEAST_ROWS for extent in (product.m, product.n))


def emit(kernel: Kernel, anchor: Op, tail: Sequence[Op], product: Product, schedule: Tiling) -> None:
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
        begin_copies(kernel, (a, b), _emit_copy, STAGES, STAGES - 1)
        with kernel.block("for (int step = 0; step < steps; ++step)"):
            # a group is committed in every step, so that the one waited for is always the same number back
            kernel.line(f"copy_async_wait<{STAGES - 2}>();")
            kernel.line("__syncthreads();")
            kernel.line(f"if (step + {STAGES - 1} < steps) fetch(step + {STAGES - 1});")
            kernel.line("copy_async_commit();")
            kernel.line(f"const int stage = step % {STAGES};")
            _emit_multiply(kernel, a, b)
        store_fragments(kernel, anchor, tail, product, schedule, tile.tm // 8, "sum[i / 2][j][i % 2 * 2 + e]")
    join_parts(kernel, anchor, tail, product, schedule)


def begin_copies(
    kernel: Kernel,
    sides: Sequence[SideLoads],
    emit_copy: Callable[[Kernel, SideLoads], None],
    stages: int,
    ahead: int,
) -> None:
    """``fetch`` copies the operands of a step to its stage; the first ``ahead`` of ``steps`` are begun."""
    k = sides[0].tile.k
    with kernel.closure("fetch", "step"):
        kernel.line(f"const int k0 = first + step * {k}, stage = step % {stages};")
        for side in sides:
            emit_copy(kernel, side)
    kernel.line(f"const int steps = (last - first + {k - 1}) / {k};")
    with kernel.unrolled("step", ahead):
        kernel.line("if (step < steps) fetch(step);")
        kernel.line("copy_async_commit();")


def store_fragments(
    kernel: Kernel,
    anchor: Op,
    tail: Sequence[Op],
    product: Product,
    schedule: Tiling,
    bands: int,
    value: str,
) -> None:
    """What becomes of the sums of a warp at row ``wm`` and column ``wn``, of ``bands`` of eight rows.

    ``value`` is the sum of row ``i * 8 + lane / 4`` and column ``j * 8 + lane % 4 * 2 + e``.
    """
    m, n = "m0 + wm + i * 8 + lane / 4", "n0 + wn + j * 8 + lane % 4 * 2"
    sums = Sums(m, bands, n, schedule.tile.tn // 8, 2, value)
    store_sums(kernel, anchor, tail, product, schedule, sums)


def _place(kernel: Kernel, side: SideLoads, row: str, k: str) -> str:
    """Place of an element in a stage, so that neither copies nor fragments meet in a bank.

    What lies along k in memory lies so here: two rows fill the banks, and rows are shifted against each other
    by as much as a lane reads at once. What lies along its rows does so here, too; the rows of k that a
    fragment reads together are shifted.
    """
    wide = kernel.precision == "tf32"
    if side.operand.fast == "column":
        apart = f"(({row}) >> 1 & 3) << 2" if wide else f"(({row}) >> 1 & 1) << 3"
        return f"({row}) * {side.tile.k} + (({k}) ^ ({apart}))"
    apart = f"({k}) & 3" if wide else f"({k}) >> 1 & 3"
    return f"({k}) * {side.rows} + (({row}) ^ (({apart}) << 3))"


def _emit_copy(kernel: Kernel, side: SideLoads) -> None:
    """Start the copies of this thread's elements of a step."""
    pointer = side.operand.pointer
    with side.elements(COPIES_AT_ONCE) as (element, offset, condition):
        # nothing is read where nothing is valid, and the address stays inside
        kernel.line(f"const bool valid = {condition or 'true'};")
        kernel.line(
            f"const float* from = {pointer} + (valid ? {offset} : 0);"
            if condition
            else f"const float* from = {pointer} + {offset};"
        )
        target = f"stage * {side.rows * side.tile.k} + {_place(kernel, side, *side.place(element))}"
        kernel.line(f"copy_async{4 * side.run}({side.name}_tile, {target}, from, valid);")


PACK = {"bf16": "pack_bfloat162", "fp16": "pack_half2"}
_MMA = {"tf32": "m16n8k8_tf32", "bf16": "m16n8k16_bf16", "fp16": "m16n8k16_f16"}


def _emit_multiply(kernel: Kernel, a: SideLoads, b: SideLoads) -> None:
    """All products of a stage."""
    tile = a.tile
    depth = 8 if kernel.precision == "tf32" else 16
    kernel.line(f"const int a_stage = stage * {tile.m * tile.k}, b_stage = stage * {tile.n * tile.k};")
    with kernel.unrolled("k", tile.k, step=depth):
        kernel.line(f"unsigned a[{tile.tm // 16}][4], b[{tile.tn // 8}][2];")
        with kernel.unrolled("i", tile.tm // 16), kernel.unrolled("e", 4):
            kernel.line("const int row = wm + i * 16 + lane / 4 + e % 2 * 8;")
            kernel.line(f"a[i][e] = {_fragment(kernel, a, 'e / 2')};")
        with kernel.unrolled("j", tile.tn // 8), kernel.unrolled("e", 2):
            kernel.line("const int row = wn + j * 8 + lane / 4;")
            kernel.line(f"b[j][e] = {_fragment(kernel, b, 'e')};")
        with kernel.unrolled("i", tile.tm // 16), kernel.unrolled("j", tile.tn // 8):
            kernel.line(f"mma_{_MMA[kernel.precision]}(sum[i][j], a[i], b[j]);")


def _fragment(kernel: Kernel, side: SideLoads, half: str) -> str:
    """A lane's word of a fragment: ``row`` at a place of the first or the second half of its columns."""

    def at(k: str) -> str:
        return f"{side.name}_stage + {_place(kernel, side, 'row', k)}"

    if kernel.precision == "tf32":
        return f"to_tf32({side.name}_tile[{at(f'k + lane % 4 + {half} * 4')}])"
    first = f"k + lane % 4 * 2 + {half} * 8"
    if side.operand.fast == "column":
        return f"{PACK[kernel.precision]}(load2({side.name}_tile, {at(first)}))"
    low, high = (f"{side.name}_tile[{at(f'{first} + {i}')}]" for i in (0, 1))
    return f"{PACK[kernel.precision]}({low}, {high})"
