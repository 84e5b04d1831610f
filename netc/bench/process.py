"""The process of an engine, as the benchmark sees it."""

from __future__ import annotations

import json
import select
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from netc.bench.engines.job import Job
from netc.ir.diagnostics import NetcError

START = Path(__file__).with_name("start_worker.py")
BUILD_TIMEOUT_S = 1800
ROUND_TIMEOUT_S = 600
PROBE_TIMEOUT_S = 120


class EngineError(Exception):
    """An engine could not be started, could not build the net, or died."""


class EngineProcess:
    """A `worker` in its process, stopped between its rounds: no idle engine disturbs another."""

    def __init__(self, python: str, job: Job, log: Path, env: Mapping[str, str]) -> None:
        self._log = log
        command = [python, str(START), job.engine, json.dumps(asdict(job))]
        pipe = subprocess.PIPE
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=stderr, env=env)
        try:
            self.ready = self._answer(BUILD_TIMEOUT_S)
        except BaseException:
            self.close()
            raise
        self._process.send_signal(signal.SIGSTOP)

    def round(self, seconds: float) -> dict[str, Any]:
        """Let the engine run for so many seconds."""
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(f"{seconds}\n".encode())
        self._process.stdin.flush()
        answer = self._answer(seconds + ROUND_TIMEOUT_S)
        self._process.send_signal(signal.SIGSTOP)
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self, timeout: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            raise EngineError(f"no answer in {timeout:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise EngineError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if "Error" in line or "Exception" in line]
        return (errors or lines or ["ended without a word"])[-1][:200]


def installed_packages(python: str) -> frozenset[str]:
    """The packages of the engines that an interpreter can import."""
    try:
        done = subprocess.run(
            [python, str(START), "probe"],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NetcError(f"{python} does not run: {error}") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise NetcError(f"{python} cannot run engines: {last}", remedy="it needs Python 3.9 and NumPy")
    return frozenset(json.loads(done.stdout))
