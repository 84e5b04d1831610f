"""What this machine can do at best: float32 multiply-adds per second, and bytes read from memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netc.backends.llvm.engine import compile_to_object
from netc.backends.llvm.library import Library
from netc.backends.llvm.spmd import Program, Step, executor_for
from netc.backends.llvm.target import Target

FMA_ROUNDS = 500_000  # 2 ms: short enough to fit between interruptions by other programs
START = 0.25  # a = 0.75 a + 0.25 tends to 1: ordinary numbers all the way
READ_CHAINS = 8
SMALLEST_BUFFER_BYTES = 64 << 20
LARGEST_BUFFER_BYTES = 256 << 20
# the best counts: others may use the machine too
COMPUTE_REPEATS = 50
READ_REPEATS = 5


@dataclass(frozen=True, slots=True)
class Peaks:
    """``gflops`` (1e9 float32 operations per second, an fma being two) and ``gbytes_per_s`` (1e9, read)."""

    threads: int
    gflops: float
    gbytes_per_s: float


def measure_peaks(threads: int, target: Target) -> Peaks:
    """Both peaks with this many threads; takes about half a second."""
    # 3/4 of the registers hold chains of fma, enough for any latency; the rest are the two factors
    chains = target.vector_registers * 3 // 4
    fma = compile_to_object(_fma_text(target, chains), target)
    read = compile_to_object(_read_text(target), target)
    library = Library({"peak_fma": fma, "peak_read": read}, target)
    executor = executor_for(threads)

    out = np.full(threads * target.lanes, START, dtype=np.float32)
    slots = np.array([out.ctypes.data, FMA_ROUNDS], dtype=np.int64)
    compute = Program(executor, [Step("peak_fma", library.address("peak_fma"), slots)], [library, out])
    seconds = min(compute.run_timed()[0] for _ in range(COMPUTE_REPEATS))
    gflops = 2.0 * target.lanes * chains * FMA_ROUNDS * threads / seconds / 1e9

    size = min(max(8 * target.l3_bytes, SMALLEST_BUFFER_BYTES), LARGEST_BUFFER_BYTES)
    data = np.ones(size // 4, dtype=np.float32)  # written: pages never written are all one page of zeros
    block = READ_CHAINS * target.lanes
    blocks = data.size // block // threads
    slots = np.array([out.ctypes.data, blocks, data.ctypes.data], dtype=np.int64)
    reading = Program(
        executor, [Step("peak_read", library.address("peak_read"), slots)], [library, out, data]
    )
    seconds = min(reading.run_timed()[0] for _ in range(READ_REPEATS))
    return Peaks(threads, gflops, 4.0 * blocks * block * threads / seconds / 1e9)


def _fma_text(target: Target, chains: int) -> str:
    """Each thread: ``chains`` independent accumulators, ``FMA_ROUNDS`` times a = 0.75 a + 0.25."""
    vector = f"<{target.lanes} x float>"
    # without the instruction, llvm.fma would call the C library for each element
    name = f"llvm.fma.v{target.lanes}f32" if target.fma else f"llvm.fmuladd.v{target.lanes}f32"
    lines = [
        f"declare {vector} @{name}({vector}, {vector}, {vector})",
        "define void @peak_fma(ptr %slots, i64 %tid, i64 %nth) {",
        "entry:",
        *_out_pointer(target),
        "  %n.p = getelementptr i64, ptr %slots, i64 1",
        "  %n = load i64, ptr %n.p",
        f"  %x = load {vector}, ptr %out, align 4",
        f"  %c = fadd {vector} %x, splat (float 0.5)",
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [ 0, %entry ], [ %i1, %loop ]",
        *(f"  %a{k} = phi {vector} [ %x, %entry ], [ %b{k}, %loop ]" for k in range(chains)),
        *(
            f"  %b{k} = call {vector} @{name}({vector} %a{k}, {vector} %c, {vector} %x)"
            for k in range(chains)
        ),
        "  %i1 = add i64 %i, 1",
        "  %more = icmp ult i64 %i1, %n",
        "  br i1 %more, label %loop, label %out.block",
        "out.block:",
        *_sum_and_store(vector, [f"%b{k}" for k in range(chains)]),
    ]
    return "\n".join(lines)


def _read_text(target: Target) -> str:
    """Each thread sums its own part of the buffer, with `READ_CHAINS` accumulators."""
    vector = f"<{target.lanes} x float>"
    block = READ_CHAINS * target.lanes
    lines = [
        "define void @peak_read(ptr %slots, i64 %tid, i64 %nth) {",
        "entry:",
        *_out_pointer(target),
        "  %n.p = getelementptr i64, ptr %slots, i64 1",
        "  %n = load i64, ptr %n.p",
        "  %data.p = getelementptr i64, ptr %slots, i64 2",
        "  %data = load ptr, ptr %data.p",
        "  %begin = mul i64 %tid, %n",
        "  br label %loop",
        "loop:",
        "  %i = phi i64 [ 0, %entry ], [ %i1, %loop ]",
        *(
            f"  %a{k} = phi {vector} [ zeroinitializer, %entry ], [ %b{k}, %loop ]"
            for k in range(READ_CHAINS)
        ),
        "  %at.block = add i64 %begin, %i",
        f"  %at = mul i64 %at.block, {block}",
    ]
    for k in range(READ_CHAINS):
        lines += [
            f"  %at{k} = add i64 %at, {k * target.lanes}",
            f"  %p{k} = getelementptr float, ptr %data, i64 %at{k}",
            f"  %v{k} = load {vector}, ptr %p{k}, align 4",
            f"  %b{k} = fadd {vector} %a{k}, %v{k}",
        ]
    lines += [
        "  %i1 = add i64 %i, 1",
        "  %more = icmp ult i64 %i1, %n",
        "  br i1 %more, label %loop, label %out.block",
        "out.block:",
        *_sum_and_store(vector, [f"%b{k}" for k in range(READ_CHAINS)]),
    ]
    return "\n".join(lines)


def _out_pointer(target: Target) -> list[str]:
    return [
        "  %out.base = load ptr, ptr %slots",
        f"  %out.at = mul i64 %tid, {target.lanes}",
        "  %out = getelementptr float, ptr %out.base, i64 %out.at",
    ]


def _sum_and_store(vector: str, values: list[str]) -> list[str]:
    """The results must be used, or the loop would be removed."""
    lines = []
    total = values[0]
    for k, value in enumerate(values[1:]):
        lines.append(f"  %sum{k} = fadd {vector} {total}, {value}")
        total = f"%sum{k}"
    # times 0: the next run starts from the same numbers
    return [
        *lines,
        f"  %zero = fmul {vector} {total}, zeroinitializer",
        f"  %start = load {vector}, ptr %out, align 4",
        f"  %same = fadd {vector} %start, %zero",
        f"  store {vector} %same, ptr %out, align 4",
        "  ret void",
        "}",
        "",
    ]
