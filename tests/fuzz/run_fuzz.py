"""Reads damaged inputs of one format and reports what is not read or refused as it should be.

``python -m tests.fuzz.run_fuzz text --runs 1000000 --jobs 2``. Input number n depends on the seed, n and the corpus
alone; the first ones are the corpus itself. What shows a fault is written to a folder, as small as it gets.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from .judge import Fault, cpu_seconds, fault_of, limit_memory
from .minimise import minimised
from .mutation import mutated
from .targets import TARGETS, Target

STUCK_CPU_SECONDS = 60  # for one input; where Python itself could stop it, it would have been stopped
POLL_SECONDS = 0.5
REPORT_SECONDS = 60
STOPPED = "the process ended"

_processes: Any = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Finding:
    """An input that shows a fault."""

    number: int
    fault: Fault
    data: bytes


def case(target: Target, seed: int, number: int) -> bytes:
    """Input ``number``: one of the corpus, then mutations of it."""
    pieces = target.pieces
    if number < len(pieces.seeds):
        return pieces.seeds[number]
    return mutated(pieces, target.mutators, Random(f"{seed} {number}"))


def run_cases(target: Target, seed: int, numbers: range, files: Path, at: Any) -> Iterator[Finding]:
    """The findings among some inputs, one for each fault; ``at`` is told each number before it is read."""
    known: set[tuple[str, str]] = set()
    read = target.reader(files)
    for number in numbers:
        at.value = number
        data = case(target, seed, number)
        fault = fault_of(read, data)
        if fault is None or fault.key in known:
            continue
        key = fault.key
        known.add(key)

        def shows(shorter: bytes, key: tuple[str, str] = key) -> bool:
            again = fault_of(read, shorter)
            return again is not None and again.key == key

        yield Finding(number, fault, minimised(data, shows))


def _memory_folder() -> str | None:
    """Where files live in memory: an input is a file, a thousand times a second."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


class Worker:
    """A process that reads a range of inputs; it is replaced when an input ends or stops it."""

    def __init__(self, target: Target, seed: int, numbers: range, files: Path, results: Any) -> None:
        self.target, self.seed, self.numbers, self.files, self.results = target, seed, numbers, files, results
        self.at = _processes.Value("q", numbers.start, lock=False)
        self._start(numbers)

    def _start(self, numbers: range) -> None:
        self.at.value = numbers.start
        self.seen, self.cpu_before = -1, 0.0
        self.process = _processes.Process(target=self._run, args=(numbers,), daemon=True)
        self.process.start()

    def _run(self, numbers: range) -> None:
        limit_memory()
        for finding in run_cases(self.target, self.seed, numbers, self.files, self.at):
            self.results.put(finding)

    def watch(self) -> Finding | None:
        """Look after the process; the finding if an input has ended it or never ends."""
        number = self.at.value
        if self.process.is_alive():
            cpu = cpu_seconds(self.process.pid)
            if number != self.seen:
                self.seen, self.cpu_before = number, cpu
            if cpu - self.cpu_before < STUCK_CPU_SECONDS:
                return None
            self.process.kill()
            self.process.join()
        elif self.process.exitcode == 0:
            return None
        fault = Fault(STOPPED, f"exit code {self.process.exitcode}", "")
        self._start(self.numbers[self.numbers.index(number) + 1 :])
        return Finding(number, fault, case(self.target, self.seed, number))

    @property
    def done(self) -> int:
        """How many inputs were read."""
        return (self.at.value - self.numbers.start) // self.numbers.step

    @property
    def is_finished(self) -> bool:
        """Whether all were."""
        return not self.process.is_alive() and self.process.exitcode == 0


def fuzz(target: Target, seed: int, runs: int, jobs: int, folder: Path) -> list[Finding]:
    """Read ``runs`` inputs in ``jobs`` processes; findings are written to ``folder`` as they come."""
    assert target.pieces.seeds  # read before the processes part
    results = _processes.SimpleQueue()  # what is put is there, even if the process ends at once
    findings: dict[tuple[str, str], Finding] = {}
    begun = reported = time.monotonic()

    def take(finding: Finding | None) -> None:
        if finding is not None and finding.fault.key not in findings:
            findings[finding.fault.key] = finding
            _write(finding, folder)

    with ExitStack() as stack:
        workers = []
        for job in range(jobs):
            files = stack.enter_context(tempfile.TemporaryDirectory(dir=_memory_folder()))
            workers.append(Worker(target, seed, range(job, runs, jobs), Path(files), results))
        while not all(worker.is_finished for worker in workers):
            time.sleep(POLL_SECONDS)
            for worker in workers:
                take(worker.watch())
            while not results.empty():
                take(results.get())
            if time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                _report(target, sum(worker.done for worker in workers), len(findings), reported - begun)
        while not results.empty():
            take(results.get())
    _report(target, runs, len(findings), time.monotonic() - begun)
    return list(findings.values())


def _write(finding: Finding, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stem = "".join(ch if ch.isalnum() else "_" for ch in "-".join(finding.fault.key))[:80]
    (folder / f"{stem}.case").write_bytes(finding.data)
    shown = f"input {finding.number}: {finding.fault.what} at {finding.fault.place}\n{finding.fault.detail}"
    (folder / f"{stem}.log").write_text(shown, encoding="utf-8", errors="replace")
    print(f"{folder / stem}.case: {finding.fault.what} at {finding.fault.place}", flush=True)


def _report(target: Target, count: int, findings: int, seconds: float) -> None:
    rate = count / seconds if seconds else 0
    print(
        f"{target.name}: {count} inputs, {seconds:.0f} s, {rate:.0f} a second, {findings} faults", flush=True
    )


def main() -> int:
    """Read the command line; the exit code is 1 if there are findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parser", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=100_000, help="how many inputs, the corpus included")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="how many processes")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"), help="for inputs that show faults")
    given = parser.parse_args()
    folder = given.folder / given.parser
    return 1 if fuzz(TARGETS[given.parser], given.seed, given.runs, given.jobs, folder) else 0


if __name__ == "__main__":
    sys.exit(main())
