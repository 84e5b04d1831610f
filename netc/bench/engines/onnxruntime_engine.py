"""onnxruntime, all its graph optimisations on."""

from __future__ import annotations

import onnxruntime

from netc.bench.engines.job import Array, Call, Job


def build(job: Job, x: Array) -> Call:
    """A forward pass."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    session = onnxruntime.InferenceSession(job.onnx, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def forward() -> Array:
        found: Array = session.run(None, {name: x})[0]
        return found

    return forward
