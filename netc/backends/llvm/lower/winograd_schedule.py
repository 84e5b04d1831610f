"""Chooses how Winograd's convolution is cut: tiles a chunk, register tiles, passes over the channels.

A chunk of tiles is transformed, multiplied and transformed back by one thread in memory of its own. The
larger it is, the more seldom are the weights read; that its memory may leave the L2 cache costs less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from netc.backends.llvm.lower.conv_schedule import (
    MOST_VECTORS,
    NEAR,
    WANTED_ITEMS,
    ceildiv,
    even_depth,
    fits_registers,
    tile_cost,
)
from netc.backends.llvm.target import Target
from netc.ir.core import Op
from netc.ir.diagnostics import NetcError
from netc.ir.ops.winograd import channels_seen, is_transformed
from netc.ir.schedule import Schedule, read_schedule
from netc.ir.types import TensorType
from netc.ir.winograd_matrices import SIZES, winograd

MOST_TILES = 64
# tiles a chunk that are tried, and how many register tiles with each
CANDIDATE_TILES = {64: 4, 32: 2, 96: 2, 128: 2, 16: 1}
MOST_GIVEN_TILES = 1024
# the model of choose_winograd_tile, in cycles of a core
MEMORY_BYTES_PER_CYCLE = 8
CACHE_BYTES_PER_CYCLE = 24
MOST_PADDING = 2  # an input of fewer channels is mostly padding
PRODUCT_EFFICIENCY = {4: 0.85, 6: 0.85, 8: 0.72}  # by extent
WEIGHT_TRANSFORM_CYCLES = 250  # a window of each lane, gathered and transformed
MOST_EXTENT_EACH_RUN = (
    4  # where weights learn, errors add up from iteration to iteration: as small as direct ones
)
LARGE_WEIGHT_BYTES = 16 << 20
LEAST_PRODUCTS_OF_A_WEIGHT = 512  # twice the cycles; its transform takes about 100
TRANSFORM_CYCLES = {4: 50, 6: 130, 8: 300}  # by extent: a tile, a vector of channels, there or back


@dataclass(frozen=True, slots=True)
class WinogradCut(Schedule):
    """``tiles`` a chunk, in register tiles of ``pixels`` x ``vectors``; ``depth`` input channels a pass."""

    tiles: int
    pixels: int
    vectors: int
    depth: int


@dataclass(frozen=True, slots=True)
class WinogradSchedule:
    """What follows from a cut: ``tiles`` a chunk, with memory for ``room``, and the rest as there.

    ``parts`` share the output channels of a chunk. Strides are in elements: from one of the ``extent ** 2``
    products to the next, in the transformed inputs and in the products. A line more than what lies between
    keeps them from meeting in one set of the cache. ``weight_stride`` is that of the weights that a pass
    transforms, 0 where they come transformed. ``scratch_elements`` is what all take, a thread.
    """

    tiles: int
    room: int
    pixels: int
    vectors: int
    depth: int
    parts: int
    input_stride: int
    product_stride: int
    weight_stride: int
    scratch_elements: int


def schedule(anchor: Op, target: Target, given: str | None = None) -> WinogradSchedule:
    """The schedule of an ``nn.winograd_conv`` with static planes: as ``given``, or as the model chooses."""
    problem = _problem(anchor)
    cut = choose_cut(anchor, target) if given is None else _given_cut(given, problem, target)
    block, depth = problem.block, problem.depth
    room = ceildiv(cut.tiles, cut.pixels) * cut.pixels
    chunks = ceildiv(problem.tiles, cut.tiles)
    vector_groups = problem.group * ceildiv(problem.blocks, cut.vectors)
    parts = min(vector_groups, ceildiv(WANTED_ITEMS, chunks))
    input_stride = (ceildiv(depth * problem.group, block) * room + 1) * block
    product_stride = (cut.vectors * room + 1) * block
    weight_stride = 0 if problem.transformed else (cut.vectors * cut.depth + 1) * block
    return WinogradSchedule(
        tiles=cut.tiles,
        room=room,
        pixels=cut.pixels,
        vectors=cut.vectors,
        depth=cut.depth,
        parts=ceildiv(vector_groups, ceildiv(vector_groups, parts)),
        input_stride=input_stride,
        product_stride=product_stride,
        weight_stride=weight_stride,
        scratch_elements=problem.extent**2 * (input_stride + product_stride) + problem.extent * weight_stride,
    )


def choose_cut(anchor: Op, target: Target) -> WinogradCut:
    """The cut of the least cost in a chunk of the usual size."""
    costs = _cuts(_problem(anchor), target, MOST_TILES)
    best = costs[0]
    for cost, cut in costs:
        if cost < best[0] * 0.999:
            best = cost, cut
    return best[1]


def candidate_cuts(anchor: Op, target: Target) -> list[WinogradCut]:
    """The model's choice, others near it, and chunks of other sizes, the most promising first."""
    problem, chosen = _problem(anchor), choose_cut(anchor, target)
    found = {chosen: None}
    for most_tiles, count in CANDIDATE_TILES.items():
        costs = sorted(_cuts(problem, target, most_tiles), key=lambda each: each[0])
        found.update(dict.fromkeys(cut for cost, cut in costs[:count] if cost <= costs[0][0] * NEAR))
    return list(found)


@dataclass(frozen=True, slots=True)
class _Problem:
    """One group has ``blocks`` vectors of outputs and ``depth`` inputs; ``tiles`` are those of all images."""

    extent: int
    block: int
    group: int
    blocks: int
    depth: int
    tiles: int
    transformed: bool


def _problem(anchor: Op) -> _Problem:
    u, y = anchor.operands[1].type, anchor.result.type
    assert isinstance(u, TensorType)
    assert isinstance(y, TensorType)
    assert u.layout is not None
    block, group = u.layout.size, anchor.attrs.group
    outputs, depth = u.static_shape[0], channels_seen(u)
    assert isinstance(depth, int)
    plane = math.prod(plane_of_tiles(anchor))
    images = y.shape[0]
    return _Problem(
        extent=winograd(anchor.attrs.tile, anchor.attrs.taps).extent,
        block=block,
        group=group,
        blocks=ceildiv(outputs // group, block),
        depth=depth,
        tiles=plane * images if isinstance(images, int) else plane * 4,
        transformed=is_transformed(u),
    )


def _cuts(problem: _Problem, target: Target, most_tiles: int) -> list[tuple[float, WinogradCut]]:
    """Every register tile in even chunks of at most ``most_tiles``, with its cost."""
    chunks = ceildiv(problem.tiles, most_tiles)
    tiles = ceildiv(problem.tiles, chunks)
    found = []
    for vectors in range(1, min(problem.blocks, MOST_VECTORS) + 1):
        for pixels in range(1, target.vector_registers):
            if not fits_registers(target, pixels, vectors):
                break
            full, rest = divmod(problem.blocks, vectors)
            cost = full * tile_cost(pixels, vectors) + (tile_cost(pixels, rest) if rest else 0)
            cost *= ceildiv(problem.tiles, tiles) * ceildiv(tiles, pixels)
            found.append(
                (cost, WinogradCut(tiles, pixels, vectors, _depth(problem, target, tiles, pixels, vectors)))
            )
    return found


def _depth(problem: _Problem, target: Target, tiles: int, pixels: int, vectors: int) -> int:
    """As many channels a pass as the L1 cache holds weights of; all where a chunk is one register tile.

    Where a pass transforms its weights, those of a row of places.
    """
    block = problem.block
    if not problem.transformed:
        panel = problem.extent * vectors * target.vector_bytes
        return even_depth(problem.depth, max(block, target.l1_bytes // panel // block * block), block)
    if tiles <= pixels:
        return problem.depth
    passes = max(block, target.l1_bytes * 2 // 3 // (vectors * target.vector_bytes) // block * block)
    return even_depth(problem.depth, passes, block)


def _given_cut(text: str, problem: _Problem, target: Target) -> WinogradCut:
    cut = read_schedule(text, WinogradCut)
    if not fits_registers(target, cut.pixels, cut.vectors) or cut.tiles > MOST_GIVEN_TILES:
        raise NetcError(f"the schedule '{text}' takes more registers or memory than kernels may")
    if cut.depth < problem.depth and cut.depth % problem.block:
        raise NetcError(f"the depth of the schedule '{text}' is no multiple of {problem.block}")
    return cut


def plane_of_tiles(anchor: Op) -> tuple[int, int]:
    """The rows and columns of tiles of an image."""
    y = anchor.result.type
    assert isinstance(y, TensorType)
    height, width = y.shape[2:]
    assert isinstance(height, int)
    assert isinstance(width, int)
    return ceildiv(height, anchor.attrs.tile), ceildiv(width, anchor.attrs.tile)


def choose_winograd_tile(conv: Op, target: Target, weight_bytes: int) -> int | None:
    """The tile with which Winograd's convolution is quicker than a direct one; None: none is.

    ``weight_bytes`` as in `winograd_costs`.
    """
    costs = winograd_costs(conv, target, weight_bytes)
    return min(costs, key=costs.__getitem__)


def choose_winograd_tile_each_run(conv: Op, target: Target, weight_bytes: int) -> int | None:
    """`choose_winograd_tile` where the weights are transformed in each run."""
    costs = winograd_costs(conv, target, weight_bytes)
    w = conv.operands[1].type
    assert isinstance(w, TensorType)
    outputs, depth, taps, *_ = w.shape
    if not (isinstance(outputs, int) and isinstance(depth, int) and isinstance(taps, int)):
        return None
    if outputs % target.lanes:
        return None
    transform = outputs // target.lanes * depth * WEIGHT_TRANSFORM_CYCLES
    possible = {
        tile: cost if tile is None else cost + transform
        for tile, cost in costs.items()
        if tile is None or tile + taps - 1 <= MOST_EXTENT_EACH_RUN
    }
    return min(possible, key=possible.__getitem__)


def winograd_costs(conv: Op, target: Target, weight_bytes: int) -> dict[int | None, float]:
    """Cycles by tile, for those with which Winograd's convolution can stand for ``conv``; None: a direct one.

    ``weight_bytes`` is what the net's weights take as they are: they stay in the cache from run to run, or
    come from memory each time.
    """
    x, w, y = conv.operands[0].type, conv.operands[1].type, conv.result.type
    assert isinstance(x, TensorType)
    assert isinstance(w, TensorType)
    assert isinstance(y, TensorType)
    direct_only: dict[int | None, float] = {None: 0.0}
    group, lanes = conv.attrs.group, target.lanes
    extents = (*w.shape[:3], *y.shape[2:])
    if x.dtype != "f32" or not all(isinstance(size, int) for size in extents):
        return direct_only
    outputs, depth, taps, height, width = (size for size in extents if isinstance(size, int))
    if group > 1 and (outputs // group % lanes or depth % lanes):
        return direct_only
    images = y.shape[0] if isinstance(y.shape[0], int) else 1
    in_blocks, out_blocks = ceildiv(depth * group, lanes), ceildiv(outputs, lanes)
    if in_blocks * lanes > depth * group * MOST_PADDING:
        return direct_only
    rate = CACHE_BYTES_PER_CYCLE if weight_bytes <= target.l3_bytes // 4 else MEMORY_BYTES_PER_CYCLE
    weights = depth * outputs * 4
    products = images * height * width * taps**2 * depth * out_blocks
    costs: dict[int | None, float] = {None: products / 2 + weights * taps**2 / rate}
    for tile, extent in [(t, t + r - 1) for t, r in SIZES if r == taps]:
        tiles = images * ceildiv(height, tile) * ceildiv(width, tile)
        products = extent**2 * tiles * depth * out_blocks
        reads = weights * extent**2
        again = ceildiv(tiles, MOST_TILES) - 1
        costs[tile] = (
            products / 2 / PRODUCT_EFFICIENCY[extent]
            + reads / rate
            + reads * again / CACHE_BYTES_PER_CYCLE
            + tiles * (in_blocks + out_blocks) * TRANSFORM_CYCLES[extent]
        )
    return costs


def winograd_keeps_weights(conv: Op, tile: int, target: Target) -> bool:
    """Whether Winograd's convolution with this tile transforms its weights by itself, in each run.

    That takes a fourth to a half of the memory and up to a tenth more time; for large weights that would fill
    the last cache, where each is used by one chunk only, but by enough tiles.
    """
    w, y = conv.operands[1].type, conv.result.type
    assert isinstance(w, TensorType)
    assert isinstance(y, TensorType)
    extents = (*w.shape[:3], y.shape[0], *y.shape[2:])
    if not all(isinstance(size, int) for size in extents):
        return False
    outputs, depth, taps, images, height, width = (size for size in extents if isinstance(size, int))
    places = (tile + taps - 1) ** 2
    tiles = images * ceildiv(height, tile) * ceildiv(width, tile)
    fills_cache = outputs * depth * places * 4 >= max(target.l3_bytes // 2, LARGE_WEIGHT_BYTES)
    return fills_cache and tiles <= MOST_TILES and tiles * places >= LEAST_PRODUCTS_OF_A_WEIGHT
