"""Matrix products: by which units, in which tiles and parts of k; as the model or the launch chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower import gemm, gemm_tensor, gemm_wgmma
from netc.backends.cuda.lower.library_product import library_product
from netc.backends.cuda.lower.product import Product
from netc.backends.cuda.lower.tiling import (
    SIMT_TILES,
    TENSOR_SPEED,
    TENSOR_TILES,
    WGMMA_SPEED,
    WGMMA_TILES,
    Tile,
    Tiling,
    choose,
    given,
)
from netc.ir.core import Op
from netc.ir.schedule import Schedule, read_any_schedule

CLEARLY = 0.8  # of the other units' time: what wgmma must promise, as its model is the least certain
MOST_CANDIDATES = 10
HOPELESS = 2.5  # times the least cost


@dataclass(frozen=True, slots=True)
class SimtCut(Schedule):
    """On ordinary cores, in full float32: a block's tile, and the parts of k."""

    simt_m: int
    simt_n: int
    parts: int


@dataclass(frozen=True, slots=True)
class MmaCut(Schedule):
    """On tensor cores by warps."""

    mma_m: int
    mma_n: int
    parts: int


@dataclass(frozen=True, slots=True)
class WgmmaCut(Schedule):
    """On tensor cores by warpgroups, sm_90a alone."""

    wgmma_m: int
    wgmma_n: int
    parts: int


@dataclass(frozen=True, slots=True)
class ByLibrary(Schedule):
    """By cuBLAS, where operands are plain matrices; a kernel of ours adds the bias and what follows."""

    cublas: int


Cut = SimtCut | MmaCut | WgmmaCut
_EMIT: Mapping[type[Cut], Callable[[Kernel, Op, Sequence[Op], Product, Tiling], None]] = {
    SimtCut: gemm.emit,
    MmaCut: gemm_tensor.emit,
    WgmmaCut: gemm_wgmma.emit,
}
_KINDS: tuple[type[Cut | ByLibrary], ...] = (SimtCut, MmaCut, WgmmaCut, ByLibrary)


@dataclass(frozen=True, slots=True)
class _Way:
    """A family of tiles of which a product may take some; ``speed`` relative to the ordinary cores."""

    kind: type[Cut]
    tiles: tuple[Tile, ...]
    speed: float


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op], product: Product) -> None:
    """Emit the kernel of a product."""
    cut = _chosen(kernel, product)
    if isinstance(cut, ByLibrary):
        kernel.library = library_product(kernel, product)
        kernel.scratch_bytes = product.m * product.n * 4
        gemm.emit_join(kernel, anchor, tail, product, 1)
        return
    for way in _ways(kernel, product):
        if isinstance(cut, way.kind):
            _EMIT[way.kind](kernel, anchor, tail, product, _tiling(cut, way.tiles, product))
            return


def lower_kept(kernel: Kernel, anchor: Op, product: Product) -> None:
    """Emit the function of a product whose sums stay in scratch memory, k in one part."""
    way = _ways(kernel, product)[0]
    extents = (product.m, product.n, product.k, product.groups)
    tiling = choose(way.tiles, *extents, speed=way.speed, whole=True)
    _EMIT[way.kind](kernel, anchor, (), product, tiling)


def candidates(kernel: Kernel, product: Product) -> list[Schedule]:
    """What a product may be cut into, the model's own choice first, the most promising before the others."""
    extents = (product.m, product.n, product.k, product.groups)
    costs: dict[Cut, float] = {}
    for way in _ways(kernel, product):
        for tile in way.tiles:
            for whole in (False, True):
                found = choose((tile,), *extents, speed=way.speed, whole=whole)
                costs[_cut(way.kind, found)] = found.cost
    own = _own_choice(kernel, product)
    least = min(costs.values())
    others = sorted((c for c in costs if c != own and costs[c] <= HOPELESS * least), key=costs.__getitem__)
    best: list[Schedule] = [own, *others[: MOST_CANDIDATES - 1]]
    return [*best, ByLibrary(1)] if library_product(kernel, product) is not None else best


def _ways(kernel: Kernel, product: Product) -> list[_Way]:
    """The units that compute at least in the kernel's precision; first those of the model's choice."""
    simt = _Way(SimtCut, SIMT_TILES, 1.0)
    if kernel.precision == "fp32" or not gemm_tensor.pays(product):
        return [simt]
    found = [_Way(MmaCut, TENSOR_TILES, TENSOR_SPEED)]
    if kernel.warpgroups and kernel.precision == "tf32":
        tiles = tuple(tile for tile in WGMMA_TILES if gemm_wgmma.fits(kernel, product, tile))
        found += [_Way(WgmmaCut, tiles, WGMMA_SPEED)] if tiles else []
    return [*found, simt]


def _chosen(kernel: Kernel, product: Product) -> Cut | ByLibrary:
    """The launch's own schedule, where these units can follow it, else the model's choice."""
    text = kernel.launch.attrs.schedule
    if text is None:
        return _own_choice(kernel, product)
    cut = read_any_schedule(text, _KINDS)
    if isinstance(cut, ByLibrary):
        return cut if library_product(kernel, product) is not None else _own_choice(kernel, product)
    possible = any(isinstance(cut, way.kind) for way in _ways(kernel, product))
    return cut if possible else _own_choice(kernel, product)


def _own_choice(kernel: Kernel, product: Product) -> Cut:
    extents = (product.m, product.n, product.k, product.groups)
    first, *others = _ways(kernel, product)
    chosen, kind = choose(first.tiles, *extents, speed=first.speed), first.kind
    for way in (way for way in others if way.kind is WgmmaCut):
        found = choose(way.tiles, *extents, speed=way.speed)
        if found.cost < CLEARLY * chosen.cost:
            chosen, kind = found, way.kind
    return _cut(kind, chosen)


def _cut(kind: type[Cut], found: Tiling) -> Cut:
    return kind(found.tile.m, found.tile.n, found.parts)


def _tiling(cut: Cut, tiles: Sequence[Tile], product: Product) -> Tiling:
    """The tiles that a schedule names; NetcError where there are none such."""
    match cut:
        case SimtCut(m, n, parts) | MmaCut(m, n, parts) | WgmmaCut(m, n, parts):
            return given(tiles, m, n, parts, product.k)
