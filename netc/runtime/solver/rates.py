"""The learning rate policies, in the original's arithmetic: 32-bit floats, and doubles where it has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from netc.frontend.message import Message
from netc.ir.diagnostics import NetcError

Float = np.float32


@dataclass(frozen=True, slots=True)
class _Settings:
    """The fields of a solver that policies read, as 32-bit floats and integers."""

    base: np.float32
    gamma: np.float32
    power: np.float32
    stepsize: int
    stepvalues: tuple[int, ...]
    max_iter: int


class RatePolicy:
    """The learning rate of each iteration.

    ``current_step`` counts the steps that the policies step and multistep have taken; it belongs to a
    snapshot, as the original's multistep takes at most one step an iteration.
    """

    def __init__(self, solver: Message) -> None:
        self.name = solver.text("lr_policy")
        self.current_step = 0
        self._where = solver.where("lr_policy")
        self._settings = _Settings(
            Float(solver.number("base_lr")),
            Float(solver.number("gamma")),
            Float(solver.number("power")),
            solver.integer("stepsize"),
            solver.integers("stepvalue"),
            solver.integer("max_iter"),
        )

    def next_rate(self, iteration: int) -> float:
        """The rate that the iteration to come would have; may be called any number of times."""
        step = self.current_step
        try:
            return self.rate(iteration)
        finally:
            self.current_step = step

    def rate(self, iteration: int) -> float:
        """The rate of an iteration, which a 32-bit float holds. Call it once an iteration, in their order."""
        settings = self._settings
        if self.name == "step":
            self.current_step = iteration // settings.stepsize
        elif self.name == "multistep" and self.current_step < len(settings.stepvalues):
            self.current_step += iteration >= settings.stepvalues[self.current_step]
        with np.errstate(all="ignore"):
            rate = float(Float(_RATES[self.name](settings, iteration, self.current_step)))
        if not np.isfinite(rate):
            raise NetcError(
                f"the learning rate policy '{self.name}' gives no rate for iteration {iteration}",
                location=self._where,
                remedy="a polynomial ends at max_iter" if self.name == "poly" else None,
            )
        return rate


_Rate = Callable[[_Settings, int, int], float]


def _fixed(settings: _Settings, iteration: int, step: int) -> float:
    del iteration, step
    return float(settings.base)


def _steps(settings: _Settings, iteration: int, step: int) -> float:
    """Of step and multistep. A float to the power of an integer is a double in C++."""
    del iteration
    return float(settings.base) * float(np.float64(settings.gamma) ** step)


def _exp(settings: _Settings, iteration: int, step: int) -> float:
    del step
    return float(settings.base) * float(np.float64(settings.gamma) ** iteration)


def _inv(settings: _Settings, iteration: int, step: int) -> float:
    del step
    grown = Float(1) + settings.gamma * Float(iteration)
    return float(settings.base * np.power(grown, -settings.power))


def _poly(settings: _Settings, iteration: int, step: int) -> float:
    del step
    left = Float(1) - Float(iteration) / Float(settings.max_iter)
    return float(settings.base * np.power(left, settings.power))


def _sigmoid(settings: _Settings, iteration: int, step: int) -> float:
    del step
    distance = Float(iteration) - Float(settings.stepsize)
    return float(settings.base * (Float(1) / (Float(1) + np.exp(-settings.gamma * distance))))


_RATES: Mapping[str, _Rate] = {
    "fixed": _fixed,
    "step": _steps,
    "exp": _exp,
    "inv": _inv,
    "multistep": _steps,
    "poly": _poly,
    "sigmoid": _sigmoid,
}
