"""netc's training: loads the compiler, which a forward pass does without."""

from __future__ import annotations

from netc.bench.engines.job import MOMENTUM, RATE, WEIGHT_DECAY, Array, Call, Job, labels
from netc.frontend.net_file import load_net
from netc.passes.update_params import UpdateRule
from netc.runtime.api import filled_params
from netc.runtime.compiler import import_message
from netc.runtime.options import CompileOptions
from netc.runtime.training_step import TrainingStep


def iteration(job: Job, x: Array) -> Call:
    """An iteration: forward, backward and update in one program."""
    options = CompileOptions(phase="TRAIN", input_shapes=((job.input, x.shape),), threads=job.threads)
    net = import_message(load_net(job.prototxt, phase="TRAIN"), options)
    params, _ = filled_params(net, job.caffemodel)
    rule = UpdateRule("SGD", momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    step = TrainingStep(net, options, params, rule)
    batch = {job.input: x, "label": labels(x)}
    return lambda: step.run([batch], RATE, 0)[0]["loss"]
