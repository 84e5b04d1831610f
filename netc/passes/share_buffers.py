"""Share buffers: give each allocation an offset in one arena.

Does: an allocation lives from the first to the last launch that touches it or a part of it (views and
reinterpretations included). Allocations whose lives do not meet may lie in the same bytes. Placed greedily,
the largest first (and once more in order of birth; the smaller arena wins), each into the tightest gap
between those it must not meet.

Not placed in the arena: arguments of the function; inputs, params and outputs belong to the caller.

Requires: a buffer module without symbols (``bind_symbols`` first).
Ensures: every ``buffer.alloc`` has an offset, a multiple of 64 bytes; two that are alive at once do not
overlap. ``reuse = false`` lets none overlap at all.
Refuses: symbolic sizes.

Example (``share_buffers()``)::

    module m buffer {
    func @main(%x: buffer f32[32], %y: output buffer f32[32]) -> () {
      %a: buffer f32[32] = buffer.alloc {tensor = <f32[32]>, offset = none}
      buffer.launch %x, %a {writes = 1, kernel = none} (%x.1: f32[32]) { yield %x.1 }
      %b: buffer f32[32] = buffer.alloc {tensor = <f32[32]>, offset = none}
      buffer.launch %a, %b {writes = 1, kernel = none} (%a.1: f32[32]) { yield %a.1 }
      %c: buffer f32[32] = buffer.alloc {tensor = <f32[32]>, offset = none}
      buffer.launch %b, %c {writes = 1, kernel = none} (%b.1: f32[32]) { yield %b.1 }
      buffer.launch %c, %y {writes = 1, kernel = none} (%c.1: f32[32]) { yield %c.1 }
    }
    }

becomes::

    module m buffer {
    func @main(%x: buffer f32[32], %y: output buffer f32[32]) -> () {
      %a: buffer f32[32] = buffer.alloc {tensor = <f32[32]>, offset = 0}
      buffer.launch %x, %a {writes = 1, kernel = none} (%x.1: f32[32]) { yield %x.1 }
      %b: buffer f32[32] = buffer.alloc {tensor = <f32[32]>, offset = 128}
      buffer.launch %a, %b {writes = 1, kernel = none} (%a.1: f32[32]) { yield %a.1 }
      %c: buffer f32[32] = buffer.alloc {tensor = <f32[32]>, offset = 0}
      buffer.launch %b, %c {writes = 1, kernel = none} (%b.1: f32[32]) { yield %b.1 }
      buffer.launch %c, %y {writes = 1, kernel = none} (%c.1: f32[32]) { yield %c.1 }
    }
    }
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netc.ir.arena import LiveInterval, aligned, live_intervals
from netc.ir.core import Func, Module


def share_buffers(module: Module, *, reuse: bool = True) -> Module:
    """The module with an offset for every allocation."""
    return replace(module, funcs=tuple(_place_func(f, reuse) for f in module.funcs))


def _place_func(func: Func, reuse: bool) -> Func:
    intervals = live_intervals(func)
    if reuse:
        by_size = _pack(sorted(intervals, key=lambda i: (-i.nbytes, i.first, i.name)))
        by_birth = _pack(sorted(intervals, key=lambda i: (i.first, -i.nbytes, i.name)))
        offsets = min(by_size, by_birth, key=lambda placed: _end(intervals, placed))
    else:
        offsets = _stack(intervals)
    ops = tuple(
        replace(op, attrs=replace(op.attrs, offset=offsets.get(op.result.name, 0)))
        if op.name == "buffer.alloc"
        else op
        for op in func.ops
    )
    return replace(func, ops=ops)


def _pack(intervals: Sequence[LiveInterval]) -> dict[str, int]:
    placed: list[tuple[LiveInterval, int]] = []
    for interval in intervals:
        taken = sorted((o, o + aligned(i.nbytes)) for i, o in placed if i.meets(interval))
        placed.append((interval, _best_fit(taken, aligned(interval.nbytes))))
    return {interval.name: offset for interval, offset in placed}


def _best_fit(taken: list[tuple[int, int]], nbytes: int) -> int:
    """The start of the tightest gap between taken ranges that holds ``nbytes``; their end if none does."""
    best: tuple[int, int] | None = None  # (gap, offset)
    end = 0
    for start, stop in taken:
        gap = start - end
        if gap >= nbytes and (best is None or gap < best[0]):
            best = (gap, end)
        end = max(end, stop)
    return end if best is None else best[1]


def _stack(intervals: Sequence[LiveInterval]) -> dict[str, int]:
    offsets: dict[str, int] = {}
    at = 0
    for interval in intervals:
        offsets[interval.name] = at
        at += aligned(interval.nbytes)
    return offsets


def _end(intervals: Sequence[LiveInterval], offsets: dict[str, int]) -> int:
    return max((offsets[i.name] + i.nbytes for i in intervals), default=0)
