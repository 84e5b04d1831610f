"""Files of benchmark runs: everything measured, as JSON, and what is compared between runs."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from netc.bench.cases import Case, floor_ms, fraction_of_fma_peak, ratios_of
from netc.bench.engines.table import SUBJECT
from netc.bench.machine import Machine
from netc.bench.measure import Settings
from netc.frontend.atomic_file import atomic_file
from netc.ir.diagnostics import NetcError

BEST = "best peer"
MAX_BYTES = 64 << 20
DIGITS = 5

Key = tuple[str, int, int, bool]
"""A row of the tables: net, batch, threads, whether it was trained."""


@dataclass(frozen=True)
class Row:
    """``ratios`` are the times of peers over netc's, by engine, and of the best of them under `BEST`.

    ``fma_fraction`` is the part of the machine's multiply-add peak that netc reached, by the operations of
    direct convolution; ``over_floor`` is netc's time over what the machine needs at least. All lack what was
    not measured, or where outputs were wrong.
    """

    key: Key
    ratios: Mapping[str, float]
    fma_fraction: float | None
    over_floor: float | None = None


@dataclass(frozen=True)
class Run:
    """What was measured at one time on one machine. ``date`` is UTC, ``2026-01-31T23:59:59Z``."""

    name: str
    date: str
    cpu: str
    versions: Mapping[str, str]
    rows: tuple[Row, ...]


def run_data(
    settings: Settings, cases: Sequence[Case], versions: Mapping[str, str], machine: Machine
) -> dict[str, Any]:
    """Everything measured, for programs."""
    kept = {k: v for k, v in asdict(settings).items() if k != "peer_python"}
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "system": platform.platform(),
        "machine": asdict(machine),
        "versions": dict(versions),
        "settings": kept,
        "results": [_result(settings, case, machine) for case in cases],
    }


def write_run(path: str, data: Mapping[str, Any]) -> None:
    """Write a run, a line for each case: files of it lie in repositories."""
    with atomic_file(path) as file:
        file.write(_text(data).encode())


def parse_run(name: str, data: Any) -> Run:
    """What is compared between runs; NetcError where ``data`` is none."""
    try:
        train = _is(data["settings"]["train"], bool)
        rows = tuple(_row(entry, train) for entry in _is(data["results"], list))
        versions = {_is(k, str): _is(v, str) for k, v in _is(data["versions"], dict).items()}
        return Run(name, _is(data["date"], str), _is(data["machine"]["cpu"], str), versions, rows)
    except (KeyError, TypeError) as error:
        raise NetcError(
            f"{name}: no run of netc bench: {error}", remedy="write one with: netc bench --json FILE"
        ) from None


def read_run(path: str) -> Run:
    """A run from its file."""
    try:
        if os.path.getsize(path) > MAX_BYTES:
            raise NetcError(f"{path}: too large for a run of netc bench")
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except OSError as error:
        raise NetcError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise NetcError(f"{path}: not JSON: {error}") from None
    return parse_run(path, data)


def _result(settings: Settings, case: Case, machine: Machine) -> dict[str, Any]:
    ratios = zip((*settings.peers, BEST), ratios_of(case, settings.peers), strict=True)
    engines = {
        engine: asdict(timing)
        | {
            "ms": timing.ms,
            "low": timing.low if timing.rounds else None,
            "difference": timing.difference if math.isfinite(timing.difference or 0) else None,
        }
        for engine, timing in case.timings.items()
    }
    return {
        "net": case.net,
        "batch": case.batch,
        "threads": case.threads,
        "macs": case.macs,
        "param_bytes": case.param_bytes,
        "floor_ms": floor_ms(case, machine),
        "fma_fraction": fraction_of_fma_peak(case, machine),
        "ratios": {engine: ratio for engine, ratio in ratios if ratio is not None},
        "reference": case.reference,
        "engines": engines,
    }


def _text(data: Mapping[str, Any]) -> str:
    data = _rounded(data)
    head = {key: value for key, value in data.items() if key != "results"}
    lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}," for key, value in head.items()]
    results = ",\n".join(json.dumps(entry, allow_nan=False) for entry in data["results"])
    return "\n".join(["{", *lines, '"results": [', results, "]", "}", ""])


def _rounded(data: Any) -> Any:
    """The same data, its floats with as many digits as a measurement has."""
    if isinstance(data, Mapping):
        return {key: _rounded(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_rounded(value) for value in data]
    return float(f"{data:.{DIGITS}g}") if isinstance(data, float) else data


def _row(entry: Any, train: bool) -> Row:
    key = (_is(entry["net"], str), _is(entry["batch"], int), _is(entry["threads"], int), train)
    ratios = {_is(e, str): _number(r) for e, r in _is(entry["ratios"], dict).items()}
    fraction, own = entry["fma_fraction"], _is(entry["engines"], dict).get(SUBJECT, {}).get("ms")
    return Row(
        key,
        ratios,
        None if fraction is None else _number(fraction),
        None if own is None else _number(own) / _number(entry["floor_ms"]),
    )


def _is(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {json.dumps(value)[:40]}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise TypeError(f"expected a positive number, got {json.dumps(value)[:40]}")
    return float(value)
