"""OpenCV's dnn module, which reads Caffe's files itself."""

from __future__ import annotations

import cv2

from netc.bench.engines.job import Array, Call, Job


def build(job: Job, x: Array) -> Call:
    """A forward pass."""
    cv2.setNumThreads(job.threads)
    net = cv2.dnn.readNetFromCaffe(job.prototxt, job.caffemodel)

    def forward() -> Array:
        net.setInput(x)
        found: Array = net.forward()
        return found

    return forward
