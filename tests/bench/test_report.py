"""Tables and arithmetic of the benchmark report."""

from dataclasses import replace

import pytest

from netc.bench.cases import Case, Timing, floor_ms, fraction_of_fma_peak, geometric_mean, ratios_of
from netc.bench.machine import Machine
from netc.bench.tables import agreement_table, memory_table, ratios_table, times_table

MACHINE = Machine("cpu", 1 << 20, {1: 100.0, 2: 200.0}, {1: 10.0, 2: 10.0})


def case(batch: int = 1, **ms: float) -> Case:
    timings = {engine: Timing(rounds=[value], difference=0.0) for engine, value in ms.items()}
    return Case("net", batch, macs=50_000_000, param_bytes=20_000_000, reference="torch", timings=timings)


def test_time_is_the_median_of_the_rounds():
    assert Timing(rounds=[3.0, 1.0, 2.0]).ms == 2.0


def test_floor_of_arithmetic():
    assert floor_ms(case(batch=16), MACHINE) == pytest.approx(1.0)  # 2 * 50 M / 100 GFLOP/s


def test_floor_of_reading_parameters_once_per_batch():
    assert floor_ms(case(batch=1), MACHINE) == pytest.approx(2.0)  # 20 MB / 10 GB/s


def test_parameters_in_cache_cost_no_reading():
    assert floor_ms(case(), replace(MACHINE, last_level_cache=32 << 20)) == pytest.approx(1.0)


def test_the_floor_is_that_of_as_many_threads():
    twice = case(batch=16)
    twice.threads = 2
    assert floor_ms(twice, MACHINE) == pytest.approx(0.5)


def test_the_fraction_of_the_peak_counts_the_multiplications_of_direct_convolution():
    assert fraction_of_fma_peak(case(netc=2.0), MACHINE) == pytest.approx(0.5)
    assert fraction_of_fma_peak(case(torch=2.0), MACHINE) is None


def test_of_two_measurements_of_a_machine_the_higher_peaks_count():
    other = Machine("cpu", 1 << 20, {1: 90.0, 2: 210.0}, {1: 11.0, 2: 9.0})
    joined = MACHINE.better_of(other)
    assert (joined.gflops, joined.gbytes) == ({1: 100.0, 2: 210.0}, {1: 11.0, 2: 10.0})


def test_ratio_above_one_means_netc_is_faster():
    assert ratios_of(case(netc=2.0, torch=3.0, ort=5.0), ["torch", "ort"]) == [1.5, 2.5, 1.5]


def test_ratio_without_netc_is_missing():
    assert ratios_of(case(torch=3.0), ["torch", "ort"]) == [None, None, None]


def test_geometric_mean_skips_what_is_missing():
    assert geometric_mean([2.0, None, 8.0]) == pytest.approx(4.0)
    assert geometric_mean([None]) is None


def test_wrong_results_have_no_time_and_no_ratio():
    wrong = case(netc=1.0, torch=3.0)
    wrong.timings["netc"].agrees = False
    wrong.timings["netc"].difference = 0.5
    assert ratios_of(wrong, ["torch"]) == [None, None]
    assert "~~1~~" in times_table([wrong], ["netc", "torch"], MACHINE)
    assert "5.0e-01 WRONG" in agreement_table([wrong], ["netc", "torch"])


def test_times_table():
    assert times_table([case(netc=2.5, torch=30.0)], ["netc", "torch", "ort"], MACHINE).splitlines() == [
        "| net | batch | netc | torch | onnxruntime | floor | netc / floor | best / floor |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| net | 1 | **2.5** | 30 | — | 2 | 1.2 | 1.2 |",
    ]


def test_ratios_table_ends_in_geometric_means():
    cases = [case(1, netc=1.0, torch=2.0), case(16, netc=1.0, torch=8.0)]
    assert ratios_table(cases, ["netc", "torch"]).splitlines()[2:] == [
        "| net | 1 | 2.00 | 2.00 |",
        "| net | 16 | 8.00 | 8.00 |",
        "| **geometric mean** | 1 | 2.00 | 2.00 |",
        "| **geometric mean** | 16 | 8.00 | 8.00 |",
        "| **geometric mean** | all | 4.00 | 4.00 |",
    ]


def test_memory_table():
    used = case(netc=1.0, torch=2.0)
    used.timings["netc"].peak_bytes = 131_469_312
    assert memory_table([used], ["netc", "torch"]).splitlines()[2] == "| net | 1 | 131 | — |"
