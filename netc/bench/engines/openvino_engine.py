"""openvino, set for latency and float32."""

from __future__ import annotations

import openvino

from netc.bench.engines.job import Array, Call, Job


def build(job: Job, x: Array) -> Call:
    """A forward pass."""
    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": job.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(core.read_model(job.onnx_lrn), "CPU", settings).create_infer_request()

    def forward() -> Array:
        found: Array = request.infer([x], share_inputs=True, share_outputs=True)[0]
        return found

    return forward
