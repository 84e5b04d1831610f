"""Chooses tiles of matrix products, and into how many parts of k they are cut, by a model of their time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from netc.ir.diagnostics import NetcError
from netc.ir.dim import Dim

PROCESSORS = 128  # of the GPU that is assumed; one text serves all
ENOUGH_BLOCKS = 2 * PROCESSORS  # where k need not be cut for want of work
NOMINAL = 4096  # stands for an extent that is not known
LEAST_PART = 128  # of k, that is worth a block of its own
MOST_PARTS = 32
# in units of a multiply-add of one processor's ordinary cores: what a float of a partial sum takes to memory
# and back, and what starting the second stage takes
JOIN_COST = 80
SECOND_LAUNCH = 700_000
TENSOR_SPEED = 4  # how many times faster tensor cores multiply
WGMMA_SPEED = 7.4  # the same by warpgroups: an H100's peaks


@dataclass(frozen=True, slots=True)
class Tile:
    """A block computes ``m`` x ``n`` in steps of ``k``; a thread ``tm`` x ``tn``, or a warp by tensor cores.

    ``efficiency`` is the share of the multiply-adds' peak that the inner loop can reach.
    """

    m: int
    n: int
    k: int
    tm: int
    tn: int
    threads: int
    efficiency: float


@dataclass(frozen=True, slots=True)
class Tiling:
    """A tile, and the number of parts that k is cut into; each but the last has ``share`` of k.

    ``cost`` as the model sees it, in multiply-adds of one processor's ordinary cores.
    """

    tile: Tile
    parts: int
    share: int
    cost: float = field(default=0.0, compare=False)


SIMT_TILES = (
    Tile(128, 128, 8, 8, 8, 256, 0.85),
    Tile(64, 128, 8, 4, 8, 256, 0.75),
    Tile(128, 64, 8, 8, 4, 256, 0.75),
    Tile(64, 64, 16, 4, 4, 256, 0.6),
    Tile(32, 128, 8, 4, 4, 256, 0.5),
    Tile(32, 64, 16, 4, 4, 128, 0.45),
    Tile(32, 32, 16, 4, 4, 64, 0.35),
    Tile(16, 64, 16, 4, 4, 64, 0.3),
)
# tm and tn: what a warp computes
TENSOR_TILES = (
    Tile(128, 128, 16, 64, 32, 256, 0.6),
    Tile(64, 128, 16, 32, 32, 256, 0.5),
    Tile(128, 64, 16, 32, 32, 256, 0.5),
    Tile(64, 64, 16, 32, 32, 128, 0.4),
    Tile(32, 128, 16, 32, 32, 128, 0.35),
    Tile(32, 64, 16, 16, 32, 128, 0.3),
)
# tm and tn: what a warpgroup computes. Their limit is how fast float32 operands come, so large tiles are best
WGMMA_TILES = (
    Tile(128, 256, 32, 64, 256, 256, 0.55),
    Tile(128, 128, 32, 64, 128, 256, 0.45),
    Tile(64, 128, 32, 64, 128, 128, 0.32),
    Tile(128, 64, 32, 64, 64, 256, 0.32),
    Tile(64, 64, 32, 64, 64, 128, 0.25),
)


def choose(
    tiles: Sequence[Tile],
    m: Dim,
    n: Dim,
    k: Dim,
    groups: int,
    *,
    speed: float = 1.0,
    parts: int | None = None,
) -> Tiling:
    """The tiling that the model finds fastest; k is not cut where an extent is not known.

    ``speed`` of the multiply-adds, relative to the ordinary cores. ``parts``: how many of k there are to be.
    """
    known = isinstance(m, int) and isinstance(n, int) and isinstance(k, int)
    rows, columns, depth = (d if isinstance(d, int) else NOMINAL for d in (m, n, k))

    def counts(tile: Tile) -> list[int]:
        if parts is not None:
            return [parts if known else 1]
        return _parts(depth, known and _blocks(tile, rows, columns, groups) < ENOUGH_BLOCKS)

    costs = [
        (_cost(tile, rows, columns, depth, groups, count, speed), count, number)
        for number, tile in enumerate(tiles)
        for count in counts(tile)
    ]
    cost, count, number = min(costs)
    share = _share(tiles[number], count, depth)
    return Tiling(tiles[number], math.ceil(depth / share) if known else 1, share, cost)


def given(tiles: Sequence[Tile], m: int, n: int, parts: int, k: Dim) -> Tiling:
    """The tile of m x n with k in as many parts; NetcError where there is none, or no work for a part."""
    tile = next((tile for tile in tiles if (tile.m, tile.n) == (m, n)), None)
    if tile is None:
        known = ", ".join(f"{tile.m}x{tile.n}" for tile in tiles)
        raise NetcError(f"a schedule asks for tiles of {m}x{n}; this product has {known}")
    depth = k if isinstance(k, int) else NOMINAL
    share = _share(tile, parts, depth)
    if parts > 1 and not (isinstance(k, int) and math.ceil(k / share) == parts):
        raise NetcError(f"a schedule cuts a sum of {k} products into {parts} parts")
    return Tiling(tile, parts, share)


def _share(tile: Tile, parts: int, depth: int) -> int:
    return math.ceil(depth / (parts * tile.k)) * tile.k


def _blocks(tile: Tile, m: int, n: int, groups: int) -> int:
    return -(-m // tile.m) * -(-n // tile.n) * groups


def _parts(depth: int, may_cut: bool) -> list[int]:
    found = [1]
    while may_cut and found[-1] * 2 <= min(MOST_PARTS, depth // LEAST_PART):
        found.append(found[-1] * 2)
    return found


def _cost(tile: Tile, m: int, n: int, k: int, groups: int, parts: int, speed: float) -> float:
    """The time taken, in multiply-adds of one processor's ordinary cores."""
    blocks = _blocks(tile, m, n, groups) * parts
    waves = -(-blocks // PROCESSORS)
    depth = -(-k // parts)
    time = waves * tile.m * tile.n * depth / (tile.efficiency * speed)
    if parts > 1:
        time += SECOND_LAUNCH + JOIN_COST * m * n * groups * parts / PROCESSORS
    return time
