"""The LLVM IR of the barrier at which the threads of a group meet.

The last thread to arrive opens it. The others spin, as a barrier mostly opens within microseconds. Who has
spun for long assumes that another thread has lost its core to another program, and sleeps until it is woken
(Linux's futex), or offers the core turn by turn where there is no such call. A core that is merely offered
to a busy program comes back a time slice later; a thread that is woken gets one at once.

Whoever had to sleep spins for a short while only at the next barriers, until one opens in that time. It must
not stay so where all threads are awake again and wait for each other's waking up alone: every `PROBE`th
barrier it spins for long.

A sleeper counts itself, then looks at the generation once more; the opener advances the generation, then
looks at the count. Both are sequentially consistent, so either the one stays awake or the other wakes it.
"""

from __future__ import annotations

from netc.backends.llvm.sync_block import ARRIVED, CONFIG, GENERATION, LINE_WORDS, WORKER

SHORT = 4  # halvings of the spins
PROBE = 16

_FUTEX_WAIT, _FUTEX_WAKE = 128, 129  # within one process
_ALL = (1 << 31) - 1

BARRIER_TEXT = f"""
define internal void @yield_core(ptr %sync) {{
  %p = getelementptr i64, ptr %sync, i64 {CONFIG + 1}
  %f = load ptr, ptr %p
  %none = icmp eq ptr %f, null
  br i1 %none, label %out, label %call
call:
  %r = call i32 %f()
  br label %out
out:
  ret void
}}

define internal void @barrier(ptr %sync, i64 %tid, i64 %nth) {{
entry:
  %arrived = getelementptr i64, ptr %sync, i64 {ARRIVED}
  %generation = getelementptr i64, ptr %sync, i64 {GENERATION}
  %sleepers = getelementptr i64, ptr %sync, i64 {GENERATION + 1}
  %old = load atomic i64, ptr %generation monotonic, align 8
  %before = atomicrmw add ptr %arrived, i64 1 acq_rel
  %now = add i64 %before, 1
  %last = icmp eq i64 %now, %nth
  br i1 %last, label %open, label %wait
open:
  store atomic i64 0, ptr %arrived monotonic, align 8
  %next = add i64 %old, 1
  store atomic i64 %next, ptr %generation seq_cst, align 8
  %asleep = load atomic i64, ptr %sleepers seq_cst, align 8
  %none = icmp eq i64 %asleep, 0
  br i1 %none, label %out, label %wake
wake:
  %woken = call i64 @futex(ptr %sync, i32 {_FUTEX_WAKE}, i32 {_ALL})
  br label %out
wait:
  %spins.p = getelementptr i64, ptr %sync, i64 {CONFIG + 5}
  %spins = load i64, ptr %spins.p
  %line = mul i64 %tid, {LINE_WORDS}
  %slept.at = add i64 %line, {WORKER + 2}
  %slept.p = getelementptr i64, ptr %sync, i64 %slept.at
  %slept = load i64, ptr %slept.p
  %tired = icmp ne i64 %slept, 0
  %few = lshr i64 %spins, {SHORT}
  %limit = select i1 %tired, i64 %few, i64 %spins
  br label %spin
spin:
  %i = phi i64 [ 0, %wait ], [ %i1, %hold ]
  %seen = load atomic i64, ptr %generation acquire, align 8
  %opened = icmp ne i64 %seen, %old
  br i1 %opened, label %in.time, label %hold
hold:
  call void @pause()
  %i1 = add i64 %i, 1
  %long = icmp ugt i64 %i1, %limit
  br i1 %long, label %give.up, label %spin
in.time:
  %rested = icmp eq i64 %slept, 0
  br i1 %rested, label %out, label %trust
trust:
  store i64 0, ptr %slept.p
  br label %out
give.up:
  %system.p = getelementptr i64, ptr %sync, i64 {CONFIG + 6}
  %system = load ptr, ptr %system.p
  %sleepless = icmp eq ptr %system, null
  br i1 %sleepless, label %offer, label %lie.down
offer:
  call void @yield_core(ptr %sync)
  %seen.offer = load atomic i64, ptr %generation acquire, align 8
  %opened.offer = icmp ne i64 %seen.offer, %old
  br i1 %opened.offer, label %out, label %offer
lie.down:
  %once.more = add i64 %slept, 1
  %times = and i64 %once.more, {PROBE - 1}
  store i64 %times, ptr %slept.p
  %counted = atomicrmw add ptr %sleepers, i64 1 seq_cst
  br label %look
look:
  %seen.look = load atomic i64, ptr %generation seq_cst, align 8
  %opened.look = icmp ne i64 %seen.look, %old
  br i1 %opened.look, label %get.up, label %sleep
sleep:
  %value = trunc i64 %old to i32
  %result = call i64 @futex(ptr %sync, i32 {_FUTEX_WAIT}, i32 %value)
  br label %look
get.up:
  %left = atomicrmw sub ptr %sleepers, i64 1 seq_cst
  br label %out
out:
  ret void
}}

define internal i64 @futex(ptr %sync, i32 %operation, i32 %value) noinline {{
  %system.p = getelementptr i64, ptr %sync, i64 {CONFIG + 6}
  %system = load ptr, ptr %system.p
  %number.p = getelementptr i64, ptr %sync, i64 {CONFIG + 7}
  %number = load i64, ptr %number.p
  %generation = getelementptr i64, ptr %sync, i64 {GENERATION}
  %r = call i64 (i64, ...) %system(i64 %number, ptr %generation, i32 %operation, i32 %value, ptr null)
  ret i64 %r
}}
"""
