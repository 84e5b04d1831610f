"""Writes the ONNX files that onnxruntime and openvino read. Not an engine to be timed.

Each gets the form of LRN it runs faster: openvino the operator, onnxruntime the chain of primitives.
"""

from __future__ import annotations

import torch

from netc.bench.engines.job import Array, Call, Job
from netc.bench.engines.torch_engine import torch_net
from netc.bench.torch_net import ONNX_OPS


def build(job: Job, x: Array) -> Call:
    """Write both files."""
    tensor = torch.from_numpy(x)
    for path, net in ((job.onnx, torch_net(job)), (job.onnx_lrn, torch_net(job, ONNX_OPS))):
        torch.onnx.export(net, (tensor,), path, dynamo=True, external_data=True, verbose=False)
    return lambda: x
