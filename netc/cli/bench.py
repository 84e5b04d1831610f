"""``netc bench``: the reference models in netc and in the engines that a user could pick instead."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from netc.bench.cases import Case
from netc.bench.check import compare
from netc.bench.engines.table import ENGINES, SUBJECT, peers
from netc.bench.history import newest_like, read_history
from netc.bench.machine import measure_machine
from netc.bench.measure import Measurement, Settings
from netc.bench.nets import REFERENCE_NETS
from netc.bench.process import installed_packages
from netc.bench.report import check_report, report
from netc.bench.run_file import Run, parse_run, read_run, run_data, write_run
from netc.cli.bench_history import show_history
from netc.cli.bench_picture import draw_run
from netc.cli.output import CheckFailed, put, put_json, say
from netc.ir.diagnostics import NetcError
from netc.runtime.options import MAX_THREADS

STDOUT = "-"
MAX_BATCH = 1 << 16


def command(
    nets: Sequence[str],
    batch: str | None,
    threads: str,
    train: bool,
    peer_names: str | None,
    peer_python: str | None,
    seconds: float,
    rounds: int,
    tolerance: float,
    json_file: str | None,
    check: str | None,
    margin: str,
    history: str | None,
    draw: str | None,
    output: str | None,
) -> None:
    """``netc bench``."""
    if draw is not None:
        if nets or check or json_file or history:
            raise NetcError(
                "--draw shows a run that was made: it takes no nets, --check, --json or --history"
            )
        if output is None:
            raise NetcError("--draw needs a file for its picture", remedy="name it with -o run.svg")
        draw_run(draw, output)
        return
    if history is not None:
        if nets or check or json_file:
            raise NetcError("--history shows runs that were made: it takes no nets, --check or --json")
        show_history(history, output)
        return
    if output is not None:
        raise NetcError(
            "-o names the picture of --history or --draw", remedy="write the measurements with --json FILE"
        )
    python = peer_python or sys.executable
    settings = Settings(
        nets=tuple(nets) or REFERENCE_NETS,
        batches=_numbers("--batch", batch or ("16" if train else "1,16"), MAX_BATCH),
        threads=_numbers("--threads", threads, MAX_THREADS),
        peers=_peers(peer_names, python, train),
        seconds=seconds,
        rounds=rounds,
        tolerance=tolerance,
        train=train,
        peer_python=python,
    )
    part = parse_margin(margin)
    earlier = _earlier(check) if check is not None else []  # a file that is none is said before the work
    to_file = json_file if json_file != STDOUT else None
    if to_file:
        _check_folder(to_file)
    with TemporaryDirectory() as folder:
        measurement = Measurement(settings, Path(folder), say)
        before = measure_machine(list(settings.threads))

        def keep(cases: list[Case]) -> None:
            if to_file:  # a run takes hours: what was measured outlasts an interruption
                write_run(to_file, run_data(settings, cases, measurement.versions, before))

        cases = measurement.run(keep)
        machine = before.better_of(measure_machine(list(settings.threads)))
    data = run_data(settings, cases, measurement.versions, machine)
    if json_file == STDOUT:
        put_json(data)
    else:
        put(report(settings, cases, measurement.versions, measurement.notes, machine))
    if to_file:
        write_run(to_file, data)
        say(f"wrote {to_file}")
    errors = [timing.error for case in cases for e, timing in case.timings.items() if e == SUBJECT]
    failed = [error for error in errors if error is not None]
    if failed:
        raise CheckFailed(f"netc could not be timed: {failed[0]}")
    wrong = sorted({e for case in cases for e, timing in case.timings.items() if not timing.agrees})
    if wrong:
        raise CheckFailed(f"the outputs of {', '.join(wrong)} differ by more than {tolerance:g}")
    if check is not None:
        _check(check, earlier, data, part, to_stdout=json_file != STDOUT)


def parse_margin(text: str) -> float:
    """``10%`` or ``0.1`` as a part of one."""
    number = text.strip().removesuffix("%")
    try:
        value = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise NetcError(f"--margin: '{text}' is no part of a ratio", remedy="write it as 10%")
    return value


def _numbers(option: str, text: str, largest: int) -> tuple[int, ...]:
    found = []
    for word in text.split(","):
        number = word.strip()
        if not (number.isascii() and number.isdecimal() and 1 <= int(number) <= largest):
            raise NetcError(
                f"{option}: '{word}' is no number of 1 … {largest}", remedy=f"write it as {option} 1,2"
            )
        found.append(int(number))
    return tuple(dict.fromkeys(found))


def _peers(names: str | None, python: str, train: bool) -> tuple[str, ...]:
    """The peers asked for, which must be there; without a choice all that are."""
    known = peers(train=train)
    chosen = (
        known if names is None else tuple(dict.fromkeys(n.strip() for n in names.split(",") if n.strip()))
    )
    if unknown := [name for name in chosen if name not in known]:
        what = "trains nothing" if unknown[0] in ENGINES else "is no engine"
        raise NetcError(f"--peers: '{unknown[0]}' {what}", remedy=f"choose from {', '.join(known)}")
    if not chosen:
        return ()
    packages = installed_packages(python)
    missing = {name: [p for p in ENGINES[name].packages if p not in packages] for name in chosen}
    lacking = {name: lacks for name, lacks in missing.items() if lacks}
    if names is not None and lacking:
        name, lacks = next(iter(lacking.items()))
        raise NetcError(
            f"the peer {name} needs {', '.join(lacks)}, which {python} does not have",
            remedy="install the peers with: pip install 'netc[bench]', or give --peer-python",
        )
    for name, lacks in lacking.items():
        say(f"without {ENGINES[name].title}: {python} has no {', '.join(lacks)}")
    return tuple(name for name in chosen if name not in lacking)


def _check_folder(path: str) -> None:
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise NetcError(f"{path}: the folder '{folder}' cannot be written to", remedy="create it")


def _earlier(path: str) -> list[Run]:
    return read_history(path) if os.path.isdir(path) else [read_run(path)]


def _check(
    path: str, earlier: Sequence[Run], data: dict[str, Any], margin: float, *, to_stdout: bool
) -> None:
    """Compare with the baseline; of a folder with the newest run of this kind of machine."""
    run = parse_run("this run", data)
    show = put if to_stdout else say
    if os.path.isdir(path):
        baseline = newest_like(earlier, run)
        if baseline is None:
            say(f"{path}: no run like this one on {run.cpu} yet: nothing to check")
            return
    else:
        (baseline,) = earlier
    if baseline.cpu != run.cpu:
        say(f"note: {baseline.name} was measured on {baseline.cpu}, this run on {run.cpu}")
    comparison = compare(baseline, run)
    show(f"\n{check_report(comparison, margin)}")
    if any(change.is_worse(margin) for change in comparison.changes):
        raise CheckFailed(f"slower than {baseline.name}")
