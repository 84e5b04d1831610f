"""One engine in a process of its own: builds a net once, then runs it for as long as `peers.py` asks.

Started by `peers.py` with a job as JSON. Lines on stdin are numbers of seconds; lines on stdout are answers
in JSON. What the engine itself prints goes to stderr.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Forward = Callable[[], Array]

WARM_UP = 0.1  # of the seconds asked for, once more at the start of every round
LEAST_CALLS = 3
COMPARED_STEPS = 3  # of training: their losses are compared
CLASSES = 10
RATE, MOMENTUM, WEIGHT_DECAY = 1e-3, 0.9, 5e-4


@dataclass(frozen=True)
class Job:
    """Everything an engine needs to build a net; paths are strings as they come from JSON."""

    engine: str
    prototxt: str
    caffemodel: str
    npz: str
    onnx: str
    onnx_lrn: str
    x: str
    out: str
    threads: int
    train: bool = False


def build_netc(job: Job, x: Array) -> Forward:
    """Compile with netc; from this checkout when netc is not installed."""
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    import netc

    shapes = {"data": x.shape}
    module = netc.compile(
        job.prototxt, weights=job.caffemodel, target="cpu", input_shapes=shapes, threads=job.threads
    )
    return lambda: next(reversed(module.run(data=x).values()))


def train_netc(job: Job, x: Array) -> Forward:
    """One iteration of netc: forward, backward and update in one program."""
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    from netc.frontend.net_file import load_net
    from netc.passes.update_params import UpdateRule
    from netc.runtime.api import filled_params
    from netc.runtime.compiler import import_message
    from netc.runtime.options import CompileOptions
    from netc.runtime.training_step import TrainingStep

    options = CompileOptions(phase="TRAIN", input_shapes=(("data", x.shape),), threads=job.threads)
    net = import_message(load_net(job.prototxt, phase="TRAIN"), options)
    params, _ = filled_params(net, job.caffemodel)
    rule = UpdateRule("SGD", momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    step = TrainingStep(net, options, params, rule)
    batch = {"data": x, "label": labels(x)}
    return lambda: step.run([batch], RATE, 0)[0]["loss"]


def train_torch(job: Job, x: Array, *, compiled: bool = False) -> Forward:
    """One iteration of PyTorch, with its fused optimiser."""
    import torch

    net = _torch_net(job)
    learned = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(learned, RATE, MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True)
    data, label = torch.from_numpy(x), torch.from_numpy(labels(x))
    call = torch.compile(net, fullgraph=True) if compiled else net

    def iterate() -> Array:
        optimiser.zero_grad(set_to_none=True)
        (loss,) = call(data, label)
        loss.backward()
        optimiser.step()
        return loss.detach().numpy()

    return iterate


def labels(x: Array) -> Array:
    """A class for each image."""
    return np.random.default_rng(2).integers(0, CLASSES, x.shape[0]).astype(np.float32)


def build_torch(job: Job, x: Array) -> Forward:
    """PyTorch, eager."""
    import torch

    net, tensor = _torch_net(job), torch.from_numpy(x)

    def forward() -> Array:
        with torch.inference_mode():
            return net(tensor)[0].numpy()

    return forward


def build_compiled_torch(job: Job, x: Array) -> Forward:
    """PyTorch through its compiler, as one graph, weights frozen."""
    import torch
    import torch._inductor.config

    torch._inductor.config.freezing = True
    net, tensor = torch.compile(_torch_net(job), fullgraph=True), torch.from_numpy(x)

    def forward() -> Array:
        with torch.no_grad():
            return net(tensor)[0].numpy()

    return forward


def _torch_net(job: Job, *, for_onnx: bool = False) -> "TorchNet":  # type: ignore[name-defined] # noqa: F821
    import torch
    from prototext import read_layers
    from torch_net import ONNX_OPS, OPS, TorchNet
    from weights import load_npz

    torch.set_num_threads(job.threads)
    ops = ONNX_OPS if for_onnx else OPS
    net = TorchNet(read_layers(Path(job.prototxt)), load_npz(Path(job.npz)), ops, train=job.train)
    return net.train(job.train)


def export_onnx(job: Job, x: Array) -> Forward:
    """Write the files that onnxruntime and openvino read. Not an engine to be timed.

    Each gets the form of LRN it runs faster: openvino the operator, onnxruntime the chain of primitives.
    """
    import torch

    tensor = torch.from_numpy(x)
    for path, net in ((job.onnx, _torch_net(job)), (job.onnx_lrn, _torch_net(job, for_onnx=True))):
        torch.onnx.export(net, (tensor,), path, dynamo=True, external_data=True, verbose=False)
    return lambda: x


def build_onnxruntime(job: Job, x: Array) -> Forward:
    """onnxruntime, all its graph optimisations on."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    session = onnxruntime.InferenceSession(job.onnx, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x})[0]


def build_openvino(job: Job, x: Array) -> Forward:
    """openvino, set for latency and float32."""
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": job.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = core.compile_model(core.read_model(job.onnx_lrn), "CPU", settings).create_infer_request()
    return lambda: request.infer([x], share_inputs=True, share_outputs=True)[0]


def build_opencv(job: Job, x: Array) -> Forward:
    """OpenCV's dnn module, which reads Caffe's files itself."""
    import cv2

    cv2.setNumThreads(job.threads)
    net = cv2.dnn.readNetFromCaffe(job.prototxt, job.caffemodel)

    def forward() -> Array:
        net.setInput(x)
        return net.forward()

    return forward


# engine -> (distribution whose version is reported, builder)
ENGINES: dict[str, tuple[str, Callable[[Job, Array], Forward]]] = {
    "netc": ("netc", build_netc),
    "torch": ("torch", build_torch),
    "compile": ("torch", build_compiled_torch),
    "ort": ("onnxruntime", build_onnxruntime),
    "openvino": ("openvino", build_openvino),
    "opencv": ("opencv-python-headless", build_opencv),
    "onnx": ("onnx", export_onnx),
}


TRAINERS: dict[str, tuple[str, Callable[[Job, Array], Forward]]] = {
    "netc": ("netc", train_netc),
    "torch": ("torch", train_torch),
    "compile": ("torch", lambda job, x: train_torch(job, x, compiled=True)),
}


def time_calls(forward: Forward, seconds: float, images: int) -> dict[str, float]:
    """Call for so many seconds; return milliseconds per image."""
    end = time.perf_counter() + WARM_UP * seconds
    forward()
    while time.perf_counter() < end:
        forward()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < LEAST_CALLS or time.perf_counter() < end:
        start = time.perf_counter()
        forward()
        times.append((time.perf_counter() - start) * 1e3 / images)
    return {"ms": statistics.median(times), "low": min(times), "calls": len(times)}


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except Exception:
        return "?"


def main() -> None:
    """Build, report, then serve requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # engines print to stdout as they like

    job = Job(**json.loads(sys.argv[1]))
    x = np.load(job.x)
    distribution, build = (TRAINERS if job.train else ENGINES)[job.engine]
    start = time.perf_counter()
    forward = build(job, x)
    np.save(job.out, [forward().copy() for _ in range(COMPARED_STEPS)] if job.train else forward())
    ready = {"ready": round(time.perf_counter() - start, 3), "version": _version(distribution)}
    print(json.dumps(ready), file=answers)
    for line in sys.stdin:
        print(json.dumps(time_calls(forward, float(line), x.shape[0])), file=answers)


if __name__ == "__main__":
    main()
