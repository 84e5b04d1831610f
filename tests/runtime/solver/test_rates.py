import numpy as np
import pytest

from netc.frontend.net_file import load_solver
from netc.ir.diagnostics import NetcError
from netc.runtime.solver.loss_average import LossAverage
from netc.runtime.solver.rates import RatePolicy

CASES = {
    'lr_policy: "fixed"': lambda i: 0.5,
    'lr_policy: "step" gamma: 0.5 stepsize: 3': lambda i: 0.5 * 0.5 ** (i // 3),
    'lr_policy: "exp" gamma: 0.9': lambda i: 0.5 * 0.9**i,
    'lr_policy: "inv" gamma: 0.1 power: 0.75': lambda i: 0.5 * (1 + 0.1 * i) ** -0.75,
    'lr_policy: "multistep" gamma: 0.1 stepvalue: 2 stepvalue: 5': lambda i: (
        0.5 * 0.1 ** (sum(i >= s for s in (2, 5)))
    ),
    'lr_policy: "poly" power: 2 max_iter: 20': lambda i: 0.5 * (1 - i / 20) ** 2,
    'lr_policy: "sigmoid" gamma: -0.3 stepsize: 6': lambda i: 0.5 / (1 + np.exp(0.3 * (i - 6))),
}


def policy(text):
    return RatePolicy(load_solver(f"base_lr: 0.5 {text}\n"))


@pytest.mark.parametrize("text", CASES)
def test_a_policy_follows_its_formula(text):
    rates = policy(text)
    for iteration in range(12):
        assert rates.rate(iteration) == pytest.approx(CASES[text](iteration), rel=2e-6)


def test_the_rates_of_inv_are_those_in_the_log_that_the_original_published():
    rates = RatePolicy(load_solver('base_lr: 0.01 lr_policy: "inv" gamma: 0.0001 power: 0.75\n'))
    logged = {
        100: "0.00992565",
        200: "0.00985258",
        500: "0.00964069",
        9900: "0.00596843",
        10000: "0.00594604",
    }
    assert {i: f"{rates.rate(i):g}" for i in logged} == logged


def test_multistep_takes_at_most_one_step_an_iteration():
    rates = policy('lr_policy: "multistep" gamma: 0.1 stepvalue: 2 stepvalue: 5')
    assert rates.rate(9) == pytest.approx(0.05)
    assert rates.rate(10) == pytest.approx(0.005)
    assert rates.current_step == 2


def test_a_polynomial_has_no_rate_beyond_its_end():
    with pytest.raises(NetcError, match=r"gives no rate for iteration 21") as error:
        policy('lr_policy: "poly" power: 0.5 max_iter: 20').rate(21)
    assert error.value.location.line == 1


def test_the_reported_loss_is_the_mean_of_the_last_ones():
    average = LossAverage(3)
    assert [average.add(x) for x in (1, 3, 5, 7, 0)] == pytest.approx([1, 2, 3, 5, 4])
    again = LossAverage(3)
    again.restore(float(average.value), average.window)
    assert again.add(2.5) == average.add(2.5)
    average.reset()
    assert average.add(9) == 9
