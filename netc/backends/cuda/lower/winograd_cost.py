"""Where Winograd's convolution pays on a GPU: flops of products, bytes of transforms, functions started.

Products take the time that the model of their tiles predicts, at the data sheet's peak of the architecture.
What the transforms write and read passes through memory, which is what they take.
"""

from __future__ import annotations

from netc.backends.cuda.lower.tiling import (
    PROCESSORS,
    SIMT_TILES,
    TENSOR_SPEED,
    TENSOR_TILES,
    WGMMA_SPEED,
    WGMMA_TILES,
    choose,
)
from netc.backends.cuda.lower.winograd import MOST_EXTENT, sizes_of
from netc.backends.cuda.target import Architecture, Precision
from netc.ir.core import Op
from netc.ir.types import TensorType
from netc.ir.winograd_matrices import SIZES

START_SECONDS = 2e-6  # for a function of a graph to begin and end: an assumption, not a measurement
MOST_SCRATCH_BYTES = 512 << 20
CLEARLY = 0.85  # of the direct convolution's time: what a model without measurements must promise
EXACT_TILE = 2  # the largest whose transforms keep the error of factors that are rounded


def choose_winograd_tile(conv: Op, architecture: Architecture, precision: Precision) -> int | None:
    """The tile with which Winograd's convolution is clearly quicker than a direct one; None: none is."""
    costs = winograd_costs(conv, architecture, precision)
    best = min(costs, key=costs.__getitem__)
    return best if costs[best] < CLEARLY * costs[None] else None


def winograd_costs(conv: Op, architecture: Architecture, precision: Precision) -> dict[int | None, float]:
    """Seconds by tile, for those with which Winograd's convolution can stand for ``conv``; None: direct."""
    x, w, y = conv.operands[0].type, conv.operands[1].type, conv.result.type
    assert isinstance(x, TensorType)
    assert isinstance(w, TensorType)
    assert isinstance(y, TensorType)
    if x.dtype != "f32" or conv.attrs.group > 1 or not all(isinstance(d, int) for d in (*x.shape, *y.shape)):
        return {None: 0.0}
    images, channels, height, width = x.static_shape
    outputs, taps = w.static_shape[0], w.static_shape[2]
    pixels = y.static_shape[0] * y.static_shape[2] * y.static_shape[3]

    tiles, speed = (SIMT_TILES, 1.0) if precision == "fp32" else (TENSOR_TILES, TENSOR_SPEED)
    warpgroups = architecture.has_warpgroups and precision != "fp32"

    def products(m: int, n: int, k: int, groups: int, parts: int | None) -> float:
        cost = choose(tiles, m, n, k, groups, speed=speed, parts=parts).cost
        if warpgroups and parts is None:
            cost = min(cost, choose(WGMMA_TILES, m, n, k, groups, speed=WGMMA_SPEED).cost)
        return 2 * cost * PROCESSORS / architecture.fp32

    def copies(*elements: int) -> float:
        return 4 * sum(elements) / architecture.bandwidth

    read, written = images * channels * height * width, pixels * outputs
    direct = copies(read, written, w.static_shape[0] * channels * taps**2)
    own = max(products(outputs, pixels, channels * taps**2, 1, None), direct)
    costs: dict[int | None, float] = {None: own + START_SECONDS}
    for tile, extent in [(t, t + r - 1) for t, r in SIZES if r == taps]:
        if extent > MOST_EXTENT or (precision != "fp32" and tile > EXACT_TILE):
            continue
        sizes = sizes_of(x, y, tile, extent)
        inputs, made = sizes.inputs, sizes.products
        assert isinstance(inputs, int)
        assert isinstance(made, int)
        assert isinstance(sizes.room, int)
        if 4 * (inputs + made) > MOST_SCRATCH_BYTES:
            continue
        weights = outputs * channels * extent**2
        product = products(outputs, sizes.room, channels, extent**2, 1)
        costs[tile] = (
            copies(read, inputs)
            + max(product, copies(inputs, weights, made))
            + copies(made, written)
            + 3 * START_SECONDS
        )
    return costs
