"""How a range is chosen from what was seen."""

from __future__ import annotations

import numpy as np
import pytest

from netc.ir.diagnostics import NetcError
from netc.runtime.calibration.range_choice import Observed, check_method


def seen(*batches: object) -> Observed:
    observed = Observed()
    for batch in batches:
        observed.widen(np.asarray(batch, np.float32))
    for batch in batches:
        observed.count(np.asarray(batch, np.float32))
    return observed


def test_max_is_all_that_was_seen() -> None:
    assert seen([-1, 2], [0, 5]).chosen("max", 99.0) == (-1.0, 5.0)


def test_a_percentile_cuts_the_rare_ends() -> None:
    values = np.concatenate([np.linspace(-1, 1, 9998), [-50, 80]])
    low, high = seen(values).chosen("percentile", 99.9)
    assert -1.1 < low <= -0.95
    assert 0.95 <= high < 1.1


def test_a_percentile_leaves_a_range_of_one_sign_at_zero() -> None:
    low, high = seen(np.linspace(0, 1, 1000)).chosen("percentile", 99.0)
    assert low == 0
    assert 0.97 < high <= 1


def test_the_least_error_cuts_an_outlier_and_keeps_what_is_evenly_spread() -> None:
    rng = np.random.default_rng(0)
    _, even = seen(rng.uniform(0, 1, 10_000)).chosen("mse", 0)
    assert even > 0.98
    _, cut = seen(np.append(rng.uniform(0, 1, 1_000_000), 3.0)).chosen("mse", 0)
    assert 0.9 < cut < 2


def test_a_tensor_of_one_value_has_its_range() -> None:
    assert seen([3, 3]).chosen("mse", 99.0) == (3.0, 3.0)
    assert seen([0, 0]).chosen("percentile", 99.0) == (0.0, 0.0)


@pytest.mark.parametrize(("method", "percentile"), [("mean", 99.0), ("max", 50.0), ("max", 101.0)])
def test_what_is_no_method_is_refused(method: str, percentile: float) -> None:
    with pytest.raises(NetcError):
        check_method(method, percentile)
