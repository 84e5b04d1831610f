import pytest

from netc.backends.llvm.machine_peak import measure_peaks
from netc.backends.llvm.target import host_target, parse_target


@pytest.mark.parametrize("threads", [1, 2])
def test_peaks_are_of_a_plausible_size(threads):
    peaks = measure_peaks(threads, host_target())
    assert peaks.threads == threads
    assert 0.5 < peaks.gflops < 500 * threads
    assert 0.2 < peaks.gbytes_per_s < 2000


def test_plain_sse2_has_a_peak_too():
    assert measure_peaks(1, parse_target("cpu:sse2")).gflops > 0.5
