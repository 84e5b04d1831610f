"""Chooses how Winograd's convolution is cut: tiles a chunk, register tiles, passes over the channels.

A chunk of tiles is transformed, multiplied and transformed back by one thread in memory of its own. Large
chunks read the weights seldom, small ones stay in the L2 cache.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from netc.backends.llvm.lower.conv_schedule import (
    WANTED_ITEMS,
    ceildiv,
    even_depth,
    fits_registers,
    tile_cost,
)
from netc.backends.llvm.target import Target
from netc.ir.core import Op
from netc.ir.types import TensorType
from netc.ir.winograd_matrices import SIZES, winograd

MOST_TILES = 64
# the model of choose_winograd_tile, in cycles of a core
MEMORY_BYTES_PER_CYCLE = 8
CACHE_BYTES_PER_CYCLE = 24
MOST_PADDING = 2  # an input of fewer channels is mostly padding
PRODUCT_EFFICIENCY = {4: 0.85, 6: 0.85, 8: 0.72}  # by extent
TRANSFORM_CYCLES = {4: 50, 6: 130, 8: 300}  # by extent: a tile, a vector of channels, there or back


@dataclass(frozen=True, slots=True)
class WinogradSchedule:
    """``tiles`` a chunk, with memory for ``room``, in register tiles of ``pixels`` x ``vectors``; ``depth``
    input channels a pass.

    ``parts`` share the output channels of a chunk. Strides are in elements: from one of the ``extent ** 2``
    products to the next, in the transformed inputs and in the products. A line more than what lies between
    keeps them from meeting in one set of the cache. ``scratch_elements`` is what both take, a thread.
    """

    tiles: int
    room: int
    pixels: int
    vectors: int
    depth: int
    parts: int
    input_stride: int
    product_stride: int
    scratch_elements: int


def schedule(anchor: Op, target: Target) -> WinogradSchedule:
    """The schedule of an ``nn.winograd_conv`` with static planes."""
    u, y = anchor.operands[1].type, anchor.result.type
    assert isinstance(u, TensorType)
    assert isinstance(y, TensorType)
    assert u.layout is not None
    block = u.layout.size
    extent = winograd(anchor.attrs.tile, anchor.attrs.taps).extent
    outputs, _, depth = u.static_shape
    group = anchor.attrs.group
    blocks = ceildiv(outputs // group, block)
    plane = math.prod(plane_of_tiles(anchor))
    images = y.shape[0]
    total = plane * images if isinstance(images, int) else plane * 4
    tiles = ceildiv(total, ceildiv(total, MOST_TILES))
    best: tuple[float, int, int] | None = None
    for vectors in range(1, min(blocks, 4) + 1):
        for pixels in range(1, target.vector_registers):
            if not fits_registers(target, pixels, vectors):
                break
            full, rest = divmod(blocks, vectors)
            cost = full * tile_cost(pixels, vectors) + (tile_cost(pixels, rest) if rest else 0)
            cost *= ceildiv(total, tiles) * ceildiv(tiles, pixels)
            if best is None or cost < best[0] * 0.999:
                best = cost, vectors, pixels
    assert best is not None
    _, vectors, pixels = best
    room = ceildiv(tiles, pixels) * pixels
    chunks = ceildiv(total, tiles)
    vector_groups = group * ceildiv(blocks, vectors)
    parts = min(vector_groups, ceildiv(WANTED_ITEMS, chunks))
    passes = max(block, target.l1_bytes * 2 // 3 // (vectors * target.vector_bytes) // block * block)
    input_stride = (ceildiv(depth * group, block) * room + 1) * block
    product_stride = (vectors * room + 1) * block
    return WinogradSchedule(
        tiles=tiles,
        room=room,
        pixels=pixels,
        vectors=vectors,
        depth=even_depth(depth, passes, block) if room > pixels else depth,
        parts=ceildiv(vector_groups, ceildiv(vector_groups, parts)),
        input_stride=input_stride,
        product_stride=product_stride,
        scratch_elements=extent**2 * (input_stride + product_stride),
    )


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

    ``weight_bytes`` is what the net's weights take as they are: they stay in the cache from run to run, or
    come from memory each time.
    """
    x, w, y = conv.operands[0].type, conv.operands[1].type, conv.result.type
    assert isinstance(x, TensorType)
    assert isinstance(w, TensorType)
    assert isinstance(y, TensorType)
    group, lanes = conv.attrs.group, target.lanes
    extents = (*w.shape[:3], *y.shape[2:])
    if x.dtype != "f32" or not all(isinstance(size, int) for size in extents):
        return None
    outputs, depth, taps, height, width = (size for size in extents if isinstance(size, int))
    if group > 1 and (outputs // group % lanes or depth % lanes):
        return None
    images = y.shape[0] if isinstance(y.shape[0], int) else 1
    in_blocks, out_blocks = ceildiv(depth * group, lanes), ceildiv(outputs, lanes)
    if in_blocks * lanes > depth * group * MOST_PADDING:
        return None
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
    return min(costs, key=costs.__getitem__)
