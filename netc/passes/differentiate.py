"""Differentiate: reverse-mode gradients on the tensor level.

Does: appends to ``@main`` the ops that compute gradients of a weighted sum of values (``seeds``) with respect
to others (``wrt``), from each op's own rule (:mod:`netc.ir.gradients`), last op first.

1.  Only ops on a way from a ``wrt`` value to a seed are differentiated; a frozen trunk has no backward.
2.  A value that is used several times gets the sum of its gradients.
3.  An op whose rule reads more than the op computes (which element of a window was the maximum) is replaced
    by its recorded form, see ``OpDef.recorded``.
4.  Nothing passes through a ``math.stop_gradient``; it stays, and is eliminated later.

A seed with a number is a loss with that weight; with None its gradient is an input, ``NAME.gradient``. The
gradient of the value ``v`` is the result ``v.gradient``; zeros where nothing reaches it. ``optional`` values
have a gradient only where one reaches them: labels, say, have none.

Requires: a tensor module, row-major all over; seeds and wrt are values of ``@main``.
Ensures: the results that were there are computed as before, and their ops come first.
Refuses: an op without a rule, or that is not differentiable, on the way from a value that is not optional.

Example (``differentiate(seeds={"y": None}, wrt=["w"])``)::

    module m tensor {
    func @main(%x: f32[N,8], %w: param f32[1,8]) -> (y = %y) {
      %p: f32[N,8] = math.mul %x, %w
      %y: f32[N,8] = math.tanh %p
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[N,8], %w: param f32[1,8], %y.gradient: f32[N,8])
        -> (y = %y, w.gradient = %w.gradient.1) {
      %p: f32[N,8] = math.mul %x, %w
      %y: f32[N,8] = math.tanh %p
      %p.gradient: f32[N,8] = math.mul %y, %y
      %p.gradient.1: f32[N,8] = math.affine %p.gradient {scale = -1.0, shift = 1.0}
      %p.gradient.2: f32[N,8] = math.mul %y.gradient, %p.gradient.1
      %w.gradient: f32[N,8] = math.mul %p.gradient.2, %x
      %w.gradient.1: f32[1,8] = tensor.reduce %w.gradient {kind = sum, axes = [0]}
    }
    }
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import netc.ir.gradients  # noqa: F401  # fills the rules
from netc.ir.builder import infer_types
from netc.ir.core import Func, Module, Op, Role, Value, fresh_name
from netc.ir.diagnostics import NetcError, OpError
from netc.ir.gradients.pullback import Pullback, tensor_type
from netc.ir.opdef import NOT_DIFFERENTIABLE, NoAttrs, opdef
from netc.ir.ops.shape import FillAttrs
from netc.ir.rewrite import Rewriter

STOP = "math.stop_gradient"
GRADIENT = ".gradient"


def gradient_name(value: str) -> str:
    """The name of the result, or of the input, that is the gradient of a value."""
    return value + GRADIENT


def differentiate(
    module: Module,
    *,
    seeds: Mapping[str, float | None],
    wrt: Sequence[str],
    optional: Sequence[str] = (),
) -> Module:
    """The module with gradients; ``seeds``, ``wrt`` and ``optional`` name values of ``@main``."""
    return module.with_func(_Differentiator(module.func("main"), seeds, wrt, optional).run())


class _Differentiator:
    """``gradients`` maps values of the new function to the sum of the gradients that reached them so far."""

    def __init__(
        self,
        func: Func,
        seeds: Mapping[str, float | None],
        wrt: Sequence[str],
        optional: Sequence[str],
    ) -> None:
        self.func = func
        self.seeds = seeds
        self.wrt = tuple(wrt)
        self.optional = tuple(optional)
        self.values = {v.name: v for v in (*func.args, *(r for op in func.ops for r in op.results))}
        for name in (*seeds, *wrt, *optional):
            if name not in self.values:
                raise NetcError(f"the function '{func.name}' has no value %{name} to differentiate by")
        self.required = _depending_on(func.ops, wrt)
        self.active = self.required | _depending_on(func.ops, optional)
        self.rewriter = Rewriter(func)
        self.gradients: dict[str, Value] = {}
        self.inputs: list[Value] = []

    def run(self) -> Func:
        """The function with its gradients."""
        forward = self._record()
        last = len(self.rewriter.ops)
        for name, weight in self.seeds.items():
            if name in self.active:
                self._accumulate(self.values[name], self._seed(self.values[name], weight))
        for op in reversed(forward):
            self._pull_back(op)
        results = {gradient_name(n): self._gradient_result(self.values[n]) for n in self.wrt}
        reached = (name for name in self.optional if name in self.gradients)
        results.update({gradient_name(name): self.gradients[name] for name in reached})
        needed = {v.name for v in results.values()}
        ops = (*self.rewriter.ops[:last], *_needed(self.rewriter.ops[last:], needed))
        seeded: list[Role] = ["input"] * len(self.inputs)
        return replace(
            self.func,
            args=(*self.func.args, *self.inputs),
            roles=(*self.func.roles, *seeded),
            ops=ops,
            results=(*self.func.results, *results.values()),
            result_names=(*self.func.result_names, *results),
        )

    # ---- forward

    def _record(self) -> list[Op]:
        """Copy the ops, those that need it in their recorded form; the ones to differentiate."""
        reached = _leading_to(self.func.ops, [n for n in self.seeds if n in self.active], self.active)
        differentiated: list[Op] = []
        for op in self.func.ops:
            passes_on = any(v.name in self.active for v in op.operands)
            if passes_on and any(r.name in reached for r in op.results):
                op = self._recorded(op)
                differentiated.append(op)
            self.rewriter.append(op)
        return differentiated

    def _recorded(self, op: Op) -> Op:
        rule = opdef(op.name).recorded
        form = rule(op.attrs) if rule is not None else None
        if form is None:
            return op
        name, attrs = form
        types = infer_types(name, op.operands, attrs)
        more = (
            Value(fresh_name(f"{op.result.name}.record", self.rewriter.taken), t)
            for t in types[len(op.results) :]
        )
        return replace(op, name=name, attrs=attrs, results=(*op.results, *more))

    # ---- backward

    def _seed(self, value: Value, weight: float | None) -> Value:
        if weight is not None:
            fill = FillAttrs(tensor_type(value), weight)
            return self.rewriter.add1("tensor.fill", (), fill, hint=gradient_name(value.name))
        seed = Value(fresh_name(gradient_name(value.name), self.rewriter.taken), value.type)
        self.inputs.append(seed)
        return seed

    def _accumulate(self, value: Value, gradient: Value) -> None:
        name = value.name
        known = self.gradients.get(name)
        if known is not None:
            gradient = self.rewriter.add1("math.add", (known, gradient), hint=gradient_name(name))
        self.gradients[name] = gradient

    def _pull_back(self, op: Op) -> None:
        gradients = tuple(self.gradients.get(r.name) for r in op.results)
        wanted = tuple(v.name in self.active for v in op.operands)
        required = tuple(v.name in self.required for v in op.operands)
        if all(g is None for g in gradients):
            return
        rule = opdef(op.name).vjp
        if rule is None or not callable(rule):
            if not any(required):
                return
            raise NetcError(
                f"{op.name} has no gradient"
                if rule is NOT_DIFFERENTIABLE
                else f"{op.name}: no gradient rule",
                location=op.location,
                remedy="training cannot pass through this layer: give what lies before it lr_mult 0, or set "
                "propagate_down: false",
            )

        def emit(name: str, operands: Sequence[Value], attrs: Any) -> tuple[Value, ...]:
            hint = gradient_name(next(v.name for v, w in zip(op.operands, wanted, strict=True) if w))
            attrs = NoAttrs() if attrs is None else attrs
            return self.rewriter.add(name, operands, attrs, hint=hint, location=op.location)

        try:
            found = rule(Pullback(op, gradients, wanted, required, emit))
        except OpError as error:
            error.at(op.location)
            raise
        for operand, gradient, want in zip(op.operands, found, wanted, strict=True):
            if gradient is not None and want:
                assert gradient.type == operand.type, f"{op.name}: {gradient.type} for {operand.type}"
                self._accumulate(operand, gradient)

    def _gradient_result(self, value: Value) -> Value:
        known = self.gradients.get(value.name)
        if known is not None:
            return known
        fill = FillAttrs(tensor_type(value), 0.0)
        return self.rewriter.add1("tensor.fill", (), fill, hint=gradient_name(value.name))


def _depending_on(ops: Iterable[Op], sources: Iterable[str]) -> set[str]:
    """The names of the sources and of all values that change with them."""
    found = set(sources)
    for op in ops:
        if op.name != STOP and any(v.name in found for v in op.operands):
            found.update(r.name for r in op.results)
    return found


def _leading_to(ops: Sequence[Op], targets: Iterable[str], active: set[str]) -> set[str]:
    """The names of the active values that the targets depend on, the targets included."""
    found = set(targets)
    for op in reversed(ops):
        if any(r.name in found for r in op.results):
            found.update(v.name for v in op.operands if v.name in active)
    return found


def _needed(ops: Sequence[Op], wanted: set[str]) -> tuple[Op, ...]:
    """The ops that the wanted values depend on."""
    kept: list[Op] = []
    for op in reversed(ops):
        if any(r.name in wanted for r in op.results):
            kept.append(op)
            wanted.update(v.name for v in op.operands)
    return tuple(reversed(kept))
