"""Runs the nets in every engine: builds them, compares their outputs, and times them in turns."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netc import __version__
from netc.bench.cases import Case, Timing
from netc.bench.engines.job import Device, Job
from netc.bench.engines.table import ENGINES, ONNX, SUBJECT
from netc.bench.net_shapes import infer
from netc.bench.nets import BenchNet, load_bench_net
from netc.bench.process import EngineError, EngineProcess
from netc.bench.training_net import training_prototxt
from netc.bench.weights import random_weights, save_caffemodel, save_npz

FLOAT_BYTES = 4
TRAINING_PASSES = 3  # forward, gradients of the inputs, gradients of the weights
_THREAD_COUNTS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Settings:
    """``peers`` are names of `ENGINES`; ``seconds`` are those of one engine in one round.

    ``tolerance`` is the largest difference of outputs, relative to the largest output of the reference.
    """

    nets: tuple[str, ...]
    batches: tuple[int, ...]
    threads: tuple[int, ...]
    peers: tuple[str, ...]
    seconds: float
    rounds: int
    tolerance: float
    train: bool
    peer_python: str
    device: Device = "cpu"

    @property
    def engines(self) -> tuple[str, ...]:
        """netc, then the peers."""
        return (SUBJECT, *self.peers)


class Measurement:
    """All cases of one run; its files lie in ``folder``. ``say`` gets a line for each step.

    ``start`` gives the process of an engine.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        say: Callable[[str], None],
        start: Callable[[str, Job, Path, Mapping[str, str]], EngineProcess] = EngineProcess,
    ) -> None:
        self.settings, self._folder, self._say, self._start_engine = settings, folder, say, start
        self.versions: dict[str, str] = {SUBJECT: __version__}
        self.notes: dict[str, list[str]] = {}  # error -> where it happened

    def run(self, on_net: Callable[[list[Case]], None]) -> list[Case]:
        """Measure every net; after each, ``on_net`` gets the cases so far."""
        cases: list[Case] = []
        nets = [load_bench_net(name) for name in self.settings.nets]  # what is wrong with one comes first
        for net in nets:
            cases += self._run_net(net)
            on_net(cases)
        return cases

    def _run_net(self, net: BenchNet) -> list[Case]:
        """Draw weights once, and measure at every batch size and number of threads."""
        weights = random_weights(net.layers, infer(net.layers))
        save_npz(self._folder / "weights.npz", weights)
        save_caffemodel(self._folder / "weights.caffemodel", net.name, net.layers, weights)
        del weights
        return [case for batch in self.settings.batches for case in self._run_batch(net, batch)]

    def _run_batch(self, net: BenchNet, batch: int) -> list[Case]:
        shapes = infer(net.layers, batch)
        ((input_, shape),) = shapes.inputs.items()
        np.save(self._folder / "x.npy", np.random.default_rng(1).standard_normal(shape, np.float32))
        text = training_prototxt(net.text, batch) if self.settings.train else net.text
        (self._folder / "net.prototxt").write_text(text)
        passes = TRAINING_PASSES if self.settings.train else 1
        macs, param_bytes = passes * shapes.macs // batch, FLOAT_BYTES * shapes.param_count
        cases = [Case(net.name, batch, macs, param_bytes, threads) for threads in self.settings.threads]
        for stale in self._folder.glob("*.onnx*"):
            stale.unlink()
        if any(ENGINES[e].reads_onnx for e in self.settings.peers):
            exporter = self._start(cases[0], ONNX, input_)
            if exporter:
                exporter.close()
        for case in cases:
            self._run_case(case, input_)
        return cases

    def _run_case(self, case: Case, input_: str) -> None:
        processes: dict[str, EngineProcess] = {}
        try:
            for engine in self.settings.engines:
                process = self._start(case, engine, input_)
                if process:
                    processes[engine] = process
                    case.timings[engine] = Timing()
            self._compare_outputs(case, list(processes))
            for number in range(self.settings.rounds):
                self._round(case, processes, number)
        finally:
            for process in processes.values():
                process.close()

    def _start(self, case: Case, engine: str, input_: str) -> EngineProcess | None:
        self._say(f"{_named(case)}: building in {engine}")
        job = Job(
            engine=engine,
            prototxt=str(self._folder / "net.prototxt"),
            caffemodel=str(self._folder / "weights.caffemodel"),
            npz=str(self._folder / "weights.npz"),
            onnx=str(self._folder / "net.onnx"),
            onnx_lrn=str(self._folder / "net_lrn.onnx"),
            input=input_,
            x=str(self._folder / "x.npy"),
            out=str(self._output(engine)),
            threads=case.threads,
            train=self.settings.train,
            device=self.settings.device,
        )
        python = sys.executable if engine == SUBJECT else self.settings.peer_python
        env = os.environ | dict.fromkeys(_THREAD_COUNTS, str(case.threads))
        env["TORCHINDUCTOR_CACHE_DIR"] = str(self._folder / "inductor")
        try:
            process = self._start_engine(python, job, self._folder / f"{engine}.log", env)
        except (OSError, EngineError) as error:
            self._fail(case, engine, str(error))
            return None
        self.versions.setdefault(engine, process.ready["version"])
        return process

    def _round(self, case: Case, processes: dict[str, EngineProcess], number: int) -> None:
        for engine, process in list(processes.items()):
            try:
                answer = process.round(self.settings.seconds)
            except (OSError, EngineError) as error:
                self._fail(case, engine, str(error))
                processes.pop(engine).close()
                continue
            timing = case.timings[engine]
            timing.rounds.append(answer["ms"])
            timing.low = min(timing.low, answer["low"])
            timing.peak_bytes = answer["peak_bytes"]
            self._say(f"{_named(case)} round {number + 1}: {engine} {answer['ms']:.4g} ms")

    def _fail(self, case: Case, engine: str, error: str) -> None:
        if engine in ENGINES:
            case.timings[engine] = Timing(error=error)
        self.notes.setdefault(f"{engine}: {error}", []).append(_named(case))
        self._say(f"{_named(case)}: {engine} failed: {error}")

    def _output(self, engine: str) -> Path:
        return self._folder / f"{engine}.out.npy"

    def _compare_outputs(self, case: Case, engines: list[str]) -> None:
        """Take torch as the reference where it runs; two others would have to be wrong alike."""
        if not engines:
            return
        case.reference = next((e for e in ("torch", "torch-cuda") if e in engines), engines[0])
        reference = np.load(self._output(case.reference))
        case.largest_output = float(np.abs(reference).max())
        for engine in engines:
            timing = case.timings[engine]
            output = np.load(self._output(engine))
            timing.difference = math.inf
            if output.size == reference.size:
                difference = np.abs(output.reshape(reference.shape) - reference).max()
                timing.difference = float(difference) / case.largest_output
            timing.agrees = timing.difference <= self.settings.tolerance


def _named(case: Case) -> str:
    return f"{case.net} batch {case.batch} threads {case.threads}"
