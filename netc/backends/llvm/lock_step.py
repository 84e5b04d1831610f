"""The LLVM IR that runs a program's steps on several threads in lock step.

The threads share a sync block (`sync_block`) and meet at barriers (`barrier`).

Parking: a worker sets its flag, then looks at the epoch once more; the publisher advances the epoch, then
clears every flag. Both are sequentially consistent, so either the worker sees the new epoch or the publisher
sees the flag. Whoever swaps the 1 out of the flag owns the wake-up, so each lock is released exactly once
for each time that it is waited for.

While steps run, every thread flushes subnormals to zero and rounds to nearest, whatever the caller's
mode: kernels are not slowed down by subnormals, and results do not depend on which thread computes them.
"""

from __future__ import annotations

from netc.backends.llvm.barrier import BARRIER_TEXT
from netc.backends.llvm.caller_core import CALLER_CORE_TEXT, MASK_BYTES
from netc.backends.llvm.sync_block import BUSY, CONFIG, EPOCH, JOB, LINE_WORDS, WORKER

STEP_WORDS = 4  # kernel address, slots address, flags, nothing
NO_BARRIER_AFTER = 1
SERIAL = 2

RUN, WORK, STOP, TICK, RALLY = "netc_run", "netc_work", "netc_stop", "netc_tick", "netc_rally"

# A clock that does not advance must not keep a worker spinning for ever.
MAX_IDLE_SPINS = 1 << 16
IDLE_SPINS_PER_YIELD = 1 << 10


def runtime_text(triple: str) -> str:
    """The module's text for a machine: `RUN`, `WORK`, `STOP`, `TICK` and `RALLY`.

    - ``i64 netc_run(sync, steps, i64 n, clock, i64 nth)``: run n steps as thread 0; ``sync`` is not used
      where nth is 1. ``clock`` is null or takes n + 1 ticks: the start, and the end of each step. 1 where
      nothing was run, as the group is busy or too few cores are free, else 0.
    - ``void netc_work(sync, i64 tid)``: be the worker ``tid`` until stopped.
    - ``void netc_stop(sync)``: make all workers return.
    - ``i64 netc_tick()``: the clock.
    - ``void netc_rally(slots, i64 tid, i64 nth)``: a kernel that does nothing.
    """
    arch = triple.partition("-")[0]
    machine = {"x86_64": _X86, "amd64": _X86, "aarch64": _ARM, "arm64": _ARM}.get(arch, _OTHER)
    return BARRIER_TEXT + CALLER_CORE_TEXT + _PORTABLE + machine


_X86 = """
declare i64 @llvm.readcyclecounter()
declare void @llvm.x86.sse2.pause()
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)

define i64 @netc_tick() {
  %t = call i64 @llvm.readcyclecounter()
  ret i64 %t
}
define internal void @pause() alwaysinline {
  call void @llvm.x86.sse2.pause()
  ret void
}
define internal i64 @enter_float_mode() {
  %p = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %p)
  %old = load i32, ptr %p
  store i32 40896, ptr %p               ; 0x9FC0: flush to zero, denormals are zero, all exceptions masked
  call void @llvm.x86.sse.ldmxcsr(ptr %p)
  %r = zext i32 %old to i64
  ret i64 %r
}
define internal void @leave_float_mode(i64 %old) {
  %p = alloca i32
  %v = trunc i64 %old to i32
  store i32 %v, ptr %p
  call void @llvm.x86.sse.ldmxcsr(ptr %p)
  ret void
}
"""

# the generic timer: the cycle counter is not for user programs there
_ARM = """
!0 = !{!"CNTVCT_EL0"}
declare void @llvm.aarch64.hint(i32)
declare i64 @llvm.read_volatile_register.i64(metadata)
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)

define i64 @netc_tick() {
  %t = call i64 @llvm.read_volatile_register.i64(metadata !0)
  ret i64 %t
}
define internal void @pause() alwaysinline {
  call void @llvm.aarch64.hint(i32 1)
  ret void
}
define internal i64 @enter_float_mode() {
  %old = call i64 @llvm.aarch64.get.fpcr()
  call void @llvm.aarch64.set.fpcr(i64 16777216)        ; bit 24: flush to zero
  ret i64 %old
}
define internal void @leave_float_mode(i64 %old) {
  call void @llvm.aarch64.set.fpcr(i64 %old)
  ret void
}
"""

_OTHER = """
define i64 @netc_tick() {
  ret i64 0
}
define internal void @pause() {
  ret void
}
define internal i64 @enter_float_mode() {
  ret i64 0
}
define internal void @leave_float_mode(i64 %old) {
  ret void
}
"""

_PORTABLE = f"""
define internal void @run_steps(ptr %steps, i64 %n, i64 %tid, i64 %nth, ptr %sync, ptr %clock) {{
entry:
  %mode = call i64 @enter_float_mode()
  %many = icmp ugt i64 %nth, 1
  %first = icmp eq i64 %tid, 0
  %clocked = icmp ne ptr %clock, null
  %timing = and i1 %first, %clocked
  br i1 %timing, label %start, label %loop
start:
  %t0 = call i64 @netc_tick()
  store i64 %t0, ptr %clock
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ 0, %start ], [ %i1, %next ]
  %more = icmp ult i64 %i, %n
  br i1 %more, label %step, label %out
step:
  %i1 = add i64 %i, 1
  %at = mul i64 %i, {STEP_WORDS}
  %step.p = getelementptr i64, ptr %steps, i64 %at
  %kernel = load ptr, ptr %step.p
  %slots.p = getelementptr i64, ptr %step.p, i64 1
  %slots = load ptr, ptr %slots.p
  %flags.p = getelementptr i64, ptr %step.p, i64 2
  %flags = load i64, ptr %flags.p
  %serial.bit = and i64 %flags, {SERIAL}
  %serial = icmp ne i64 %serial.bit, 0
  br i1 %serial, label %alone, label %together
together:
  call void %kernel(ptr %slots, i64 %tid, i64 %nth)
  br label %after
alone:
  br i1 %first, label %alone.run, label %after
alone.run:
  call void %kernel(ptr %slots, i64 0, i64 1)
  br label %after
after:
  br i1 %many, label %sync.step, label %time
sync.step:
  %open.bit = and i64 %flags, {NO_BARRIER_AFTER}
  %closed = icmp eq i64 %open.bit, 0
  %at.end = icmp eq i64 %i1, %n
  %meet = or i1 %closed, %at.end
  br i1 %meet, label %sync.all, label %time
sync.all:
  call void @barrier(ptr %sync, i64 %tid, i64 %nth)
  br label %time
time:
  br i1 %timing, label %stamp, label %next
stamp:
  %t = call i64 @netc_tick()
  %t.p = getelementptr i64, ptr %clock, i64 %i1
  store i64 %t, ptr %t.p
  br label %next
next:
  br label %loop
out:
  call void @leave_float_mode(i64 %mode)
  ret void
}}

define internal void @publish(ptr %sync, i64 %nth) {{
entry:
  %epoch = getelementptr i64, ptr %sync, i64 {EPOCH}
  %e = atomicrmw add ptr %epoch, i64 1 seq_cst
  %release.p = getelementptr i64, ptr %sync, i64 {CONFIG + 3}
  %release = load ptr, ptr %release.p
  br label %loop
loop:
  %t = phi i64 [ 1, %entry ], [ %t1, %next ]
  %more = icmp ult i64 %t, %nth
  br i1 %more, label %look, label %out
look:
  %line = mul i64 %t, {LINE_WORDS}
  %flag.at = add i64 %line, {WORKER}
  %flag = getelementptr i64, ptr %sync, i64 %flag.at
  %was = atomicrmw xchg ptr %flag, i64 0 seq_cst
  %parked = icmp ne i64 %was, 0
  br i1 %parked, label %wake, label %next
wake:
  %lock.p = getelementptr i64, ptr %flag, i64 1
  %lock = load ptr, ptr %lock.p
  call void %release(ptr %lock)
  br label %next
next:
  %t1 = add i64 %t, 1
  br label %loop
out:
  ret void
}}

define i64 @{RUN}(ptr %sync, ptr %steps, i64 %n, ptr %clock, i64 %nth) {{
  %mask = alloca [{MASK_BYTES} x i8], align 8
  %many = icmp ugt i64 %nth, 1
  br i1 %many, label %look, label %alone
alone:
  call void @run_steps(ptr %steps, i64 %n, i64 0, i64 1, ptr null, ptr %clock)
  ret i64 0
look:
  %busy = getelementptr i64, ptr %sync, i64 {BUSY}
  %claimed = cmpxchg ptr %busy, i64 0, i64 1 acquire monotonic
  %idle = extractvalue {{ i64, i1 }} %claimed, 1
  br i1 %idle, label %count, label %refuse
count:
  %share.p = getelementptr i64, ptr %sync, i64 {CONFIG + 8}
  %share = load i64, ptr %share.p
  %free.p.p = getelementptr i64, ptr %sync, i64 {CONFIG + 9}
  %free.p = load ptr, ptr %free.p.p
  %limited = icmp ne ptr %free.p, null
  br i1 %limited, label %first, label %run
first:
  %free.first = load atomic i64, ptr %free.p monotonic, align 8
  br label %take
take:
  %free = phi i64 [ %free.first, %first ], [ %free.now, %try ]
  %enough = icmp sge i64 %free, %share
  br i1 %enough, label %try, label %leave
leave:
  store atomic i64 0, ptr %busy release, align 8
  br label %refuse
refuse:
  ret i64 1
try:
  %rest = sub i64 %free, %share
  %swapped = cmpxchg weak ptr %free.p, i64 %free, i64 %rest acquire monotonic
  %free.now = extractvalue {{ i64, i1 }} %swapped, 0
  %taken = extractvalue {{ i64, i1 }} %swapped, 1
  br i1 %taken, label %run, label %take
run:
  %bound = call i1 @bind_caller(ptr %sync, ptr %mask)
  %steps.p = getelementptr i64, ptr %sync, i64 {JOB}
  %n.p = getelementptr i64, ptr %sync, i64 {JOB + 1}
  store ptr %steps, ptr %steps.p
  store i64 %n, ptr %n.p
  call void @publish(ptr %sync, i64 %nth)
  call void @run_steps(ptr %steps, i64 %n, i64 0, i64 %nth, ptr %sync, ptr %clock)
  br i1 %bound, label %unbind, label %ran
unbind:
  call void @set_caller_mask(ptr %sync, ptr %mask)
  br label %ran
ran:
  br i1 %limited, label %give, label %out
give:
  %before = atomicrmw add ptr %free.p, i64 %share release
  br label %out
out:
  store atomic i64 0, ptr %busy release, align 8
  ret i64 0
}}

define void @{RALLY}(ptr %slots, i64 %tid, i64 %nth) {{
  ret void
}}

define void @{STOP}(ptr %sync) {{
  %nth.p = getelementptr i64, ptr %sync, i64 {CONFIG}
  %nth = load i64, ptr %nth.p
  %stop.p = getelementptr i64, ptr %sync, i64 {JOB + 3}
  store atomic i64 1, ptr %stop.p seq_cst, align 8
  call void @publish(ptr %sync, i64 %nth)
  ret void
}}

define void @{WORK}(ptr %sync, i64 %tid) {{
entry:
  %epoch = getelementptr i64, ptr %sync, i64 {EPOCH}
  %steps.p = getelementptr i64, ptr %sync, i64 {JOB}
  %n.p = getelementptr i64, ptr %sync, i64 {JOB + 1}
  %stop.p = getelementptr i64, ptr %sync, i64 {JOB + 3}
  %nth.p = getelementptr i64, ptr %sync, i64 {CONFIG}
  %nth = load i64, ptr %nth.p
  %acquire.p = getelementptr i64, ptr %sync, i64 {CONFIG + 2}
  %acquire = load ptr, ptr %acquire.p
  %limit.p = getelementptr i64, ptr %sync, i64 {CONFIG + 4}
  %limit = load i64, ptr %limit.p
  %line = mul i64 %tid, {LINE_WORDS}
  %flag.at = add i64 %line, {WORKER}
  %flag = getelementptr i64, ptr %sync, i64 %flag.at
  %lock.p = getelementptr i64, ptr %flag, i64 1
  %lock = load ptr, ptr %lock.p
  br label %idle
idle:
  %done = phi i64 [ 0, %entry ], [ %new, %work ], [ %done, %sleep ]
  %since = call i64 @netc_tick()
  br label %spin
spin:
  %i = phi i64 [ 0, %idle ], [ %i1, %go.on ]
  %seen = load atomic i64, ptr %epoch acquire, align 8
  %changed = icmp ne i64 %seen, %done
  br i1 %changed, label %job, label %hold
hold:
  call void @pause()
  %i1 = add i64 %i, 1
  %rest = and i64 %i1, {IDLE_SPINS_PER_YIELD - 1}
  %polite = icmp eq i64 %rest, 0
  br i1 %polite, label %yield, label %look
yield:
  call void @yield_core(ptr %sync)
  br label %look
look:
  %now = call i64 @netc_tick()
  %waited = sub i64 %now, %since
  %late = icmp ugt i64 %waited, %limit
  %many = icmp ugt i64 %i1, {MAX_IDLE_SPINS}
  %tired = or i1 %late, %many
  br i1 %tired, label %park, label %go.on
go.on:
  br label %spin
park:
  %p0 = atomicrmw xchg ptr %flag, i64 1 seq_cst
  %again = load atomic i64, ptr %epoch seq_cst, align 8
  %news = icmp ne i64 %again, %done
  br i1 %news, label %unpark, label %sleep
unpark:
  %was = atomicrmw xchg ptr %flag, i64 0 seq_cst
  %mine = icmp ne i64 %was, 0
  br i1 %mine, label %job, label %sleep
sleep:
  %r = call i32 %acquire(ptr %lock, i32 1)
  br label %idle
job:
  %new = phi i64 [ %seen, %spin ], [ %again, %unpark ]
  %stop = load atomic i64, ptr %stop.p seq_cst, align 8
  %stopped = icmp ne i64 %stop, 0
  br i1 %stopped, label %out, label %work
work:
  %steps = load ptr, ptr %steps.p
  %n = load i64, ptr %n.p
  call void @run_steps(ptr %steps, i64 %n, i64 %tid, i64 %nth, ptr %sync, ptr null)
  br label %idle
out:
  ret void
}}
"""
