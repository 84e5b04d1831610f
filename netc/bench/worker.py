"""One engine in a process of its own: builds a net once, then runs it for as long as it is asked to.

The arguments are the engine's name and a job as JSON. Lines on stdin are numbers of seconds; lines on stdout
are answers in JSON. What the engine itself prints goes to stderr. Without a job it says which packages there
are.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from netc.bench.engines.job import Call, Job, TimedCall
from netc.bench.engines.table import ENGINES, EXPORTER, ONNX, Engine

WARM_UP = 0.1  # of the seconds asked for, once more at the start of every round
LEAST_CALLS = 3
_PR_SET_PDEATHSIG = 1  # of prctl(2)
COMPARED_STEPS = 2  # of training: their losses are compared, the second after an update


def main(arguments: Sequence[str]) -> None:
    """Build, report, then serve requests until stdin ends."""
    if len(arguments) == 1:
        packages = {name for engine in ENGINES.values() for name in engine.packages}
        print(json.dumps(sorted(name for name in packages if find_spec(name) is not None)))
        return
    _end_with_parent()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # engines print to stdout as they like

    job = Job(**json.loads(arguments[1]))
    call, ready = build_call(job)
    print(json.dumps(ready), file=answers)
    _forget_peak_memory()
    for line in sys.stdin:
        times = time_calls(call, float(line), np.load(job.x, mmap_mode="r").shape[0])
        print(json.dumps(times | {"peak_bytes": peak_memory()}), file=answers)


def build_call(job: Job) -> tuple[Call | TimedCall, dict[str, Any]]:
    """Build a job's net and write its first result; also how long that took, and the engine's version."""
    x = np.load(job.x)
    engine = EXPORTER if job.engine == ONNX else ENGINES[job.engine]
    start = time.perf_counter()
    module = import_module(f"netc.bench.engines.{engine.module_on(job.device)}")
    call: Call | TimedCall = getattr(module, engine.train if job.train else engine.build)(job, x)
    np.save(job.out, np.array([call().copy() for _ in range(COMPARED_STEPS)]) if job.train else call())
    return call, {"ready": round(time.perf_counter() - start, 3), "version": _version(engine)}


def time_calls(call: Call | TimedCall, seconds: float, images: int) -> dict[str, float]:
    """Call for so many seconds: median and least milliseconds per image, and the number of calls."""
    once: Callable[[], float] = getattr(call, "milliseconds", partial(_host_milliseconds, call))
    end = time.perf_counter() + WARM_UP * seconds
    call()
    while time.perf_counter() < end:
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < LEAST_CALLS or time.perf_counter() < end:
        times.append(once() / images)
    return {"ms": statistics.median(times), "low": min(times), "calls": len(times)}


def _host_milliseconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def peak_memory() -> int | None:
    """The largest resident set of this process in bytes, since it was forgotten; None where Linux is not."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


def _end_with_parent() -> None:
    """A process that is stopped between its rounds would outlive a benchmark that was killed."""
    with suppress(OSError, AttributeError):  # Linux alone has it
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _forget_peak_memory() -> None:
    """What building took is not what running takes."""
    with suppress(OSError):  # then building counts too
        Path("/proc/self/clear_refs").write_text("5")


def _version(engine: Engine) -> str:
    for name in engine.distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "?"
