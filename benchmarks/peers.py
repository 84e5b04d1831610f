"""Time the same nets, with the same weights, in netc and in the engines a user would pick instead.

    python benchmarks/peers.py --peer-python PEERS/bin/python --json out.json

Tables go to stdout, progress to stderr. `README.md` beside this file says how to read them. The exit status
is 1 when an engine's output differs from the others'.
"""

import argparse
import json
import os
import platform
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from net_shapes import infer
from prototext import Message, read_layers
from report import SUBJECT, TITLES, Case, Timing, agreement_table, floor_ms, ratios_table, times_table
from training_net import training_prototxt
from weights import random_weights, save_caffemodel, save_npz

HERE = Path(__file__).resolve().parent
MODELS = HERE.parent / "examples" / "models"
NETS = "caffenet,googlenet,vgg16,resnet50,squeezenet_v1.1,mobilenet_v1,lenet"
ENGINES = ",".join(TITLES)
BUILD_TIMEOUT_S = 1800
ROUND_TIMEOUT_S = 600
FLOAT_BYTES = 4
TRAINERS = "netc,torch,compile"
TRAINING_PASSES = 3  # forward, gradients of the inputs, gradients of the weights


class WorkerError(Exception):
    """An engine could not be started, could not build the net, or died."""


class Worker:
    """A `worker.py` process. It is stopped between its rounds, so that no idle engine disturbs another."""

    def __init__(self, python: str, job: dict[str, Any], log: Path, env: dict[str, str]) -> None:
        self.log = log
        command = [python, str(HERE / "worker.py"), json.dumps(job)]
        pipe = subprocess.PIPE
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=stderr, env=env)
        try:
            self.ready = self._answer(BUILD_TIMEOUT_S)
        except WorkerError:
            self.close()
            raise
        self.process.send_signal(signal.SIGSTOP)

    def round(self, seconds: float) -> dict[str, float]:
        """Let the engine run for so many seconds."""
        assert self.process.stdin is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(f"{seconds}\n".encode())
        self.process.stdin.flush()
        answer = self._answer(seconds + ROUND_TIMEOUT_S)
        self.process.send_signal(signal.SIGSTOP)
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def _answer(self, timeout: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            raise WorkerError(f"no answer in {timeout:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if "Error" in line or "Exception" in line]
        return (errors or lines or ["ended without a word"])[-1][:200]


@dataclass(frozen=True)
class Options:
    """The command line."""

    nets: list[str]
    batches: list[int]
    engines: list[str]
    threads: int
    seconds: float
    rounds: int
    tolerance: float
    train: bool
    netc_python: str
    peer_python: str
    json: Path | None

    def python_of(self, engine: str) -> str:
        """Return the interpreter an engine lives in."""
        return self.netc_python if engine == SUBJECT else self.peer_python


class Bench:
    """All cases of one run, in one folder of temporary files."""

    def __init__(self, options: Options, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.versions: dict[str, str] = {}
        self.notes: dict[str, list[str]] = {}  # error -> where it happened
        threads = str(options.threads)
        counts = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
        self.env = os.environ | dict.fromkeys(counts, threads)
        self.env["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")

    def run_net(self, name: str) -> list[Case]:
        """Draw weights for a net once, and measure it at every batch size."""
        prototxt = Path(name) if name.endswith(".prototxt") else MODELS / f"{name}.prototxt"
        layers = read_layers(prototxt)
        weights = random_weights(layers, infer(layers))
        save_npz(self.folder / "weights.npz", weights)
        save_caffemodel(self.folder / "weights.caffemodel", prototxt.stem, layers, weights)
        del weights
        return [self._run_case(prototxt, layers, batch) for batch in self.options.batches]

    def _run_case(self, prototxt: Path, layers: list[Message], batch: int) -> Case:
        shapes = infer(layers, batch)
        passes = TRAINING_PASSES if self.options.train else 1
        case = Case(prototxt.stem, batch, passes * shapes.macs // batch, FLOAT_BYTES * shapes.param_count)
        (shape,) = shapes.inputs.values()
        np.save(self.folder / "x.npy", np.random.default_rng(1).standard_normal(shape, np.float32))
        if self.options.train:
            text = training_prototxt(prototxt.read_text(), batch)
            prototxt = self.folder / "training.prototxt"
            prototxt.write_text(text)
        workers: dict[str, Worker] = {}
        try:
            for stale in self.folder.glob("*.onnx*"):
                stale.unlink()
            if {"ort", "openvino"} & set(self.options.engines):
                self._start(case, "onnx", prototxt)
            for engine in self.options.engines:
                worker = self._start(case, engine, prototxt)
                if worker:
                    workers[engine] = worker
            self._compare_outputs(case, list(workers))
            for number in range(self.options.rounds):
                self._round(case, workers, number)
        finally:
            for worker in workers.values():
                worker.close()
        return case

    def _start(self, case: Case, engine: str, prototxt: Path) -> Worker | None:
        progress(f"{case.net} batch {case.batch}: building in {engine}")
        job = {
            "engine": engine,
            "prototxt": str(prototxt),
            "caffemodel": str(self.folder / "weights.caffemodel"),
            "npz": str(self.folder / "weights.npz"),
            "onnx": str(self.folder / "net.onnx"),
            "onnx_lrn": str(self.folder / "net_lrn.onnx"),
            "x": str(self.folder / "x.npy"),
            "out": str(self._output(engine)),
            "threads": self.options.threads,
            "train": self.options.train,
        }
        timed = engine in TITLES
        try:
            worker = Worker(self.options.python_of(engine), job, self.folder / f"{engine}.log", self.env)
        except (OSError, WorkerError) as error:
            self._fail(case, engine, str(error))
            return None
        self.versions[engine] = worker.ready["version"]
        if timed:
            case.timings[engine] = Timing()
            return worker
        worker.close()
        return None

    def _round(self, case: Case, workers: dict[str, Worker], number: int) -> None:
        for engine, worker in list(workers.items()):
            try:
                answer = worker.round(self.options.seconds)
            except (OSError, WorkerError) as error:
                self._fail(case, engine, str(error))
                workers.pop(engine).close()
                continue
            timing = case.timings[engine]
            timing.rounds.append(answer["ms"])
            timing.low = min(timing.low, answer["low"])
            progress(f"{case.net} batch {case.batch} round {number + 1}: {engine} {answer['ms']:.4g} ms")

    def _fail(self, case: Case, engine: str, error: str) -> None:
        if engine in TITLES:
            case.timings[engine] = Timing(error=error)
        self.notes.setdefault(f"{engine}: {error}", []).append(f"{case.net}/{case.batch}")
        progress(f"{case.net} batch {case.batch}: {engine} failed: {error}")

    def _output(self, engine: str) -> Path:
        return self.folder / f"{engine}.out.npy"

    def _compare_outputs(self, case: Case, engines: list[str]) -> None:
        """Take torch as the reference where it runs; two others would have to be wrong alike."""
        if not engines:
            return
        case.reference = "torch" if "torch" in engines else engines[0]
        reference = np.load(self._output(case.reference))
        case.largest_output = float(np.abs(reference).max())
        for engine in engines:
            timing = case.timings[engine]
            difference = np.abs(np.load(self._output(engine)).reshape(reference.shape) - reference).max()
            timing.difference = float(difference) / case.largest_output
            timing.agrees = timing.difference <= self.options.tolerance


def measure_machine(options: Options) -> dict[str, Any]:
    """Measure peak and bandwidth in the interpreter that has llvmlite; empty where that fails."""
    command = [options.netc_python, str(HERE / "machine.py"), "--threads", str(options.threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        progress(f"no floor: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
        return {}
    machine: dict[str, Any] = json.loads(done.stdout)
    return machine


def best_of(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Join two measurements of one machine: whatever disturbed either of them, the peak is the higher."""
    peaks = {k: max(first[k], second[k]) for k in ("gflops", "gbytes") if k in first and k in second}
    return second | first | peaks


def print_report(options: Options, bench: Bench, cases: list[Case], machine: dict[str, Any]) -> None:
    """Print Markdown."""
    engines = [e for e in TITLES if e in options.engines]
    if machine:
        print(
            f"{machine['cpu']}, {options.threads} threads: {machine['gflops']} GFLOP/s of fma in float32,"
            f" {machine['gbytes']} GB/s of reading.\n"
        )
    what = "an iteration of training" if options.train else "a forward pass"
    print(f"Milliseconds per image of {what}:\n")
    print(times_table(cases, engines, machine))
    print("\nPeer's time / netc's time (above 1, netc is faster):\n")
    print(ratios_table(cases, engines))
    what = "the losses of the first iterations" if options.train else "outputs"
    print(f"\nDifference of {what}, relative to the largest of the reference:\n")
    print(agreement_table(cases, engines))
    names = ", ".join(f"{TITLES[e]} {bench.versions[e]}" for e in engines if e in bench.versions)
    print(f"\nVersions: {names}.")
    for note, where in bench.notes.items():
        print(f"\nNot measured ({', '.join(where)}): {note}")


def as_json(options: Options, bench: Bench, cases: list[Case], machine: dict[str, Any]) -> dict[str, Any]:
    """Everything measured, for programs."""
    results = []
    for case in cases:
        entry = {"net": case.net, "batch": case.batch, "floor_ms": floor_ms(case, machine)}
        entry |= {"macs": case.macs, "param_bytes": case.param_bytes, "reference": case.reference}
        timings = {
            e: asdict(t) | {"ms": t.ms, "low": t.low if t.rounds else None} for e, t in case.timings.items()
        }
        results.append(entry | {"engines": timings})
    settings = {k: v for k, v in asdict(options).items() if k not in ("netc_python", "peer_python", "json")}
    date = time.strftime("%Y-%m-%d")
    system = {"date": date, "system": platform.platform(), "machine": machine, "versions": bench.versions}
    return system | {"settings": settings, "results": results}


def progress(message: str) -> None:
    """Say on stderr what goes on."""
    print(message, file=sys.stderr, flush=True)


def parse_options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--train", action="store_true", help="time iterations of training, not inference (default batch 16)"
    )
    parser.add_argument("--nets", default=NETS, help="names from examples/models, or .prototxt files")
    parser.add_argument("--batch", help="batch sizes (default 1,16)")
    parser.add_argument("--engines", help=f"default {ENGINES}; with --train {TRAINERS}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one engine in one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--tolerance", type=float, default=1e-3, help="largest relative difference of outputs"
    )
    parser.add_argument(
        "--netc-python", default=sys.executable, help="interpreter that has netc's dependencies"
    )
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has the peers")
    parser.add_argument("--json", type=Path, help="write everything that was measured to this file")
    args = parser.parse_args()
    known = TRAINERS if args.train else ENGINES
    engines = (args.engines or known).split(",")
    if unknown := set(engines) - set(known.split(",")):
        parser.error(f"unknown engine {', '.join(sorted(unknown))}: choose from {known}")
    batches = args.batch or ("16" if args.train else "1,16")
    return Options(
        args.nets.split(","),
        [int(b) for b in batches.split(",")],
        engines,
        args.threads,
        args.seconds,
        args.rounds,
        args.tolerance,
        args.train,
        args.netc_python,
        args.peer_python,
        args.json,
    )


def main() -> int:
    """Measure and report."""
    options = parse_options()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, Path(folder))
        before = measure_machine(options)
        cases = [case for name in options.nets for case in bench.run_net(name)]
        machine = best_of(before, measure_machine(options))
    print_report(options, bench, cases, machine)
    if options.json:
        options.json.write_text(json.dumps(as_json(options, bench, cases, machine), indent=1) + "\n")
    return 0 if all(t.agrees for case in cases for t in case.timings.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
