"""netc."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import netc
from netc.bench.engines.job import Array, Call, Job


def build(job: Job, x: Array) -> Call:
    """A forward pass of a compiled net. Another process writes its file; this one runs it, as in service."""
    path = str(Path(job.out).with_suffix(".netc"))
    shape = f"{job.input}={','.join(map(str, x.shape))}"
    command = [sys.executable, "-m", "netc", "compile", job.prototxt, "--weights", job.caffemodel]
    command += ["--input-shape", shape, "--threads", str(job.threads), "--output", path]
    subprocess.run(command, check=True)
    module = netc.load(path)
    return lambda: next(reversed(module.run(**{job.input: x}).values()))


def train(job: Job, x: Array) -> Call:
    """An iteration: forward, backward and update in one program."""
    from netc.bench.engines.netc_training import iteration

    return iteration(job, x)
