"""netc."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import netc
from netc.bench.engines.job import MOMENTUM, RATE, WEIGHT_DECAY, Array, Call, Job, labels


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
    # only here: a forward pass loads no compiler
    from netc.frontend.net_file import load_net
    from netc.passes.update_params import UpdateRule
    from netc.runtime.api import filled_params
    from netc.runtime.compiler import import_message
    from netc.runtime.options import CompileOptions
    from netc.runtime.training_step import TrainingStep

    options = CompileOptions(phase="TRAIN", input_shapes=((job.input, x.shape),), threads=job.threads)
    net = import_message(load_net(job.prototxt, phase="TRAIN"), options)
    params, _ = filled_params(net, job.caffemodel)
    rule = UpdateRule("SGD", momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    step = TrainingStep(net, options, params, rule)
    batch = {job.input: x, "label": labels(x)}
    return lambda: step.run([batch], RATE, 0)[0]["loss"]
