"""Matrix products: by which units, in which tiles and parts of k; as the model or the launch chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower import gemm, gemm_tensor, gemm_wgmma, gemm_wgmma_pairs
from netc.backends.cuda.lower.library_product import library_product
from netc.backends.cuda.lower.product import Product
from netc.backends.cuda.lower.results import emit_join
from netc.backends.cuda.lower.tiling import (
    MOST_PARTS,
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
MOST_TILES = 3  # of a family, that are measured


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
_Emit = Callable[[Kernel, Op, Sequence[Op], Product, Tiling], None]
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
        emit_join(kernel, anchor, tail, product, 1)
        return
    for way in _ways(kernel, product):
        if isinstance(cut, way.kind):
            _emit(kernel, way.kind)(kernel, anchor, tail, product, _tiling(cut, way.tiles, product))
            return


def lower_kept(kernel: Kernel, anchor: Op, product: Product) -> None:
    """Emit the function of a product whose sums stay in scratch memory, k in one part."""
    way = _ways(kernel, product)[0]
    extents = (product.m, product.n, product.k, product.groups)
    tiling = choose(way.tiles, *extents, speed=way.speed, parts=1)
    _emit(kernel, way.kind)(kernel, anchor, (), product, tiling)


def _emit(kernel: Kernel, kind: type[Cut]) -> _Emit:
    """How the function of a family of tiles is written."""
    by_warpgroups = gemm_wgmma.emit if kernel.precision == "tf32" else gemm_wgmma_pairs.emit
    found: dict[type[Cut], _Emit] = {
        SimtCut: gemm.emit,
        MmaCut: gemm_tensor.emit,
        WgmmaCut: by_warpgroups,
    }
    return found[kind]


def candidates(kernel: Kernel, product: Product) -> list[Schedule]:
    """What a product may be cut into, the model's own choice first: of all units the tiles it likes best.

    The best of each with fewer and with more parts of k, too: what starting a second function and passing
    sums through memory take is what the model knows least about.
    """
    extents = (product.m, product.n, product.k, product.groups)
    found: dict[Cut, None] = {_own_choice(kernel, product): None}
    for way in _ways(kernel, product):
        tilings = [choose((tile,), *extents, speed=way.speed) for tile in way.tiles]
        tilings.sort(key=lambda tiling: tiling.cost)
        best = tilings[0]
        for parts in (best.parts // 2, 1, best.parts * 2):
            if best.parts > 1 and 1 <= parts <= MOST_PARTS:
                tilings.append(choose((best.tile,), *extents, speed=way.speed, parts=parts))
        kept = tilings[:MOST_TILES] + tilings[len(way.tiles) :]
        found.update(dict.fromkeys(_cut(way.kind, tiling) for tiling in kept))
    plain: list[Schedule] = [*found]
    return [*plain, ByLibrary(1)] if library_product(kernel, product) is not None else plain


def _ways(kernel: Kernel, product: Product) -> list[_Way]:
    """The units that compute at least in the kernel's precision; first those of the model's choice."""
    simt = _Way(SimtCut, SIMT_TILES, 1.0)
    if kernel.precision == "fp32" or not gemm_tensor.pays(product):
        return [simt]
    found = [_Way(MmaCut, TENSOR_TILES, TENSOR_SPEED)]
    if kernel.warpgroups:
        fits = gemm_wgmma.fits if kernel.precision == "tf32" else gemm_wgmma_pairs.fits
        tiles = tuple(tile for tile in WGMMA_TILES if fits(kernel, product, tile))
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
