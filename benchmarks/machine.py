"""Measure what this machine can do, with loops compiled by llvmlite: multiply-adds and reading memory.

python benchmarks/machine.py --threads 2     # one line of JSON
"""

import argparse
import ctypes
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np

FLOAT_BYTES = 4
STREAM_BYTES = 256 << 20  # per thread: far beyond any cache
REPEATS = 8


def vector_floats() -> int:
    """Floats in the widest register of this machine."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") else 4


def fma_loop(width: int) -> tuple[str, int]:
    """Return LLVM IR of `fma_loop(sink, rounds, a, b)`, and its floating-point operations per round.

    Independent chains x = x * a + b hide the latency of the units; all fit the register file (32 registers,
    or 16 on AVX2). The sink keeps the result alive.
    """
    chains = 12 if width == 8 else 24
    vector = f"<{width} x float>"
    phis = "\n".join(f"  %x{i} = phi {vector} [ %a, %entry ], [ %y{i}, %loop ]" for i in range(chains))
    fmas = "\n".join(
        f"  %y{i} = call {vector} @llvm.fma.v{width}f32({vector} %x{i}, {vector} %a, {vector} %b)"
        for i in range(chains)
    )
    sums = "\n".join(
        f"  %s{i + 1} = fadd {vector} %{'y0' if i == 0 else f's{i}'}, %y{i + 1}" for i in range(chains - 1)
    )
    text = f"""
declare {vector} @llvm.fma.v{width}f32({vector}, {vector}, {vector})

define void @fma_loop(ptr %sink, i64 %rounds, float %a1, float %b1) {{
entry:
  %a0 = insertelement {vector} poison, float %a1, i32 0
  %a = shufflevector {vector} %a0, {vector} poison, <{width} x i32> zeroinitializer
  %b0 = insertelement {vector} poison, float %b1, i32 0
  %b = shufflevector {vector} %b0, {vector} poison, <{width} x i32> zeroinitializer
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
{phis}
{fmas}
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %rounds
  br i1 %more, label %loop, label %done
done:
{sums}
  store {vector} %s{chains - 1}, ptr %sink, align 4
  ret void
}}
"""
    return text, chains * width * 2


def read_loop(width: int) -> str:
    """Return LLVM IR of `read_loop(data, floats, sink)`, which sums an array, 8 vectors per round."""
    vector, unroll = f"<{width} x float>", 8
    lines = []
    for i in range(unroll):
        lines += [
            f"  %o{i} = add i64 %i, {i * width}",
            f"  %p{i} = getelementptr float, ptr %data, i64 %o{i}",
            f"  %v{i} = load {vector}, ptr %p{i}, align 4",
            f"  %y{i} = fadd {vector} %x{i}, %v{i}",
        ]
    phis = "\n".join(
        f"  %x{i} = phi {vector} [ zeroinitializer, %entry ], [ %y{i}, %loop ]" for i in range(unroll)
    )
    sums = "\n".join(
        f"  %s{i + 1} = fadd {vector} %{'y0' if i == 0 else f's{i}'}, %y{i + 1}" for i in range(unroll - 1)
    )
    body = "\n".join(lines)
    return f"""
define void @read_loop(ptr %data, i64 %floats, ptr %sink) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
{phis}
{body}
  %next = add i64 %i, {unroll * width}
  %more = icmp ult i64 %next, %floats
  br i1 %more, label %loop, label %done
done:
{sums}
  store {vector} %s{unroll - 1}, ptr %sink, align 4
  ret void
}}
"""


def compile_ir(text: str) -> llvm.ExecutionEngine:
    """Compile LLVM IR for this very CPU, full-width registers allowed."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    flags = features.flatten()
    if features.get("avx512f"):
        flags += ",-prefer-256-bit"
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=flags, opt=2
    )
    module = llvm.parse_assembly(text)
    module.verify()
    return llvm.create_mcjit_compiler(module, machine)


def together(jobs: Sequence[Callable[[], object]]) -> float:
    """Run the jobs at the same time, one thread each; return the seconds until the last has ended."""
    barrier = threading.Barrier(len(jobs) + 1)

    def work(job: Callable[[], object]) -> None:
        barrier.wait()
        job()

    threads = [threading.Thread(target=work, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    start = time.perf_counter()
    barrier.wait()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def measure_fma(threads: int) -> float:
    """Return float32 GFLOP/s, best of several tries: a peak is what nothing disturbed."""
    text, flops = fma_loop(vector_floats())
    engine = compile_ir(text)
    signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_float)
    function = signature(engine.get_function_address("fma_loop"))
    rounds = 60_000_000  # about 0.2 s
    sinks = [np.zeros(64, np.float32) for _ in range(threads)]
    jobs = [partial(function, sink.ctypes.data, rounds, 0.5, 0.25) for sink in sinks]
    seconds = min(together(jobs) for _ in range(REPEATS))
    return threads * rounds * flops / seconds / 1e9


def measure_read(threads: int) -> float:
    """Return GB/s of reading memory in order, best of several tries."""
    engine = compile_ir(read_loop(vector_floats()))
    signature = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
    function = signature(engine.get_function_address("read_loop"))
    floats = STREAM_BYTES // FLOAT_BYTES
    arrays = [np.full(floats, 1.0, np.float32) for _ in range(threads)]
    sinks = [np.zeros(64, np.float32) for _ in range(threads)]
    pairs = zip(arrays, sinks, strict=True)
    jobs = [partial(function, array.ctypes.data, floats, sink.ctypes.data) for array, sink in pairs]
    seconds = min(together(jobs) for _ in range(REPEATS))
    return threads * STREAM_BYTES / seconds / 1e9


def cpu_name() -> str:
    """Return the processor's model as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def last_level_cache() -> int:
    """Return the size in bytes of the largest cache that CPU 0 sees, 0 where the system does not tell."""
    units = {"K": 1 << 10, "M": 1 << 20}
    sizes = [
        path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    ]
    return max((int(size[:-1]) * units[size[-1]] for size in sizes if size[-1:] in units), default=0)


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    threads = parser.parse_args().threads
    result = {
        "cpu": cpu_name(),
        "threads": threads,
        "vector_floats": vector_floats(),
        "last_level_cache": last_level_cache(),
        "gflops": round(measure_fma(threads), 1),
        "gbytes": round(measure_read(threads), 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
