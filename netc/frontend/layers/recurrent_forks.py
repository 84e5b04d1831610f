"""Recurrent layers of text recognisers' forks: Lstm without indicators, and ContinuationIndicator."""

from __future__ import annotations

from netc.frontend.layers.context import LayerContext, Shape, show_shape
from netc.frontend.layers.recurrent import GATES, lstm_unit
from netc.frontend.layers.registry import layer
from netc.ir.core import Value
from netc.ir.ops.inner_product import InnerProductAttrs
from netc.ir.ops.shape import ConcatAttrs, FillAttrs, SliceAttrs
from netc.ir.types import TensorType

_P = "lstm_param"


@layer("Lstm", source="CRNN")
def import_plain_lstm(ctx: LayerContext) -> None:
    """An LSTM whose every run is one sequence: x (T, N, ...) to (T, N, num_output), from states of zeros.

    The blobs are W_xc, W_hc and b_c, with the gates i, f, o, g as LSTM has them.
    """
    param = ctx.param(_P)
    shape, size = ctx.shape(), param.integer("num_output")
    if size < 1:
        got = f"got {size}" if param.has("num_output") else "it is missing"
        raise ctx.error(f"num_output must be at least 1; {got}", f"{_P}.num_output")
    if len(shape) != 3 or not isinstance(shape[0], int):
        got = show_shape(shape)
        raise ctx.error(f"needs an input (T, N, C) with a fixed number of time steps T, got {got}", "bottom")
    steps, batch, own = shape[0], shape[1], shape[2]
    filler = param.message("weight_filler")
    weight = ctx.param_value("weight", (GATES * size, own), 0, filler)
    recur = ctx.param_value("hidden_weight", (GATES * size, size), 1, filler)
    bias = ctx.param_value("bias", (GATES * size,), 2, param.message("bias_filler"))
    rows = ctx.reshape(ctx.bottoms[0], (batch * steps, own), part="rows")
    fed = ctx.emit("nn.inner_product", (rows, weight, bias), InnerProductAttrs(), part="fed")
    fed = ctx.reshape(fed, (steps, batch, GATES * size), part="fed")
    cell = hidden = _filled(ctx, (batch, size), 0.0, "start")
    go_on = _filled(ctx, (batch, 1), 1.0, "cont")
    outputs: list[Value] = []
    for step in range(steps):
        attrs = SliceAttrs((step, 0, 0), (1, batch, GATES * size))
        own_gates = ctx.emit("tensor.slice", (fed,), attrs, part=f"fed{step}")
        own_gates = ctx.reshape(own_gates, (batch, GATES * size), part=f"fed{step}")
        moved = ctx.emit("nn.inner_product", (hidden, recur), InnerProductAttrs(), part=f"moved{step}")
        gates = ctx.emit("math.add", (moved, own_gates), part=f"gates{step}")
        cell, hidden = lstm_unit(ctx, cell, gates, go_on, size, str(step))
        outputs.append(ctx.reshape(hidden, (1, batch, size), part=f"row{step}"))
    ctx.top(0, outputs[0] if steps == 1 else ctx.emit("tensor.concat", outputs, ConcatAttrs(0)))


@layer("ContinuationIndicator", bottoms=(0, 1), source="CRNN")
def import_continuation_indicator(ctx: LayerContext) -> None:
    """What LSTM takes as cont for one sequence a run, (time_step, batch_size): 0 in the first row, else 1."""
    path = "continuation_indicator_param"
    param = ctx.param(path)
    steps, batch = param.integer("time_step"), param.integer("batch_size")
    if ctx.bottoms:
        if len(ctx.shape()) < 2 or not isinstance(ctx.shape()[0], int):
            raise ctx.error(f"needs an input (T, N, ...), got {show_shape(ctx.shape())}", "bottom")
        steps, batch = ctx.shape()[:2]  # type: ignore[assignment]
    for field, value in (("time_step", steps), ("batch_size", batch)):
        if isinstance(value, int) and value < 1:
            raise ctx.error(f"{field} must be at least 1, got {value}", f"{path}.{field}")
    rows = [_filled(ctx, (1, batch), 0.0, "first")]
    if steps > 1:
        rows.append(_filled(ctx, (steps - 1, batch), 1.0, "others"))
    ctx.top(0, rows[0] if steps == 1 else ctx.emit("tensor.concat", rows, ConcatAttrs(0)))


def _filled(ctx: LayerContext, shape: Shape, value: float, part: str) -> Value:
    ctx.check_size(shape, f"its {part}")
    return ctx.emit("tensor.fill", (), FillAttrs(TensorType("f32", shape), value), part=part)
