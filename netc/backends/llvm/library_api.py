"""The LLVM IR of a library's C interface: it lays a net's memory out, runs its steps, and owns its threads.

A net's memory is one block of `LibraryPlan.fixed_bytes` and the threads' scratch behind it; the block begins
with what this module keeps there:

==============  ==========================================================================
`SYNC`          the sync block, see `lock_step`
`LOCKS`         a POSIX semaphore for each thread but the first, on which it parks
`WORKERS`       for each: its ``pthread_t``, the address of the sync block, its number
`THREADS`       the number of threads
`TABLES`        the steps, then the slots of all steps
==============  ==========================================================================

Only the C library is called: memory, and POSIX threads where more than one is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netc.backends.llvm import lock_step, sync_block

MAX_THREADS = 64
ALIGNMENT = 128
OK, BAD_ARGUMENT, NO_MEMORY, NO_THREADS = range(4)

_LOCK_BYTES = 64  # a sem_t has 32 in all C libraries of 64-bit Linux
_WORKER_BYTES = 32
SYNC = 0
LOCKS = 8 * sync_block.sync_words(MAX_THREADS)
WORKERS = LOCKS + _LOCK_BYTES * MAX_THREADS
THREADS = WORKERS + _WORKER_BYTES * MAX_THREADS
TABLES = THREADS + ALIGNMENT

WEIGHTS = 1 << 48
"""A slot of at least this is an address in the weights, from their beginning; a smaller one in the memory."""

# about 80 microseconds of the processor's clock, or of the timer of ARM at 50 MHz
_SPIN_TICKS = {"x86_64": 200_000, "aarch64": 4_000}
_BARRIER_SPINS = 1000


@dataclass(frozen=True)
class LibraryPlan:
    """What the interface knows of a net.

    ``steps`` are kernels with their slots; ``inputs`` and ``outputs`` are offsets in the net's memory, which
    has ``fixed_bytes``, a multiple of `ALIGNMENT`, and then ``scratch_bytes`` for each thread.
    """

    prefix: str
    steps: tuple[tuple[str, tuple[int, ...]], ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    fixed_bytes: int
    scratch_bytes: int

    @property
    def exported(self) -> tuple[str, ...]:
        """The functions of the interface."""
        return tuple(f"{self.prefix}_{name}" for name in ("create", "input", "output", "run", "free"))

    @property
    def weights_symbol(self) -> str:
        """What the weights are called in their object file."""
        return f"{self.prefix}_weights"


def tables_bytes(slots: Iterable[int]) -> int:
    """The size of the tables of steps with so many slots each."""
    return sum(8 * (lock_step.STEP_WORDS + count) for count in slots)


def api_text(plan: LibraryPlan, architecture: str) -> str:
    """The module's text. It calls the kernels and the functions of :func:`lock_step.runtime_text`."""
    steps = TABLES
    slots = TABLES + 8 * lock_step.STEP_WORDS * len(plan.steps)
    firsts: list[int] = []
    words: list[int] = []
    for _, step_words in plan.steps:
        firsts.append(slots + 8 * len(words))
        words += step_words
    kernels = [f'ptr @"{name}"' for name, _ in plan.steps]
    declared = "\n".join(
        f'declare void @"{name}"(ptr, i64, i64)' for name in sorted({name for name, _ in plan.steps})
    )
    p, number = plan.prefix, sync_block.FUTEX_NUMBERS[architecture]
    return f"""
@"{plan.weights_symbol}" = external hidden constant i8
@kernels = internal constant [{len(kernels)} x ptr] [{", ".join(kernels)}]
{_words("firsts", firsts)}
{_words("words", words)}
{_words("inputs", plan.inputs)}
{_words("outputs", plan.outputs)}
{declared}
{_DECLARATIONS}
{_THREADS}

define i32 @"{p}_create"(ptr %result, i32 %threads) {{
entry:
  %no.place = icmp eq ptr %result, null
  br i1 %no.place, label %bad, label %clear
clear:
  store ptr null, ptr %result
  %few = icmp slt i32 %threads, 1
  %many = icmp sgt i32 %threads, {MAX_THREADS}
  %wrong = or i1 %few, %many
  br i1 %wrong, label %bad, label %allocate
bad:
  ret i32 {BAD_ARGUMENT}
allocate:
  %nth = zext i32 %threads to i64
  %scratch = mul i64 %nth, {plan.scratch_bytes}
  %sum = add i64 %scratch, {plan.fixed_bytes + ALIGNMENT - 1}
  %size = and i64 %sum, {-ALIGNMENT}
  %net = call ptr @aligned_alloc(i64 {ALIGNMENT}, i64 %size)
  %none = icmp eq ptr %net, null
  br i1 %none, label %no.memory, label %begin
no.memory:
  ret i32 {NO_MEMORY}
begin:
  %zeroed = call ptr @memset(ptr %net, i32 0, i64 %size)
  %threads.p = getelementptr i8, ptr %net, i64 {THREADS}
  store i64 %nth, ptr %threads.p
  %slots = getelementptr i8, ptr %net, i64 {slots}
  br label %slot
slot:
  %i = phi i64 [ 0, %begin ], [ %i1, %fill ]
  %more = icmp ult i64 %i, {len(words)}
  br i1 %more, label %fill, label %step
fill:
  %word.p = getelementptr i64, ptr @words, i64 %i
  %word = load i64, ptr %word.p
  %of.weights = icmp uge i64 %word, {WEIGHTS}
  %weight.at = sub i64 %word, {WEIGHTS}
  %weight = getelementptr i8, ptr @"{plan.weights_symbol}", i64 %weight.at
  %place = getelementptr i8, ptr %net, i64 %word
  %address = select i1 %of.weights, ptr %weight, ptr %place
  %slot.p = getelementptr ptr, ptr %slots, i64 %i
  store ptr %address, ptr %slot.p
  %i1 = add i64 %i, 1
  br label %slot
step:
  %k = phi i64 [ 0, %slot ], [ %k1, %enter ]
  %left = icmp ult i64 %k, {len(kernels)}
  br i1 %left, label %enter, label %start
enter:
  %kernel.p = getelementptr ptr, ptr @kernels, i64 %k
  %kernel = load ptr, ptr %kernel.p
  %first.p = getelementptr i64, ptr @firsts, i64 %k
  %first = load i64, ptr %first.p
  %its.slots = getelementptr i8, ptr %net, i64 %first
  %row.at = mul i64 %k, {8 * lock_step.STEP_WORDS}
  %rows = getelementptr i8, ptr %net, i64 {steps}
  %row = getelementptr i8, ptr %rows, i64 %row.at
  store ptr %kernel, ptr %row
  %row.slots = getelementptr i64, ptr %row, i64 1
  store ptr %its.slots, ptr %row.slots
  %k1 = add i64 %k, 1
  br label %step
start:
  %started = call i64 @start_threads(ptr %net, i64 %nth, i64 {_SPIN_TICKS[architecture]}, i64 {number})
  %all = icmp eq i64 %started, %nth
  br i1 %all, label %done, label %no.threads
no.threads:
  call void @end_threads(ptr %net, i64 %started)
  call void @free(ptr %net)
  ret i32 {NO_THREADS}
done:
  store ptr %net, ptr %result
  ret i32 {OK}
}}

define void @"{p}_free"(ptr %net) {{
  %none = icmp eq ptr %net, null
  br i1 %none, label %out, label %end
end:
  %threads.p = getelementptr i8, ptr %net, i64 {THREADS}
  %nth = load i64, ptr %threads.p
  call void @end_threads(ptr %net, i64 %nth)
  call void @free(ptr %net)
  br label %out
out:
  ret void
}}

define i32 @"{p}_run"(ptr %net) {{
  %none = icmp eq ptr %net, null
  br i1 %none, label %bad, label %run
bad:
  ret i32 {BAD_ARGUMENT}
run:
  %threads.p = getelementptr i8, ptr %net, i64 {THREADS}
  %nth = load i64, ptr %threads.p
  %steps = getelementptr i8, ptr %net, i64 {steps}
  %sync = getelementptr i8, ptr %net, i64 {SYNC}
  %ran = call i64 @{lock_step.RUN}(ptr %sync, ptr %steps, i64 {len(kernels)}, ptr null, i64 %nth)
  ret i32 {OK}
}}
{_place(p, "input", len(plan.inputs))}
{_place(p, "output", len(plan.outputs))}
"""


def _words(name: str, values: Sequence[int]) -> str:
    """A constant array of 64-bit words."""
    return f"@{name} = internal constant [{len(values)} x i64] [{', '.join(f'i64 {v}' for v in values)}]"


def _place(prefix: str, kind: str, count: int) -> str:
    """The function that gives the address of an input or of an output, or null."""
    return f"""
define ptr @"{prefix}_{kind}"(ptr %net, i32 %index) {{
  %none = icmp eq ptr %net, null
  %beyond = icmp uge i32 %index, {count}
  %wrong = or i1 %none, %beyond
  br i1 %wrong, label %bad, label %good
bad:
  ret ptr null
good:
  %i = zext i32 %index to i64
  %at.p = getelementptr i64, ptr @{kind}s, i64 %i
  %at = load i64, ptr %at.p
  %place = getelementptr i8, ptr %net, i64 %at
  ret ptr %place
}}"""


_DECLARATIONS = f"""
declare ptr @aligned_alloc(i64, i64)
declare void @free(ptr)
declare ptr @memset(ptr, i32, i64)
declare i32 @sched_yield()
declare i64 @syscall(i64, ...)
declare i32 @sem_init(ptr, i32, i32)
declare i32 @sem_wait(ptr)
declare i32 @sem_post(ptr)
declare i32 @sem_destroy(ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i64 @{lock_step.RUN}(ptr, ptr, i64, ptr, i64)
declare void @{lock_step.WORK}(ptr, i64)
declare void @{lock_step.STOP}(ptr)
"""

_CONFIG, _WORKER, _LINE = sync_block.CONFIG, sync_block.WORKER, sync_block.LINE_WORDS

# start_threads gives the number of threads that there are then, the caller included
_THREADS = f"""
define internal i32 @acquire(ptr %lock, i32 %wait) {{
entry:
  br label %again
again:
  %r = call i32 @sem_wait(ptr %lock)
  %interrupted = icmp ne i32 %r, 0
  br i1 %interrupted, label %again, label %out
out:
  ret i32 1
}}

define internal void @release(ptr %lock) {{
  %r = call i32 @sem_post(ptr %lock)
  ret void
}}

define internal ptr @worker(ptr %record) {{
  %sync.p = getelementptr i64, ptr %record, i64 1
  %sync = load ptr, ptr %sync.p
  %tid.p = getelementptr i64, ptr %record, i64 2
  %tid = load i64, ptr %tid.p
  call void @{lock_step.WORK}(ptr %sync, i64 %tid)
  ret ptr null
}}

define internal ptr @lock_of(ptr %net, i64 %tid) {{
  %locks = getelementptr i8, ptr %net, i64 {LOCKS}
  %at = mul i64 %tid, {_LOCK_BYTES}
  %lock = getelementptr i8, ptr %locks, i64 %at
  ret ptr %lock
}}

define internal ptr @record_of(ptr %net, i64 %tid) {{
  %records = getelementptr i8, ptr %net, i64 {WORKERS}
  %at = mul i64 %tid, {_WORKER_BYTES}
  %record = getelementptr i8, ptr %records, i64 %at
  ret ptr %record
}}

define internal i64 @start_threads(ptr %net, i64 %nth, i64 %ticks, i64 %futex) {{
entry:
  %sync = getelementptr i8, ptr %net, i64 {SYNC}
  %config = getelementptr i64, ptr %sync, i64 {_CONFIG}
  store i64 %nth, ptr %config
  %yield.p = getelementptr i64, ptr %config, i64 1
  store ptr @sched_yield, ptr %yield.p
  %acquire.p = getelementptr i64, ptr %config, i64 2
  store ptr @acquire, ptr %acquire.p
  %release.p = getelementptr i64, ptr %config, i64 3
  store ptr @release, ptr %release.p
  %ticks.p = getelementptr i64, ptr %config, i64 4
  store i64 %ticks, ptr %ticks.p
  %spins.p = getelementptr i64, ptr %config, i64 5
  store i64 {_BARRIER_SPINS}, ptr %spins.p
  %system.p = getelementptr i64, ptr %config, i64 6
  store ptr @syscall, ptr %system.p
  %number.p = getelementptr i64, ptr %config, i64 7
  store i64 %futex, ptr %number.p
  br label %loop
loop:
  %t = phi i64 [ 1, %entry ], [ %t1, %next ]
  %more = icmp ult i64 %t, %nth
  br i1 %more, label %start, label %out
start:
  %lock = call ptr @lock_of(ptr %net, i64 %t)
  %init = call i32 @sem_init(ptr %lock, i32 0, i32 0)
  %line = mul i64 %t, {_LINE}
  %lock.at = add i64 %line, {_WORKER + 1}
  %lock.p = getelementptr i64, ptr %sync, i64 %lock.at
  store ptr %lock, ptr %lock.p
  %record = call ptr @record_of(ptr %net, i64 %t)
  %sync.p = getelementptr i64, ptr %record, i64 1
  store ptr %sync, ptr %sync.p
  %tid.p = getelementptr i64, ptr %record, i64 2
  store i64 %t, ptr %tid.p
  %r = call i32 @pthread_create(ptr %record, ptr null, ptr @worker, ptr %record)
  %failed = icmp ne i32 %r, 0
  br i1 %failed, label %out, label %next
next:
  %t1 = add i64 %t, 1
  br label %loop
out:
  ret i64 %t
}}

define internal void @end_threads(ptr %net, i64 %nth) {{
entry:
  %sync = getelementptr i8, ptr %net, i64 {SYNC}
  %config = getelementptr i64, ptr %sync, i64 {_CONFIG}
  store i64 %nth, ptr %config           ; those that were started: the locks of the others do not exist
  call void @{lock_step.STOP}(ptr %sync)
  br label %loop
loop:
  %t = phi i64 [ 1, %entry ], [ %t1, %join ]
  %more = icmp ult i64 %t, %nth
  br i1 %more, label %join, label %out
join:
  %record = call ptr @record_of(ptr %net, i64 %t)
  %thread = load i64, ptr %record
  %r = call i32 @pthread_join(i64 %thread, ptr null)
  %lock = call ptr @lock_of(ptr %net, i64 %t)
  %d = call i32 @sem_destroy(ptr %lock)
  %t1 = add i64 %t, 1
  br label %loop
out:
  ret void
}}
"""
