"""Use Winograd's convolution where that is quicker.

Does: a ``conv`` with 3x3 or 5x5 windows of stride 1 becomes a ``winograd_conv`` with the tile that ``choose``
names for it, on weights that a ``winograd_weight`` transforms, or that the convolution itself does where
``keeps_weights`` says so. Where weights change from run to run, and are transformed in each,
``choose_each_run`` is asked instead. The numbers change by rounding errors.

Requires: a tensor module, row-major.
Ensures: convolutions are as they were, or Winograd's.
Refuses: nothing.

Example (``use_winograd(choose=lambda conv: 2)``)::

    module m tensor {
    func @main(%x: f32[1,8,6,6], %w: param f32[8,8,3,3], %b: param f32[8]) -> (y = %y) {
      %y: f32[1,8,6,6] = nn.conv %x, %w, %b {stride = [1, 1], pad = [[1, 1], [1, 1]], dilation = [1, 1]}
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[1,8,6,6], %w: param f32[8,8,3,3], %b: param f32[8]) -> (y = %y) {
      %u: f32[8,16,8] = nn.winograd_weight %w {tile = 2}
      %y: f32[1,8,6,6] = nn.winograd_conv %x, %u, %b {tile = 2, taps = 3, pad = [[1, 1], [1, 1]]}
    }
    }
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from netc.ir.core import Func, Module, Op, Value
from netc.ir.ops.winograd import WinogradConvAttrs, WinogradWeightAttrs
from netc.ir.param_only import param_only
from netc.ir.rewrite import Rewriter, rewrite_func
from netc.ir.types import TensorType
from netc.ir.winograd_matrices import SIZES

ChooseTile = Callable[[Op], int | None]
"""The tile for an ``nn.conv`` of 3x3 or 5x5 windows, stride and dilation 1; None: leave it as it is."""

KeepsWeights = Callable[[Op, int], bool]
"""Whether Winograd's convolution with this tile is to transform the weights of an ``nn.conv`` by itself."""


def use_winograd(
    module: Module,
    *,
    choose: ChooseTile,
    choose_each_run: ChooseTile | None = None,
    keeps_weights: KeepsWeights | None = None,
) -> Module:
    """The module with Winograd's convolution where ``choose`` wants it, or ``choose_each_run`` if given.

    Where ``keeps_weights`` says so, weights that do not change come to the convolution as they are.
    """
    return replace(
        module, funcs=tuple(_rewrite(f, choose, choose_each_run, keeps_weights) for f in module.funcs)
    )


def _rewrite(
    func: Func,
    choose: ChooseTile,
    choose_each_run: ChooseTile | None,
    keeps_weights: KeepsWeights | None,
) -> Func:
    params, weights = param_only(func), param_only(func, states=True)

    def rule(op: Op, rewriter: Rewriter) -> tuple[Value, ...] | None:
        if op.name != "nn.conv" or winograd_taps(op) == 0:
            return None
        weight = op.operands[1].name
        chosen_by = choose if weight in params else choose_each_run if weight in weights else None
        tile = chosen_by(op) if chosen_by is not None else None
        if tile is None:
            return None
        x, w, *bias = op.operands
        taps = winograd_taps(op)
        u = w
        if weight not in params or keeps_weights is None or not keeps_weights(op, tile):
            u = rewriter.add1(
                "nn.winograd_weight",
                (w,),
                WinogradWeightAttrs(tile),
                hint=f"{w.name}.winograd",
                location=op.location,
            )
        attrs = WinogradConvAttrs(tile, taps, op.attrs.pad, op.attrs.group)
        rewriter.append(replace(op, name="nn.winograd_conv", operands=(x, u, *bias), attrs=attrs))
        return op.results

    return rewrite_func(func, (rule,))


def winograd_taps(op: Op) -> int:
    """The taps of a window in each direction; 0 where Winograd's convolution cannot stand for the op."""
    w = op.operands[1].type
    assert isinstance(w, TensorType)
    ones = (1, 1)
    if w.rank != 4 or op.attrs.stride != ones or op.attrs.dilation != ones:
        return 0
    return next((taps for _, taps in SIZES if w.shape[2:] == (taps, taps)), 0)
