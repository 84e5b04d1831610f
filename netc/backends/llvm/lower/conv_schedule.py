"""Chooses register tiles and cache blocks of convolutions and inner products.

The model: a tile of ``pixels`` x ``vectors`` accumulators does pixels * vectors fused multiply-adds per
input element and tap, two a cycle, and needs one load per pixel (broadcast) and per vector (weights), two
a cycle too; with fewer than 8 accumulators the latency of the multiply-add shows.
"""

from __future__ import annotations

from dataclasses import dataclass

from netc.backends.llvm.lower.columns import balanced
from netc.backends.llvm.target import Target

FMA_LATENCY_ACCUMULATORS = 8
SYMBOLIC_ROW = 96
WANTED_ITEMS = 16


@dataclass(frozen=True, slots=True)
class MacTile:
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
    return max(fmas, loads, FMA_LATENCY_ACCUMULATORS) / 2


def row_cost(outputs: int, blocks: int, pixels: int, vectors: int) -> float:
    """Cycles a tap for a whole row and all output channels."""
    size, last = balanced(outputs, pixels)
    tiles = -(-outputs // size)
    groups, rest = divmod(blocks, vectors)
    cost = groups * ((tiles - 1) * tile_cost(size, vectors) + tile_cost(last, vectors))
    if rest:
        cost += (tiles - 1) * tile_cost(size, rest) + tile_cost(last, rest)
    return cost


def choose_tile(
    target: Target, row: int | None, blocks: int, taps: int, channels: int, rows_of_tiles: int = 1
) -> MacTile:
    """The cheapest tile for rows of ``row`` outputs (None: symbolic) and ``blocks`` channel vectors.

    ``depth`` keeps the weights of one pass within half of the L1 cache, where more than one tile reads
    them; ``rows_of_tiles`` is how many rows share the weights.
    """
    outputs = SYMBOLIC_ROW if row is None else row
    candidates = [
        (row_cost(outputs, blocks, pixels, vectors), -vectors, -pixels)
        for vectors in range(1, min(blocks, 4) + 1)
        for pixels in range(1, min(outputs, target.vector_registers) + 1)
        if fits_registers(target, pixels, vectors)
    ]
    _, vectors, pixels = min(candidates)
    vectors, pixels = -vectors, -pixels
    if -(-outputs // pixels) * rows_of_tiles <= 1:
        return MacTile(pixels, vectors, channels)
    panel = taps * vectors * target.vector_bytes
    depth = max(target.lanes, (target.l1_bytes * 2 // 3 // panel) // target.lanes * target.lanes)
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
