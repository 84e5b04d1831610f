"""Update parameters: the rules of Caffe's solvers as ops, which fuse to one sweep a parameter.

Does: takes the result ``NAME.gradient`` of each trained parameter away; instead ``NAME``, a state, gets a
next content, and so does its history, the states ``NAME.history.0`` … . The learning rate is an input,
``solver.learning_rate``: f32[]. In this order, as the original:

1.  clip: all gradients are multiplied by ``clip_gradients / norm`` where their common L2 norm is larger; the
    norm is one more result, ``solver.gradient_norm``: f32[];
2.  normalise: divided by ``iter_size``;
3.  regularise: ``+ decay w`` (L2) or ``+ decay sign(w)`` (L1), decay = ``weight_decay`` times ``decay_mult``;
4.  with g the gradient so far, r the learning rate times ``lr_mult``, mu the momentum, h the history:

    ========  ==========================================================================
    SGD       h = mu h + r g;  w -= h
    Nesterov  h = mu h + r g;  w -= (1 + mu) h - mu h_before
    AdaGrad   h += g^2;  w -= r g / (sqrt(h) + delta)
    RMSProp   h = rms_decay h + (1 - rms_decay) g^2;  w -= r g / (sqrt(h) + delta)
    AdaDelta  h = mu h + (1 - mu) g^2;  u = g sqrt((v + delta) / (h + delta));
              v = mu v + (1 - mu) u^2;  w -= r u
    Adam      m = mu m + (1 - mu) g;  v = mu2 v + (1 - mu2) g^2;
              w -= r c m / (sqrt(v) + delta)
    ========  ==========================================================================

    Adam's correction c = sqrt(1 - mu2^t) / (1 - mu^t) changes with the iteration: the caller makes it part
    of the learning rate.

An update stands behind the last op that reads the parameter, so that its gradient's memory is free again.

Requires: a tensor module with a result ``NAME.gradient`` and a state ``NAME`` for each trained parameter.
Ensures: the other results are as before.
Refuses: a parameter without a gradient.

Example (``update_params(rule=UpdateRule("SGD", momentum=0.9), params=[TrainedParam("w")])``)::

    module m tensor {
    func @main(%x: f32[N,8], %w: state f32[1,8]) -> (y = %y, w.gradient = %g) {
      %y: f32[N,8] = math.mul %x, %w
      %g: f32[1,8] = tensor.reduce %x {kind = sum, axes = [0]}
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[N,8], %w: state f32[1,8], %solver.learning_rate: f32[], %w.history.0: state f32[1,8])
        -> (y = %y, w = %wn, w.history.0 = %h) {
      %y: f32[N,8] = math.mul %x, %w
      %r: f32[1,1] = tensor.reshape %solver.learning_rate {shape = [1, 1]}
      %m: f32[1,8] = math.affine %w.history.0 {scale = 0.9, shift = 0.0}
      %g: f32[1,8] = tensor.reduce %x {kind = sum, axes = [0]}
      %s: f32[1,8] = math.mul %g, %r
      %h: f32[1,8] = math.add %m, %s
      %wn: f32[1,8] = math.sub %w, %h
    }
    }
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from netc.ir.core import Func, Module, Value
from netc.ir.func_edit import FuncEdit
from netc.ir.ops.elementwise import AffineAttrs, ClipAttrs, SqrtAttrs
from netc.ir.ops.reduce import ReduceAttrs
from netc.ir.ops.shape import FillAttrs, ReshapeAttrs
from netc.ir.types import TensorType

SolverKind = Literal["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"]
# no net is expected to have blobs of these names
RATE = "solver.learning_rate"
GRADIENT_NORM = "solver.gradient_norm"
_SMALLEST, _LARGEST = 1.1754943508222875e-38, 3.4028234663852886e38


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """A solver's rule with its numbers, named as in a solver.prototxt; None does not clip."""

    kind: SolverKind
    momentum: float = 0.0
    momentum2: float = 0.999
    delta: float = 1e-8
    rms_decay: float = 0.99
    weight_decay: float = 0.0
    regularization: Literal["L1", "L2"] = "L2"
    clip_gradients: float | None = None
    iter_size: int = 1

    @property
    def histories(self) -> int:
        """How many arrays of history a parameter has."""
        return 2 if self.kind in ("AdaDelta", "Adam") else 1


@dataclass(frozen=True, slots=True)
class TrainedParam:
    """A parameter by the name of its value, with its multipliers."""

    name: str
    lr_mult: float = 1.0
    decay_mult: float = 1.0


def history_name(param: str, index: int) -> str:
    """The name of a state of a parameter's history."""
    return f"{param}.history.{index}"


def step_name(param: str) -> str:
    """The name of the result that tells what a parameter lost."""
    return f"{param}.step"


def update_params(
    module: Module, *, rule: UpdateRule, params: Sequence[TrainedParam], keep_steps: bool = False
) -> Module:
    """The module that changes its parameters; ``keep_steps``: it tells what they lost, as ``NAME.step``."""
    return module.with_func(_update(module.func("main"), rule, params, keep_steps))


def _update(func: Func, rule: UpdateRule, params: Sequence[TrainedParam], keep_steps: bool) -> Func:
    edit = FuncEdit(func)
    weights = {value.name: value for value in func.states}
    gradients = {p.name: edit.take_result(f"{p.name}.gradient") for p in params}
    rate = edit.arg(RATE, TensorType("f32", ()), "input")
    factor = None if rule.clip_gradients is None else _clip_factor(edit, gradients, rule.clip_gradients)
    rates = {m: _scaled(edit, rate, m) for m in dict.fromkeys(p.lr_mult for p in params)}
    for param in params:
        w = weights[param.name]
        sweep = _Sweep(edit, param, w, behind=edit.last_use(w))
        g = gradients[param.name]
        if factor is not None:
            g = sweep.mul(g, sweep.scalar(factor))
        g = sweep.affine(g, 1.0 / rule.iter_size)
        decay = rule.weight_decay * param.decay_mult
        if decay:
            penalised = w if rule.regularization == "L2" else sweep.op("math.sign", w)
            g = sweep.op("math.add", g, sweep.affine(penalised, decay))
        r = sweep.scalar(rates[param.lr_mult])
        history = [edit.state(history_name(param.name, i), w.type) for i in range(rule.histories)]
        step, *changed = _STEPS[rule.kind](sweep, rule, g, r, history)
        edit.result(w.name, sweep.op("math.sub", w, step))
        if keep_steps:
            edit.result(step_name(w.name), step)
        for before, after in zip(history, changed, strict=True):
            edit.result(before.name, after)
    return edit.finish()


def _scaled(edit: FuncEdit, rate: Value, lr_mult: float) -> Value:
    if lr_mult == 1.0:
        return rate
    return edit.add1("math.affine", (rate,), AffineAttrs(lr_mult), hint=f"{RATE}.scaled")


def _clip_factor(edit: FuncEdit, gradients: dict[str, Value], limit: float) -> Value:
    """What all gradients are multiplied by: ``limit`` over their norm, and 1 where that is smaller."""
    total: Value | None = None
    for name, g in gradients.items():
        hint = f"{name}.square"
        square = edit.add1("math.mul", (g, g), hint=hint)
        rank = len(_shape(g))
        if rank:
            square = edit.add1("tensor.reduce", (square,), ReduceAttrs("sum", tuple(range(rank))), hint=hint)
            square = edit.add1("tensor.reshape", (square,), ReshapeAttrs(()), hint=hint)
        total = square if total is None else edit.add1("math.add", (total, square), hint="squares")
    assert total is not None
    norm = edit.add1("math.sqrt", (total,), SqrtAttrs(), hint="norm")
    edit.result(GRADIENT_NORM, norm)
    # a limit of 0 makes zeros of all gradients, zeros too
    divisor = edit.add1("math.clip", (norm,), ClipAttrs(max(limit, _SMALLEST), _LARGEST), hint="divisor")
    numerator = edit.add1("tensor.fill", (), FillAttrs(TensorType("f32", ()), limit), hint="limit")
    return edit.add1("math.div", (numerator, divisor), hint="clip")


class _Sweep:
    """Adds the ops of one parameter's update, behind the old op of index ``behind``."""

    def __init__(self, edit: FuncEdit, param: TrainedParam, w: Value, *, behind: int) -> None:
        self.edit = edit
        self.name = param.name
        self.w = w
        self.behind = behind

    def op(self, name: str, *operands: Value, attrs: Any = None) -> Value:
        """An op whose result is named after the parameter."""
        return self.edit.add1(name, operands, attrs, hint=f"{self.name}.update", behind=self.behind)

    def mul(self, x: Value, y: Value) -> Value:
        """x * y."""
        return self.op("math.mul", x, y)

    def affine(self, x: Value, scale: float, shift: float = 0.0) -> Value:
        """scale * x + shift."""
        if (scale, shift) == (1.0, 0.0):
            return x
        return self.op("math.affine", x, attrs=AffineAttrs(scale, shift))

    def mix(self, history: Value, kept: float, new: Value, taken: float) -> Value:
        """kept * history + taken * new."""
        return self.op("math.add", self.affine(history, kept), self.affine(new, taken))

    def scalar(self, value: Value) -> Value:
        """A number that multiplies the parameter's elements."""
        rank = len(_shape(self.w))
        return self.op("tensor.reshape", value, attrs=ReshapeAttrs((1,) * rank)) if rank else value

    def over_root(self, g: Value, squares: Value, delta: float) -> Value:
        """g / (sqrt(squares) + delta)."""
        return self.op(
            "math.div", g, self.affine(self.op("math.sqrt", squares, attrs=SqrtAttrs()), 1.0, delta)
        )


# (sweep, rule, gradient, rate, history) -> what w loses, and the history's next content
_Step = Callable[[_Sweep, UpdateRule, Value, Value, Sequence[Value]], tuple[Value, ...]]


def _sgd(s: _Sweep, rule: UpdateRule, g: Value, r: Value, history: Sequence[Value]) -> tuple[Value, ...]:
    h = s.op("math.add", s.affine(history[0], rule.momentum), s.mul(g, r))
    return h, h


def _nesterov(s: _Sweep, rule: UpdateRule, g: Value, r: Value, history: Sequence[Value]) -> tuple[Value, ...]:
    h, _ = _sgd(s, rule, g, r, history)
    ahead = s.affine(h, 1.0 + rule.momentum)
    return s.op("math.sub", ahead, s.affine(history[0], rule.momentum)), h


def _adagrad(s: _Sweep, rule: UpdateRule, g: Value, r: Value, history: Sequence[Value]) -> tuple[Value, ...]:
    h = s.op("math.add", history[0], s.mul(g, g))
    return s.mul(s.over_root(g, h, rule.delta), r), h


def _rmsprop(s: _Sweep, rule: UpdateRule, g: Value, r: Value, history: Sequence[Value]) -> tuple[Value, ...]:
    h = s.mix(history[0], rule.rms_decay, s.mul(g, g), 1.0 - rule.rms_decay)
    return s.mul(s.over_root(g, h, rule.delta), r), h


def _adadelta(s: _Sweep, rule: UpdateRule, g: Value, r: Value, history: Sequence[Value]) -> tuple[Value, ...]:
    mu, delta = rule.momentum, rule.delta
    h = s.mix(history[0], mu, s.mul(g, g), 1.0 - mu)
    ratio = s.op("math.div", s.affine(history[1], 1.0, delta), s.affine(h, 1.0, delta))
    u = s.mul(g, s.op("math.sqrt", ratio, attrs=SqrtAttrs()))
    return s.mul(u, r), h, s.mix(history[1], mu, s.mul(u, u), 1.0 - mu)


def _adam(s: _Sweep, rule: UpdateRule, g: Value, r: Value, history: Sequence[Value]) -> tuple[Value, ...]:
    m = s.mix(history[0], rule.momentum, g, 1.0 - rule.momentum)
    v = s.mix(history[1], rule.momentum2, s.mul(g, g), 1.0 - rule.momentum2)
    return s.mul(s.over_root(m, v, rule.delta), r), m, v


_STEPS: dict[SolverKind, _Step] = {
    "SGD": _sgd,
    "Nesterov": _nesterov,
    "AdaGrad": _adagrad,
    "RMSProp": _rmsprop,
    "AdaDelta": _adadelta,
    "Adam": _adam,
}


def _shape(value: Value) -> tuple[Any, ...]:
    assert isinstance(value.type, TensorType)
    return value.type.shape
