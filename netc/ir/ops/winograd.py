"""Winograd's convolution: windows of stride 1 with fewer products. Weights may be transformed beforehand.

``tile`` outputs in each direction come from ``a = tile + taps - 1`` inputs and ``a * a`` products a channel
instead of ``(taps * tile)**2``: for three taps 2.25 times fewer with a tile of 2, 4 times with 4, 5.06 with
6. Rounding errors grow with ``a``, as the matrices have larger entries: see :mod:`netc.ir.winograd_matrices`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.ir.diagnostics import OpError
from netc.ir.dim import Dim
from netc.ir.layout import Blocked
from netc.ir.opdef import NOT_DIFFERENTIABLE, Array, OpDef, define
from netc.ir.ops.window import Pads, check_at_least, check_one_dtype, check_window_attrs
from netc.ir.types import TensorType
from netc.ir.winograd_matrices import SIZES, Matrix, winograd


@dataclass(frozen=True, slots=True)
class WinogradWeightAttrs:
    """``tile``: outputs of a tile in each direction; ``block`` > 1: the result is blocked {0:block}."""

    tile: int
    block: int = 1


@dataclass(frozen=True, slots=True)
class WinogradConvAttrs:
    """``tile`` as of the weight, ``taps`` of the window in each direction; the rest as of nn.conv."""

    tile: int
    taps: int
    pad: Pads
    group: int = 1


def _check_size(tile: int, taps: int) -> int:
    if (tile, taps) not in SIZES:
        tiles = ", ".join(str(t) for t, r in SIZES if r == taps) or "none"
        raise OpError(f"the tiles for {taps} taps are {tiles}, got {tile}", attr="tile")
    return tile + taps - 1


def _infer_weight(operands: tuple[TensorType, ...], attrs: WinogradWeightAttrs) -> tuple[TensorType, ...]:
    (w,) = operands
    taps = w.shape[2] if w.rank == 4 else None
    if not isinstance(taps, int) or w.shape[3] != taps or w.layout is not None:
        raise OpError(f"a row-major weight of (O, C/group, taps, taps) expected, got {w}")
    extent = _check_size(attrs.tile, taps)
    check_at_least("block", (attrs.block,), 1)
    layout = Blocked(0, attrs.block) if attrs.block > 1 else None
    return (TensorType(w.dtype, (w.shape[0], extent * extent, w.shape[1]), layout),)


def _infer_conv(operands: tuple[TensorType, ...], attrs: WinogradConvAttrs) -> tuple[TensorType, ...]:
    x, u = operands[0], operands[1]
    extent = _check_size(attrs.tile, attrs.taps)
    check_one_dtype(operands)
    check_window_attrs((1, 1), attrs.pad, 2)
    check_at_least("group", (attrs.group,), 1)
    if x.rank != 4 or (x.layout is not None and x.layout.axis != 1):
        raise OpError(f"an input of (N, C, H, W), row-major or blocked by channels, expected, got {x}")
    if is_transformed(u):
        if u.shape[1] != extent * extent:
            raise OpError(f"a weight of (O, {extent * extent}, C/group) expected, got {u}")
    elif u.rank != 4 or u.shape[2:] != (attrs.taps, attrs.taps):
        raise OpError(f"a weight of (O, C/group, {attrs.taps}, {attrs.taps}) expected, got {u}")
    depth = channels_seen(u)
    if depth * attrs.group != x.shape[1]:
        raise OpError(f"the weight takes {depth * attrs.group} input channels, the input has {x.shape[1]}")
    if isinstance(u.shape[0], int) and u.shape[0] % attrs.group:
        raise OpError(f"group {attrs.group} does not divide the {u.shape[0]} output channels", attr="group")
    spatial = [size + sum(pad) - (attrs.taps - 1) for size, pad in zip(x.shape[2:], attrs.pad, strict=True)]
    if any(isinstance(size, int) and size < 1 for size in spatial):
        raise OpError(f"the window does not fit the input {x}", attr="pad")
    if u.layout is not None and u.layout.axis != 0:
        raise OpError(f"a weight that is row-major or blocked on axis 0 expected, got {u}")
    if u.layout is not None and x.layout != Blocked(1, u.layout.size):
        raise OpError(f"an input blocked like the weight {u} expected, got {x}")
    if len(operands) > 2 and operands[2].shape != (u.shape[0],):
        raise OpError(f"a bias of shape [{u.shape[0]}] expected, got {operands[2]}")
    layout = None if u.layout is None else Blocked(1, u.layout.size)
    return (TensorType(x.dtype, (x.shape[0], u.shape[0], *spatial), layout),)


def is_transformed(u: TensorType) -> bool:
    """Whether the weight of an ``nn.winograd_conv`` comes transformed; else the convolution does that."""
    return u.rank == 3


def channels_seen(u: TensorType) -> Dim:
    """The input channels that an output of an ``nn.winograd_conv`` sees."""
    return u.shape[2] if is_transformed(u) else u.shape[1]


def as_array(matrix: Matrix, dtype: np.dtype[np.generic] | type = np.float64) -> Array:
    """The matrix, rounded to a dtype."""
    return np.array([[float(entry) for entry in row] for row in matrix], dtype)


def _weight(operands: tuple[Array, ...], attrs: WinogradWeightAttrs) -> tuple[Array, ...]:
    (w,) = operands
    g = as_array(winograd(attrs.tile, w.shape[-1]).weight)
    # in float64, rounded once; both sides in one product, [a*a, r*r] x [r*r, C] for each output
    taps = w.reshape(*w.shape[:2], -1).astype(np.float64).swapaxes(1, 2)
    return (np.matmul(np.kron(g, g), taps).astype(w.dtype),)


def _conv(operands: tuple[Array, ...], attrs: WinogradConvAttrs) -> tuple[Array, ...]:
    x, u = operands[0], operands[1]
    if u.ndim == 4:
        (u,) = _weight((u,), WinogradWeightAttrs(attrs.tile))
    matrices = winograd(attrs.tile, attrs.taps)
    to_inputs, to_outputs = as_array(matrices.input, x.dtype), as_array(matrices.output, x.dtype)
    n, channels, group = x.shape[0], u.shape[0], attrs.group
    out = [size + sum(pad) - (attrs.taps - 1) for size, pad in zip(x.shape[2:], attrs.pad, strict=True)]
    tiles = [-(-size // attrs.tile) for size in out]
    extra = [t * attrs.tile - size for t, size in zip(tiles, out, strict=True)]
    pads = [(low, high + more) for (low, high), more in zip(attrs.pad, extra, strict=True)]
    padded = np.pad(x, ((0, 0), (0, 0), *pads))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (matrices.extent,) * 2, axis=(2, 3))
    d = windows[:, :, :: attrs.tile, :: attrs.tile]  # [n, c, th, tw, a, a]
    v = np.matmul(np.matmul(to_inputs, d), to_inputs.T)
    v = v.reshape(n, group, -1, tiles[0] * tiles[1], u.shape[1]).transpose(4, 1, 0, 2, 3)
    w = u.swapaxes(0, 1).reshape(u.shape[1], group, 1, channels // group, -1)
    m = np.matmul(w, v).transpose(2, 1, 3, 4, 0)  # [n, g, o, tiles, a * a]
    m = m.reshape(n, channels, *tiles, matrices.extent, matrices.extent)
    y = np.matmul(np.matmul(to_outputs, m), to_outputs.T).swapaxes(3, 4)
    y = y.reshape(n, channels, tiles[0] * attrs.tile, tiles[1] * attrs.tile)[:, :, : out[0], : out[1]]
    if len(operands) > 2:
        y = y + operands[2].reshape(1, -1, 1, 1)
    return (np.ascontiguousarray(y),)


WINOGRAD_WEIGHT = define(
    OpDef(
        "nn.winograd_weight",
        "tensor",
        "u[o,:,c] = G w[o,c] G^T, flattened. w [O,C/group,r,r], u [O,a*a,C/group], a = tile + r - 1.",
        ("w",),
        WinogradWeightAttrs,
        infer=_infer_weight,
        reference=_weight,
        vjp=NOT_DIFFERENTIABLE,
    )
)
WINOGRAD_CONV = define(
    OpDef(
        "nn.winograd_conv",
        "tensor",
        "nn.conv of stride 1 and square windows from a transformed weight: each tile of outputs is "
        "A^T (sum over c of u[o,:,c] * B^T d[c] B) A, d the tile's inputs, plus b[o]. x [N,C,H,W], "
        "u [O,a*a,C/group] or, to be transformed by the convolution, [O,C/group,taps,taps]; b [O]; "
        "out = in + pads - taps + 1.",
        ("x", "u", "b?"),
        WinogradConvAttrs,
        infer=_infer_conv,
        reference=_conv,
        vjp=NOT_DIFFERENTIABLE,
    )
)
