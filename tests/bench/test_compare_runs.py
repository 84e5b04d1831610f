"""Files of runs, the check against an earlier run, and the history."""

from dataclasses import replace

import pytest

import netc
from netc.bench.cases import Case, Timing
from netc.bench.check import FMA_PEAK, compare
from netc.bench.history import newest_like, read_history, series_of
from netc.bench.machine import Machine
from netc.bench.measure import Settings
from netc.bench.report import check_report
from netc.bench.run_file import BEST, Row, Run, parse_run, read_run, run_data, write_run

KEY = ("net", 1, 2, False)
OTHER = ("other", 1, 2, False)
SETTINGS = Settings(("net",), (1,), (2,), ("torch", "ort"), 1.0, 1, 1e-3, False, "python")
MACHINE = Machine("a cpu", 1 << 20, {2: 100.0}, {2: 10.0})


def run(*rows: Row, cpu: str = "a cpu", date: str = "2026-01-01T00:00:00Z") -> Run:
    return Run("base.json", date, cpu, {"netc": "1"}, rows)


def row(fma: float | None = 0.5, key=KEY, **ratios: float) -> Row:
    best = {BEST: min(ratios.values())} if ratios else {}
    return Row(key, ratios | best, fma)


def measured(**ms: float) -> list[Case]:
    timings = {engine: Timing(rounds=[value], low=value, difference=0.0) for engine, value in ms.items()}
    return [Case("net", 1, 50_000_000, 1000, threads=2, reference="torch", timings=timings)]


def test_a_run_is_read_as_it_was_written(tmp_path):
    data = run_data(SETTINGS, measured(netc=2.0, torch=3.0, ort=5.0), {"netc": "1"}, MACHINE)
    path = str(tmp_path / "run.json")
    write_run(path, data)
    found = read_run(path)
    assert found.rows == (Row(KEY, {"torch": 1.5, "ort": 2.5, BEST: 1.5}, 0.5, over_floor=2.0),)
    assert (found.cpu, found.versions, found.date) == ("a cpu", {"netc": "1"}, data["date"])
    assert parse_run("x", data) == replace(found, name="x")


def test_a_result_is_a_line_of_the_file(tmp_path):
    path = tmp_path / "run.json"
    write_run(str(path), run_data(SETTINGS, measured(netc=2.0) * 3, {}, MACHINE))
    assert sum(line.startswith('{"net"') for line in path.read_text().splitlines()) == 3


def test_what_was_wrong_has_no_ratio():
    cases = measured(netc=2.0, torch=3.0, ort=5.0)
    cases[0].timings["ort"] = Timing(error="died")
    assert parse_run("x", run_data(SETTINGS, cases, {}, MACHINE)).rows[0].ratios == {"torch": 1.5, BEST: 1.5}
    cases[0].timings["netc"].agrees = False
    assert parse_run("x", run_data(SETTINGS, cases, {}, MACHINE)).rows == (Row(KEY, {}, None),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "no run of netc bench"),
        ("{}", "no run of netc bench: 'settings'"),
        ('{"settings": {"train": 1}}', "expected bool, got 1"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_file_that_is_no_run_is_refused(tmp_path, text, message):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(netc.NetcError, match=message):
        read_run(str(path))


@pytest.mark.parametrize("ratio", [0, -1.0, True, "1", None])
def test_a_ratio_that_is_none_is_refused(ratio):
    data = run_data(SETTINGS, measured(netc=2.0, torch=3.0), {}, MACHINE)
    data["results"][0]["ratios"]["torch"] = ratio
    with pytest.raises(netc.NetcError, match="expected a positive number"):
        parse_run("x", data)


def test_a_ratio_may_be_worse_by_the_margin():
    changes = compare(run(row(1.0, torch=2.0)), run(row(0.91, torch=1.7))).changes
    assert [(c.what, c.is_worse(0.1)) for c in changes] == [("torch", True), (BEST, True), (FMA_PEAK, False)]
    assert not any(change.is_worse(0.16) for change in changes)


def test_what_got_better_is_not_worse():
    assert not any(c.is_worse(0) for c in compare(run(row(0.5, torch=2.0)), run(row(0.6, torch=3.0))).changes)


def test_a_row_that_netc_no_longer_runs_is_worse_by_any_margin():
    (change,) = compare(run(row(0.5, torch=2.0)), run(Row(KEY, {}, None))).changes
    assert change.what == FMA_PEAK
    assert change.is_worse(0.99)


def test_peers_that_were_not_measured_are_named_and_change_the_best_peer():
    found = compare(run(row(torch=2.0, ort=1.5)), run(row(torch=2.0)))
    assert [change.what for change in found.changes] == [FMA_PEAK, "torch"]
    assert found.left_out == ("net, batch 1, 2 threads: ort was not measured",)


def test_rows_that_were_not_run_are_named():
    found = compare(run(row(), row(key=OTHER)), run(row()))
    assert found.left_out == ("other, batch 1, 2 threads was not run",)


def test_a_check_that_compares_nothing_does_not_pass():
    with pytest.raises(netc.NetcError, match="nothing of this run can be compared"):
        compare(run(row(key=OTHER)), run(row()))


def test_the_report_of_a_check_lists_what_got_worse():
    found = compare(run(row(0.5, torch=2.0)), run(row(0.5, torch=1.0)))
    assert check_report(found, 0.1).splitlines() == [
        "2 of 3 ratios got worse by more than 10 %:",
        "",
        "| net | batch | threads | ratio to | before | now | change |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| net | 1 | 2 | torch | 2.00 | 1.00 | -50.0 % |",
        "| net | 1 | 2 | best peer | 2.00 | 1.00 | -50.0 % |",
    ]
    assert check_report(found, 0.6).startswith(
        "None of 3 ratios got worse by more than 60 %. The lowest is -50.0 %: net, batch 1, 2 threads, torch."
    )


def test_the_history_is_in_the_order_of_dates(tmp_path):
    for name, date in (("a", "2026-02-01T00:00:00Z"), ("b", "2026-01-01T00:00:00Z")):
        data = run_data(SETTINGS, measured(netc=2.0, torch=3.0), {}, MACHINE)
        write_run(str(tmp_path / f"{name}.json"), data | {"date": date})
    (tmp_path / "notes.txt").write_text("no run")
    assert [each.date[:7] for each in read_history(str(tmp_path))] == ["2026-01", "2026-02"]


def test_a_series_has_a_place_for_every_run():
    runs = [run(row(0.5, torch=2.0), row(0.5, key=OTHER, torch=8.0)), run(), run(row(0.25, torch=3.0))]
    (series,) = series_of(runs)
    assert series.means == (pytest.approx(4.0), None, pytest.approx(3.0))
    assert series.fma_fractions == (pytest.approx(0.5), None, pytest.approx(0.25))
    assert series.nets == {"net": (2.0, None, 3.0), "other": (8.0, None, None)}


def test_forward_and_training_are_series_of_their_own():
    titles = [each.title for each in series_of([run(row(), row(key=("net", 16, 1, True)))])]
    assert titles == ["forward, batch 1, 2 threads", "training, batch 16, 1 thread"]


def test_the_baseline_of_a_folder_is_the_newest_run_of_the_machine():
    runs = [
        run(row(), date="1"),
        run(row(), date="2"),
        run(row(), cpu="b", date="3"),
        run(row(key=OTHER), date="4"),
    ]
    assert newest_like(runs, run(row())) is runs[1]
    assert newest_like([*runs, run(row(None), date="5")], run(row())) is runs[1]
    assert newest_like(runs, run(row(), cpu="c")) is None
