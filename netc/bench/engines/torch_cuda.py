"""PyTorch on a GPU, set up to be quick: channels last, tf32, cuDNN's search; eager, as a graph, compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from netc.bench.engines.job import MOMENTUM, RATE, WEIGHT_DECAY, Array, Job, TimedCall, labels
from netc.bench.prototext import read_layers
from netc.bench.torch_net import TorchNet
from netc.bench.weights import load_npz

WARM_UP_CALLS = 3  # before a capture


class _Events:
    """A call between two events of the current stream."""

    def __init__(self, run: Callable[[], torch.Tensor]) -> None:
        self._run = run

    def __call__(self) -> Array:
        found: Array = self._run().detach().float().cpu().numpy()
        return found

    def milliseconds(self) -> float:
        """By the GPU's clock."""
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        self._run()
        end.record()
        end.synchronize()
        return float(begin.elapsed_time(end))


def build(job: Job, x: Array) -> TimedCall:
    """A forward pass, eager."""
    return _Events(_forward(_net(job), _on_device(x)))


def build_graph(job: Job, x: Array) -> TimedCall:
    """A forward pass, captured as one CUDA graph."""
    return _Events(_captured(_forward(_net(job), _on_device(x))))


def build_compiled(job: Job, x: Array) -> TimedCall:
    """A forward pass through the compiler's full search, which uses CUDA graphs."""
    net = torch.compile(_net(job), fullgraph=True, mode="max-autotune")
    return _Events(_forward(net, _on_device(x)))


def train(job: Job, x: Array) -> TimedCall:
    """An iteration, eager."""
    return _Events(_iteration(job, x, lambda net: net))


def train_graph(job: Job, x: Array) -> TimedCall:
    """An iteration, all but the copy of the batch captured as one CUDA graph."""
    return _Events(_iteration(job, x, lambda net: net, captured=True))


def train_compiled(job: Job, x: Array) -> TimedCall:
    """An iteration, forward and backward through the compiler's full search."""
    return _Events(_iteration(job, x, lambda net: torch.compile(net, fullgraph=True, mode="max-autotune")))


def _net(job: Job) -> Any:
    if not torch.cuda.is_available():
        raise RuntimeError("this PyTorch finds no GPU")
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = True
    net = TorchNet(read_layers(Path(job.prototxt)), load_npz(Path(job.npz)), train=job.train)
    return net.train(job.train).to("cuda", memory_format=torch.channels_last)


def _on_device(x: Array) -> torch.Tensor:
    return torch.from_numpy(x).to("cuda", memory_format=torch.channels_last)


def _forward(net: Any, data: torch.Tensor) -> Callable[[], torch.Tensor]:
    def run() -> torch.Tensor:
        with torch.inference_mode():
            found: torch.Tensor = net(data)[0]
            return found

    return run


def _iteration(
    job: Job, x: Array, prepare: Callable[[Any], Any], *, captured: bool = False
) -> Callable[[], torch.Tensor]:
    """The batch comes from pinned memory, the loss goes back to the host."""
    net = _net(job)
    call = prepare(net)
    learned = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(learned, RATE, MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True)
    host = [torch.from_numpy(array).pin_memory() for array in (x, labels(x))]
    data, label = _on_device(x), torch.from_numpy(labels(x)).to("cuda")

    def learn() -> torch.Tensor:
        optimiser.zero_grad(set_to_none=not captured)
        (loss,) = call(data, label)
        loss.backward()
        optimiser.step()
        found: torch.Tensor = loss
        return found

    work = _captured_from_here(learn, learned, optimiser) if captured else learn

    def run() -> torch.Tensor:
        for there, here in zip((data, label), host, strict=True):
            there.copy_(here, non_blocking=True)
        return work().cpu()

    return run


def _captured_from_here(
    learn: Callable[[], torch.Tensor], learned: list[torch.Tensor], optimiser: torch.optim.Optimizer
) -> Callable[[], torch.Tensor]:
    """The graph of an iteration; what was learned on the way to it is undone."""
    before = [each.detach().clone() for each in learned]
    work = _captured(learn)
    with torch.no_grad():
        for each, content in zip(learned, before, strict=True):
            each.copy_(content)
            optimiser.state[each]["momentum_buffer"].zero_()
    return work


def _captured(run: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP_CALLS):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()

    def replay() -> torch.Tensor:
        graph.replay()
        return result

    return replay
