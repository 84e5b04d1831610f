"""Chooses how Winograd's convolution is cut: tiles a chunk, register tiles, passes over the channels.

A chunk of tiles is transformed, multiplied and transformed back by one thread in memory of its own. Large
chunks read the weights seldom, small ones stay in the L2 cache.
"""

from __future__ import annotations

import math
import os
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
from netc.ir.winograd_matrices import winograd

LEAST_TILES = int(os.environ.get("WL", 24))
MOST_TILES = int(os.environ.get("WM", 64))


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
    extent = winograd(anchor.attrs.tile).extent
    _, outputs, depth = u.static_shape
    group = anchor.attrs.group
    blocks = ceildiv(outputs // group, block)
    plane = math.prod(plane_of_tiles(anchor))
    images = y.shape[0]
    total = plane * images if isinstance(images, int) else plane * 4
    best: tuple[float, int, int, int] | None = None
    for vectors in range(1, min(blocks, 4) + 1):
        share = target.l2_bytes * 3 // 4 // (extent**2 * 4)
        most = max(LEAST_TILES, min(MOST_TILES, share // (depth * group + vectors * block)))
        tiles = ceildiv(total, ceildiv(total, most))
        for pixels in range(1, target.vector_registers):
            if not fits_registers(target, pixels, vectors):
                break
            full, rest = divmod(blocks, vectors)
            cost = full * tile_cost(pixels, vectors) + (tile_cost(pixels, rest) if rest else 0)
            cost *= ceildiv(total, tiles) * ceildiv(tiles, pixels)
            if best is None or cost < best[0] * 0.999:
                best = cost, vectors, pixels, tiles
    assert best is not None
    _, vectors, pixels, tiles = best
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


def choose_winograd_tile(conv: Op, target: Target) -> int | None:
    """The tile with which Winograd's convolution is quicker than a direct one; None: none is."""
    x, w, y = conv.operands[0].type, conv.operands[1].type, conv.result.type
    assert isinstance(x, TensorType)
    assert isinstance(w, TensorType)
    assert isinstance(y, TensorType)
    group = conv.attrs.group
    outputs, depth = w.shape[0], w.shape[1]
    if not isinstance(outputs, int) or not isinstance(depth, int) or x.dtype != "f32":
        return None
    if not all(isinstance(size, int) for size in y.shape[2:]):
        return None
    if group > 1 and (outputs // group % target.lanes or depth % target.lanes):
        return None
    if depth < 16 or outputs // group < 16:
        return None
    t = int(os.environ.get("WT", 4))
    return t or None
