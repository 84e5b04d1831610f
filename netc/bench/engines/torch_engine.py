"""PyTorch: eager, and through its compiler."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import torch

from netc.bench.engines.job import MOMENTUM, RATE, WEIGHT_DECAY, Array, Call, Job, labels
from netc.bench.prototext import read_layers
from netc.bench.torch_net import OPS, Op, TorchNet
from netc.bench.weights import load_npz


def build(job: Job, x: Array) -> Call:
    """A forward pass, eager."""
    net, tensor = torch_net(job), torch.from_numpy(x)

    def forward() -> Array:
        with torch.inference_mode():
            found: Array = net(tensor)[0].numpy()
            return found

    return forward


def build_compiled(job: Job, x: Array) -> Call:
    """A forward pass compiled as one graph, weights frozen."""
    import_module("torch._inductor.config").freezing = True  # type: ignore[attr-defined]
    net, tensor = torch.compile(torch_net(job), fullgraph=True), torch.from_numpy(x)

    def forward() -> Array:
        with torch.no_grad():
            found: Array = net(tensor)[0].numpy()
            return found

    return forward


def train(job: Job, x: Array) -> Call:
    """An iteration, eager, with the fused optimiser."""
    return _train(job, x, compiled=False)


def train_compiled(job: Job, x: Array) -> Call:
    """An iteration, forward and backward compiled as one graph each."""
    return _train(job, x, compiled=True)


def torch_net(job: Job, ops: dict[str, Op] = OPS) -> TorchNet:
    """The net with its weights."""
    torch.set_num_threads(job.threads)
    net = TorchNet(read_layers(Path(job.prototxt)), load_npz(Path(job.npz)), ops, train=job.train)
    net.train(job.train)
    return net


def _train(job: Job, x: Array, *, compiled: bool) -> Call:
    net = torch_net(job)
    learned = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(learned, RATE, MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True)
    data, label = torch.from_numpy(x), torch.from_numpy(labels(x))
    call = torch.compile(net, fullgraph=True) if compiled else net

    def iterate() -> Array:
        optimiser.zero_grad(set_to_none=True)
        (loss,) = call(data, label)
        loss.backward()
        optimiser.step()
        found: Array = loss.detach().numpy()
        return found

    return iterate
