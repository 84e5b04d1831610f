"""Chooses register tiles and cache blocks of convolutions and inner products.

The model: a tile of ``pixels`` x ``vectors`` accumulators does pixels * vectors fused multiply-adds per
input element and tap, two a cycle, and needs one load per pixel (broadcast) and per vector (weights), two
a cycle too; with fewer than 8 accumulators the latency of the multiply-add shows. Weights cost a little more:
they come from further away.
"""

from __future__ import annotations

from dataclasses import dataclass

from netc.backends.llvm.lower.columns import balanced
from netc.backends.llvm.target import Target
from netc.ir.diagnostics import NetcError
from netc.ir.schedule import Schedule, read_schedule

FMA_LATENCY_ACCUMULATORS = 8
SYMBOLIC_ROW = 96
WANTED_ITEMS = 16
MOST_VECTORS = 4
MOST_OF_UNEVEN_ROWS = 256
LIKELY_THREADS = (1, 2, 4)
WEIGHT_LOAD_CYCLES = 0.25  # measured: a tap loses so much to each vector of weights, which pass through L1
NEAR = 1.3  # tiles of so much more than the least cost may still be the quickest


@dataclass(frozen=True, slots=True)
class MacTile(Schedule):
    """``pixels`` outputs x ``vectors`` registers of output channels; ``depth`` input channels a pass."""

    pixels: int
    vectors: int
    depth: int


def fits_registers(target: Target, pixels: int, vectors: int) -> bool:
    """Whether accumulators, one tap's weights and a broadcast fit, one register left over."""
    return pixels * vectors + vectors + 2 <= target.vector_registers


def tile_cost(pixels: int, vectors: int) -> float:
    """Cycles of one tap of one tile."""
    fmas = pixels * vectors
    loads = pixels + vectors if vectors > 1 else pixels + 1
    return max(fmas, loads, FMA_LATENCY_ACCUMULATORS) / 2 + WEIGHT_LOAD_CYCLES * vectors


def row_cost(outputs: int, blocks: int, pixels: int, vectors: int) -> float:
    """Cycles a tap for a whole row and all output channels."""
    size, last = balanced(outputs, pixels)
    tiles = -(-outputs // size)
    groups, rest = divmod(blocks, vectors)
    cost = groups * ((tiles - 1) * tile_cost(size, vectors) + tile_cost(last, vectors))
    if rest:
        cost += (tiles - 1) * tile_cost(size, rest) + tile_cost(last, rest)
    return cost


def row_counts(extent: int) -> list[int]:
    """Into how many rows a 1x1 plane may be cut, the most first.

    All rows are equal, but for the last one of a small plane, which may be shorter.
    """
    counts = range(extent, 0, -1)
    if extent > MOST_OF_UNEVEN_ROWS:
        return [rows for rows in counts if extent % rows == 0]
    return [rows for rows in counts if ceildiv(extent, ceildiv(extent, rows)) == rows]


def plane_cost(extent: int, rows: int, blocks: int, tile: MacTile, images: int) -> float:
    """Cycles a tap for an image of a plane that is cut into rows, when few threads share them.

    A row of a group of output channels is a unit of work, and the threads wait for the last.
    """
    columns, groups = ceildiv(extent, rows), ceildiv(blocks, tile.vectors)
    row = row_cost(columns, blocks, tile.pixels, tile.vectors)
    last = row_cost(extent - (rows - 1) * columns, blocks, tile.pixels, tile.vectors)
    units = images * rows * groups

    def longest(threads: int) -> float:
        """The share of the thread that does most: one of as many rows in a plane is the last."""
        share = ceildiv(units, threads)
        return (share * row - share // rows * (row - last)) / groups

    return sum(longest(threads) * threads for threads in LIKELY_THREADS) / len(LIKELY_THREADS) / images


def choose_tile(
    target: Target, row: int | None, blocks: int, taps: int, channels: int, rows_of_tiles: int = 1
) -> MacTile:
    """The cheapest tile for rows of ``row`` outputs (None: symbolic) and ``blocks`` channel vectors.

    ``depth`` keeps the weights of one pass in the L2 cache, where more than one tile reads them;
    ``rows_of_tiles`` is how many rows share the weights.
    """
    outputs = SYMBOLIC_ROW if row is None else row
    _, vectors, pixels = min(_costs(target, outputs, blocks))
    return _with_depth(target, -pixels, -vectors, outputs, taps, channels, rows_of_tiles)


def near_tiles(
    target: Target, row: int | None, blocks: int, taps: int, channels: int, rows_of_tiles: int = 1
) -> list[tuple[float, MacTile]]:
    """The tiles whose cost is near the least, with their costs, the cheapest first; see `choose_tile`."""
    outputs = SYMBOLIC_ROW if row is None else row
    costs = sorted(_costs(target, outputs, blocks))
    found: dict[tuple[int, ...], tuple[float, MacTile]] = {}
    for cost, vectors, pixels in costs:
        if cost <= costs[0][0] * NEAR:
            tile = _with_depth(target, -pixels, -vectors, outputs, taps, channels, rows_of_tiles)
            # others of the same number of tiles would be cut alike
            found.setdefault((tile.vectors, *balanced(outputs, tile.pixels)), (cost, tile))
    return list(found.values())


def other_depths(tile: MacTile, channels: int, lanes: int) -> list[MacTile]:
    """The same tile with half of the channels a pass, with twice as many, with all."""
    depths = {
        even_depth(channels, max(lanes, d // lanes * lanes), lanes) for d in (tile.depth // 2, tile.depth * 2)
    }
    return [MacTile(tile.pixels, tile.vectors, d) for d in sorted({*depths, channels} - {tile.depth})]


def given_tile(text: str, target: Target, channels: int, block: int) -> MacTile:
    """The tile that a launch's schedule asks for; NetcError where it cannot be had."""
    tile = read_schedule(text, MacTile)
    if not fits_registers(target, tile.pixels, tile.vectors):
        raise NetcError(f"the schedule '{text}' takes more than {target.vector_registers} vector registers")
    if tile.depth < channels and tile.depth % block:
        raise NetcError(f"the depth of the schedule '{text}' is no multiple of {block}")
    return tile


def _costs(target: Target, outputs: int, blocks: int) -> list[tuple[float, int, int]]:
    """Cost, -vectors and -pixels of every tile: of equal costs the largest tile comes first."""
    return [
        (row_cost(outputs, blocks, pixels, vectors), -vectors, -pixels)
        for vectors in range(1, min(blocks, MOST_VECTORS) + 1)
        for pixels in range(1, min(outputs, target.vector_registers) + 1)
        if fits_registers(target, pixels, vectors)
    ]


def _with_depth(
    target: Target, pixels: int, vectors: int, outputs: int, taps: int, channels: int, rows_of_tiles: int
) -> MacTile:
    """The tile with as many channels a pass as a fourth of the L2 cache holds weights of.

    Weights come from there as fast as from L1, and each pass more reads and writes the partial sums once.
    """
    if -(-outputs // pixels) * rows_of_tiles <= 1:
        return MacTile(pixels, vectors, channels)
    panel = taps * vectors * target.vector_bytes
    depth = max(target.lanes, (target.l2_bytes // 4 // panel) // target.lanes * target.lanes)
    return MacTile(pixels, vectors, even_depth(channels, depth, target.lanes))


def ceildiv(x: int, y: int) -> int:
    """x / y rounded up."""
    return -(-x // y)


def even_depth(channels: int, depth: int, lanes: int) -> int:
    """A depth of at most ``depth`` that cuts the channels evenly in multiples of a block."""
    if depth >= channels:
        return channels
    passes = ceildiv(channels, depth)
    return ceildiv(ceildiv(channels, passes), lanes) * lanes


def rows_per_item(rows: int | None, row_bytes: int, items: int, target: Target) -> int:
    """How many output rows one work item does: within a share of L2, and enough items for all threads."""
    if rows is None:
        return 8
    fits = max(1, target.l2_bytes // 4 // max(1, row_bytes))
    wanted = max(1, rows * items // WANTED_ITEMS) if items < WANTED_ITEMS else rows
    size = max(1, min(rows, fits, wanted))
    return -(-rows // -(-rows // size))
