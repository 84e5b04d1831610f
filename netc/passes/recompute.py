"""Recompute activations in the backward pass instead of keeping them (checkpointing).

Does: cuts the forward ops of ``@main`` into ``segments`` runs that make about equal amounts of activations,
at places where few bytes are alive. What a run makes for the backward pass alone is computed a second time,
from what is kept, in front of the first op that reads it there; only values that later runs read are kept.
The last run is left alone: its backward follows at once.

Requires: a differentiated tensor module after cse, which would undo it; ``forward`` names the results of the
forward pass.
Ensures: the same results to the bit; ``segments = 1`` changes nothing.
Refuses: nothing. A run without anything to save is left alone.

Example (``recompute(forward=["y"], segments=2)``)::

    module m tensor {
    func @main(%x: f32[8], %g: f32[8]) -> (y = %y, gx = %ga) {
      %a: f32[8] = math.exp %x
      %b: f32[8] = math.tanh %a
      %c: f32[8] = math.exp %b
      %y: f32[8] = math.tanh %c
      %gc: f32[8] = math.mul %g, %y
      %gb: f32[8] = math.mul %gc, %c
      %ga: f32[8] = math.mul %gb, %a
    }
    }

becomes::

    module m tensor {
    func @main(%x: f32[8], %g: f32[8]) -> (y = %y, gx = %ga) {
      %a: f32[8] = math.exp %x
      %b: f32[8] = math.tanh %a
      %c: f32[8] = math.exp %b
      %y: f32[8] = math.tanh %c
      %gc: f32[8] = math.mul %g, %y
      %gb: f32[8] = math.mul %gc, %c
      %a2: f32[8] = math.exp %x
      %ga: f32[8] = math.mul %gb, %a2
    }
    }
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from netc.ir.core import Func, Module, Op, Value, fresh_name, walk
from netc.ir.opdef import opdef
from netc.ir.types import DTYPE_BYTES, TensorType

_SPAN = 0.25  # how far from even a cut may lie, as a part of a run


def recompute(module: Module, *, forward: Collection[str], segments: int) -> Module:
    """The module that keeps activations at the ends of ``segments`` runs of its forward pass."""
    func = module.func("main")
    results = zip(func.result_names, func.results, strict=True)
    ahead = _ancestors(func.ops, {value.name for name, value in results if name in forward})
    within = {id(op) for op in ahead}
    late = [op for op in func.ops if id(op) not in within]
    taken = {v.name for op in walk(func.ops) for v in (*op.operands, *op.results)}
    plans = [_plan(run, ahead, late, func, taken) for run in _runs(ahead, segments)[:-1]]
    return module.with_func(_recomputed(func, within, [plan for plan in plans if plan.clones]))


# ---- where to cut


def _runs(ops: Sequence[Op], segments: int) -> list[Sequence[Op]]:
    """The ops in runs of about equal bytes."""
    sums = _running_sums([sum(map(_bytes, op.results)) for op in ops])
    alive = _alive_behind(ops)
    share = sums[-1] / segments if sums else 0.0
    cuts = [0]
    for number in range(1, segments):
        wanted = number * share
        near = [i for i, made in enumerate(sums) if abs(made - wanted) <= _SPAN * share]
        cut = min(near, key=lambda i: (alive[i], abs(sums[i] - wanted)), default=-1) + 1
        if cuts[-1] < cut < len(ops):
            cuts.append(cut)
    return [ops[a:b] for a, b in zip(cuts, [*cuts[1:], len(ops)], strict=True)]


def _running_sums(values: Sequence[int]) -> list[int]:
    return list(itertools.accumulate(values))


def _alive_behind(ops: Sequence[Op]) -> list[int]:
    """For each op: the bytes made up to it that later ops among these read."""
    last = {v.name: i for i, op in enumerate(ops) for v in op.operands}
    changes = [0] * (len(ops) + 1)
    for i, op in enumerate(ops):
        for result in op.results:
            changes[i] += _bytes(result)
            changes[max(i, last.get(result.name, i))] -= _bytes(result)
    return _running_sums(changes)


def _bytes(value: Value) -> int:
    """The size of a value; symbolic extents, which all values have in common, count as 1."""
    assert isinstance(value.type, TensorType)
    extents = (d if isinstance(d, int) else 1 for d in value.type.shape)
    return math.prod(extents) * DTYPE_BYTES[value.type.dtype]


# ---- what to compute again


@dataclass(frozen=True, slots=True)
class _Plan:
    """Ops to run in front of the first reader of what they make, and old value name -> new value."""

    clones: tuple[Op, ...]
    renamed: Mapping[str, Value]


def _plan(run: Sequence[Op], ahead: Sequence[Op], late: Sequence[Op], func: Func, taken: set[str]) -> _Plan:
    inside = {id(op) for op in run}
    made = {r.name for op in run for r in op.results}
    kept = {v.name for op in ahead if id(op) not in inside for v in op.operands}
    kept |= {v.name for v in func.results}
    kept |= {r.name for op in run if opdef(op.name).acts_once for r in op.results}
    again = {v.name for op in late for v in op.operands if v.name in made} - kept
    renamed: dict[str, Value] = {}
    clones: list[Op] = []
    for op in _ancestors(run, again, stop=kept):
        operands = tuple(renamed.get(v.name, v) for v in op.operands)
        results = tuple(Value(fresh_name(r.name, taken), r.type) for r in op.results)
        renamed.update(
            {r.name: new for r, new in zip(op.results, results, strict=True) if r.name not in kept}
        )
        clones.append(replace(op, operands=operands, results=results))
    return _Plan(tuple(clones), {name: new for name, new in renamed.items() if name in again})


def _ancestors(ops: Sequence[Op], wanted: Collection[str], stop: Collection[str] = ()) -> list[Op]:
    """The ops that make the wanted values, in order, without those that only make values to ``stop`` at."""
    needed = set(wanted)
    found: list[Op] = []
    for op in reversed(ops):
        if any(r.name in needed for r in op.results):
            found.append(op)
            needed.update(v.name for v in op.operands if v.name not in stop)
    return found[::-1]


def _recomputed(func: Func, ahead: Collection[int], plans: Sequence[_Plan]) -> Func:
    waiting = list(plans)
    renamed: dict[str, Value] = {}
    ops: list[Op] = []
    for op in func.ops:
        if id(op) in ahead:
            ops.append(op)
            continue
        for plan in [p for p in waiting if any(v.name in p.renamed for v in op.operands)]:
            waiting.remove(plan)
            ops += plan.clones
            renamed.update(plan.renamed)
        ops.append(replace(op, operands=tuple(renamed.get(v.name, v) for v in op.operands)))
    return replace(func, ops=tuple(ops))
