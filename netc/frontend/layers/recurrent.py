"""RNN, LSTM and LSTMUnit: nets unrolled over time, one copy of the step's ops a time step.

Inputs are x (T, N, ...), cont (T, N), where 0 begins a new sequence, and perhaps a static input (N, ...)
that every step sees. With ``expose_hidden`` the states before the first step are inputs and those after
the last one are tops, each (1, N, num_output); otherwise they last from run to run, as in the original,
and are zeros at first. T must be a number: there is code for every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netc.frontend.layers.context import LayerContext, Shape, show_shape
from netc.frontend.layers.registry import layer
from netc.ir.core import Value
from netc.ir.dim import Dim, product
from netc.ir.ops.inner_product import InnerProductAttrs
from netc.ir.ops.shape import ConcatAttrs, SliceAttrs

_P = "recurrent_param"
GATES = 4  # in the order of their rows in the weights: input, forget, output, new


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What both recurrent layers start from.

    ``static`` is the index of that bottom, if there is one; ``states`` are (N, num_output), ``carried`` the
    arguments behind them where they last from run to run.
    """

    steps: int
    batch: Dim
    outputs: int
    static: int | None
    states: tuple[Value, ...]
    carried: tuple[Value, ...]


@layer("RNN", bottoms=(2, 4), tops=(1, 2))
def import_rnn(ctx: LayerContext) -> None:
    """``h = tanh(W_hh (cont h') + W_xh x + b_h [+ W_xh_static s])``, ``o = tanh(W_ho h + b_o)``.

    The blobs are W_xh, b_h, [W_xh_static,] W_hh, W_ho, b_o.
    """
    sequence = _sequence(ctx, ("h",))
    size = sequence.outputs
    fed, index = _fed(ctx, sequence, size)
    recur = _weight(ctx, "hidden_weight", (size, size), index)
    out = _weight(ctx, "output_weight", (size, size), index + 1)
    bias = _bias(ctx, "output_bias", size, index + 2)
    (hidden,) = sequence.states
    outputs: list[Value] = []
    for step in range(sequence.steps):
        kept = ctx.emit("math.mul", (hidden, _cont(ctx, sequence, step)), part=f"kept{step}")
        moved = ctx.emit("nn.inner_product", (kept, recur), InnerProductAttrs(), part=f"moved{step}")
        total = ctx.emit("math.add", (moved, _at(ctx, fed, step)), part=f"sum{step}")
        hidden = ctx.emit("math.tanh", (total,), part=f"h{step}")
        y = ctx.emit("nn.inner_product", (hidden, out, bias), InnerProductAttrs(), part=f"linear{step}")
        outputs.append(ctx.emit("math.tanh", (y,), part=f"y{step}"))
    _finish(ctx, sequence, outputs, (hidden,))


@layer("LSTM", bottoms=(2, 5), tops=(1, 3))
def import_lstm(ctx: LayerContext) -> None:
    """Gates ``i, f, o, g = W_hc (cont h') + W_xc x + b_c [+ W_xc_static s]``, then a step of LSTMUnit.

    The blobs are W_xc, b_c, [W_xc_static,] W_hc; their rows hold the gates in the order i, f, o, g.
    """
    sequence = _sequence(ctx, ("h", "c"))
    size = sequence.outputs
    fed, index = _fed(ctx, sequence, GATES * size)
    recur = _weight(ctx, "hidden_weight", (GATES * size, size), index)
    hidden, cell = sequence.states
    outputs: list[Value] = []
    for step in range(sequence.steps):
        cont = _cont(ctx, sequence, step)
        kept = ctx.emit("math.mul", (hidden, cont), part=f"kept{step}")
        moved = ctx.emit("nn.inner_product", (kept, recur), InnerProductAttrs(), part=f"moved{step}")
        gates = ctx.emit("math.add", (moved, _at(ctx, fed, step)), part=f"gates{step}")
        cell, hidden = lstm_unit(ctx, cell, gates, cont, size, str(step))
        outputs.append(hidden)
    _finish(ctx, sequence, outputs, (hidden, cell))


@layer("LSTMUnit", bottoms=(3, 3), tops=(2, 2))
def import_lstm_unit(ctx: LayerContext) -> None:
    """``c = cont s(f) c' + s(i) tanh(g)``, ``h = s(o) tanh(c)`` with the sigmoid s; tops c and h.

    Inputs c' (1, N, D), the gates i, f, o, g (1, N, 4 D) and cont (1, N).
    """
    shape = ctx.shape()
    size = shape[-1] if shape else 0
    if len(shape) != 3 or shape[0] != 1 or not isinstance(size, int):
        raise ctx.error(f"needs a cell of shape (1, N, D), got {show_shape(shape)}", "bottom")
    for index, wanted in ((1, (1, shape[1], GATES * size)), (2, shape[:2])):
        if ctx.shape(index) != wanted:
            got = show_shape(ctx.shape(index))
            raise ctx.error(
                f"expected {show_shape(wanted)} for a cell of {show_shape(shape)}, got {got}", "bottom", index
            )
    cell = ctx.reshape(ctx.bottoms[0], (shape[1], size), part="cell")
    gates = ctx.reshape(ctx.bottoms[1], (shape[1], GATES * size), part="gates")
    cont = ctx.reshape(ctx.bottoms[2], (shape[1], 1), part="cont")
    for top, value in enumerate(lstm_unit(ctx, cell, gates, cont, size, "")):
        ctx.top(top, ctx.reshape(value, shape, top=top))


def lstm_unit(
    ctx: LayerContext, cell: Value, gates: Value, cont: Value, size: int, step: str
) -> tuple[Value, Value]:
    """One step: the new cell and the new hidden state, (N, size)."""
    rows: Dim = gates.type.shape[0]  # type: ignore[union-attr]

    def gate(index: int, name: str) -> Value:
        part = SliceAttrs((0, index * size), (rows, size))
        own = ctx.emit("tensor.slice", (gates,), part, part=f"{name}{step}.in")
        return ctx.emit("math.tanh" if name == "g" else "math.sigmoid", (own,), part=f"{name}{step}")

    take, keep, show, new = (gate(i, n) for i, n in enumerate("ifog"))
    keep = ctx.emit("math.mul", (keep, cont), part=f"keep{step}")
    old = ctx.emit("math.mul", (keep, cell), part=f"old{step}")
    added = ctx.emit("math.mul", (take, new), part=f"new{step}")
    cell = ctx.emit("math.add", (old, added), part=f"c{step}")
    seen = ctx.emit("math.tanh", (cell,), part=f"seen{step}")
    return cell, ctx.emit("math.mul", (show, seen), part=f"h{step}")


def _sequence(ctx: LayerContext, states: Sequence[str]) -> _Sequence:
    param = ctx.param(_P)
    shape, outputs = ctx.shape(), param.integer("num_output")
    if outputs < 1:
        raise ctx.error(f"num_output must be at least 1, got {outputs}", f"{_P}.num_output")
    if len(shape) < 3 or not isinstance(shape[0], int):
        got = show_shape(shape)
        raise ctx.error(
            f"needs an input (T, N, ...) with a fixed number of time steps T, got {got}", "bottom"
        )
    steps, batch = shape[0], shape[1]
    if ctx.shape(1) != (steps, batch):
        wanted = show_shape((steps, batch))
        raise ctx.error(
            f"the second bottom, cont, must be {wanted}, got {show_shape(ctx.shape(1))}", "bottom", 1
        )
    exposed = param.flag("expose_hidden")
    given = len(ctx.bottoms) - 2 - (len(states) if exposed else 0)
    tops = 1 + (len(states) if exposed else 0)
    if given not in (0, 1):
        counts = f"{len(ctx.bottoms) - given} or {len(ctx.bottoms) - given + 1}"
        raise ctx.error(f"needs {counts} bottoms, got {len(ctx.bottoms)}", "bottom")
    if len(ctx.top_names) != tops:
        raise ctx.error(f"needs {tops} top{'s' if tops > 1 else ''}, got {len(ctx.top_names)}", "top")
    if given and ctx.shape(2)[:1] != (batch,):
        got = show_shape(ctx.shape(2))
        raise ctx.error(f"the static input must have {batch} rows, got {got}", "bottom", 2)
    flat, whole = (batch, outputs), (1, batch, outputs)
    first, carried = [], []
    for index, name in enumerate(states):
        if not exposed:
            carried.append(ctx.carried(name, whole))
            first.append(ctx.reshape(carried[index], flat, part=f"{name}.before"))
            continue
        bottom = 2 + given + index
        if ctx.shape(bottom) != whole:
            got = show_shape(ctx.shape(bottom))
            raise ctx.error(f"the state {name} must be {show_shape(whole)}, got {got}", "bottom", bottom)
        first.append(ctx.reshape(ctx.bottoms[bottom], flat, part=f"{name}.before"))
    return _Sequence(steps, batch, outputs, 2 if given else None, tuple(first), tuple(carried))


def _fed(ctx: LayerContext, sequence: _Sequence, rows: int) -> tuple[Value, int]:
    """What the inputs give to every step, (T, N, rows), and the index of the next parameter."""
    steps, batch = sequence.steps, sequence.batch
    own = product(ctx.shape()[2:])
    weight = _weight(ctx, "weight", (rows, own), 0)
    bias = _bias(ctx, "bias", rows, 1)
    x = ctx.reshape(ctx.bottoms[0], (batch * steps, own), part="rows")
    fed = ctx.emit("nn.inner_product", (x, weight, bias), InnerProductAttrs(), part="fed")
    fed = ctx.reshape(fed, (steps, batch, rows), part="fed")
    if sequence.static is None:
        return fed, 2
    size = product(ctx.shape(sequence.static)[1:])
    weight = _weight(ctx, "static_weight", (rows, size), 2)
    static = ctx.reshape(ctx.bottoms[sequence.static], (batch, size), part="static")
    static = ctx.emit("nn.inner_product", (static, weight), InnerProductAttrs(), part="static.fed")
    static = ctx.reshape(static, (1, batch, rows), part="static.fed")
    return ctx.emit("math.add", (fed, static), part="fed"), 3


def _weight(ctx: LayerContext, role: str, shape: Shape, index: int) -> Value:
    return ctx.param_value(role, shape, index, ctx.param(_P).message("weight_filler"))


def _bias(ctx: LayerContext, role: str, size: int, index: int) -> Value:
    return ctx.param_value(role, (size,), index, ctx.param(_P).message("bias_filler"))


def _at(ctx: LayerContext, fed: Value, step: int) -> Value:
    """Row ``step`` of (T, N, rows), as (N, rows)."""
    shape: Shape = fed.type.shape  # type: ignore[union-attr]
    row = ctx.emit("tensor.slice", (fed,), SliceAttrs((step, 0, 0), (1, *shape[1:])), part=f"fed{step}")
    return ctx.reshape(row, shape[1:], part=f"fed{step}")


def _cont(ctx: LayerContext, sequence: _Sequence, step: int) -> Value:
    """Row ``step`` of cont, as (N, 1)."""
    attrs = SliceAttrs((step, 0), (1, sequence.batch))
    row = ctx.emit("tensor.slice", (ctx.bottoms[1],), attrs, part=f"cont{step}")
    return ctx.reshape(row, (sequence.batch, 1), part=f"cont{step}")


def _finish(ctx: LayerContext, sequence: _Sequence, outputs: list[Value], states: Sequence[Value]) -> None:
    """The tops, and what lasts."""
    row = (1, sequence.batch, sequence.outputs)
    rows = [ctx.reshape(y, row, part=f"row{i}") for i, y in enumerate(outputs)]
    ctx.top(0, rows[0] if len(rows) == 1 else ctx.emit("tensor.concat", rows, ConcatAttrs(0)))
    for index, state in enumerate(states):
        if sequence.carried:
            ctx.next_state(sequence.carried[index], ctx.reshape(state, row, part="after"))
        else:
            ctx.top(1 + index, ctx.reshape(state, row, top=1 + index))
