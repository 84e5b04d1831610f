"""Chooses register tiles and cache blocks of the gradients of convolutions' weights.

A register tile is ``cells`` (input channels, or taps of a row) x ``vectors`` of output channels; it runs over
a chunk of pixels whose inputs and gradients stay in the L1 cache. Tiles are gathered to a super-tile, which
one thread sums over all pixels: its part of the result and a chunk's operands stay in the L2 cache. The
bigger it is, the more seldom inputs and gradients are read again; the smaller, the more even the threads'
shares.
"""

from __future__ import annotations

from dataclasses import dataclass

from netc.backends.llvm.lower.conv_schedule import ceildiv, fits_registers, tile_cost
from netc.backends.llvm.target import Target

MOST_VECTORS = 4
THREADS = (2, 4, 8)  # the numbers of threads that shares should be even for
CACHE_BYTES_A_CYCLE = 8  # what a core gets from beyond its L2 cache
FEW_ROWS = 4
SYMBOLIC_CHUNK_COLUMNS = 128
SYMBOLIC_CHUNK_ROWS = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One group: ``blocks`` vectors of outputs x ``parts`` of ``part_cells`` cells, a vector of results each.

    A part is what is cut no further between threads: a block of input channels with all taps, or a row of
    taps. ``part_bytes`` is what a part reads of the input for a pixel of the gradient.
    """

    groups: int
    blocks: int
    parts: int
    part_cells: int
    part_bytes: int


@dataclass(frozen=True, slots=True)
class Supertile:
    """``tiles`` register tiles of outputs x ``parts`` of the input side."""

    tiles: int
    parts: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """The pixels of one visit to a register tile: images x rows x columns."""

    images: int
    rows: int
    columns: int


def choose_cells(target: Target, choices: list[int], blocks: int) -> tuple[int, int]:
    """Cells and vectors of the cheapest register tile; every choice of cells divides the work evenly."""

    def cost(cells: int, vectors: int) -> tuple[float, float]:
        whole, rest = divmod(blocks, vectors)
        cycles = whole * tile_cost(cells, vectors) + (tile_cost(cells, rest) if rest else 0)
        loads = whole * (cells + vectors) + (cells + rest if rest else 0)
        return cycles / cells, loads / cells

    fitting = [
        (cells, vectors)
        for cells in choices
        for vectors in range(1, min(blocks, MOST_VECTORS) + 1)
        if fits_registers(target, cells, vectors)
    ]
    return min(fitting, key=lambda tile: cost(*tile))


def choose_chunk(
    target: Target, block: int, vectors: int, images: int | None, rows: int | None, columns: int | None
) -> Chunk:
    """Pixels whose inputs and gradients fit in two thirds of the L1 cache; None: symbolic.

    Where that is less than ``FEW_ROWS`` of several rows, starting and ending a tile would cost more than
    reading from L2: they fit in a quarter of that cache then.
    """
    pixel_bytes = block * 4 * (vectors + 1)
    pixels = max(1, target.l1_bytes * 2 // 3 // pixel_bytes)
    if columns is None:
        return Chunk(1, SYMBOLIC_CHUNK_ROWS, SYMBOLIC_CHUNK_COLUMNS)
    if rows != 1 and columns * FEW_ROWS > pixels:
        pixels = max(pixels, target.l2_bytes // 4 // pixel_bytes)
    if columns > pixels:
        return Chunk(1, 1, even(columns, pixels))
    if rows is None:
        return Chunk(1, max(1, pixels // columns), columns)
    if rows * columns > pixels:
        return Chunk(1, even(rows, pixels // columns), columns)
    at_once = max(1, pixels // (rows * columns))
    return Chunk(at_once if images is None else even(images, at_once), rows, columns)


def even(extent: int, most: int) -> int:
    """The length of the fewest equal pieces of at most ``most``."""
    return ceildiv(extent, ceildiv(extent, min(most, extent)))


def choose_supertile(target: Target, problem: Problem, vectors: int, chunk_pixels: int) -> Supertile:
    """The super-tile of the least time for work, uneven shares and reading from beyond L2."""
    vector_bytes = target.vector_bytes
    tiles = ceildiv(problem.blocks, vectors)
    candidates = [Supertile(so, sp) for so in _pieces(tiles) for sp in _pieces(problem.parts)]

    def resident(tile: Supertile) -> int:
        outputs = tile.tiles * vectors * vector_bytes
        results = outputs * tile.parts * problem.part_cells
        return results + chunk_pixels * (outputs + tile.parts * problem.part_bytes)

    def cost(tile: Supertile) -> float:
        across, along = ceildiv(tiles, tile.tiles), ceildiv(problem.parts, tile.parts)
        work = problem.blocks * problem.parts * problem.part_cells / 2
        read = problem.parts * problem.part_bytes * across + problem.blocks * vector_bytes * along
        items = problem.groups * across * along
        uneven = sum(ceildiv(items, t) * t / items for t in THREADS) / len(THREADS)
        return work * uneven + read / CACHE_BYTES_A_CYCLE

    fitting = [tile for tile in candidates if resident(tile) <= target.l2_bytes * 3 // 4]
    return min(fitting or [Supertile(1, 1)], key=cost)


def _pieces(extent: int) -> list[int]:
    """The lengths that cut an extent evenly into some number of pieces."""
    return sorted({ceildiv(extent, count) for count in range(1, extent + 1)})
