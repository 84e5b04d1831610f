"""Functions that callers have run within every iteration: before it begins, and before its update."""

from __future__ import annotations

from collections.abc import Callable

from netc.runtime.memory import Array
from netc.runtime.solver.callbacks import check_callbacks

OnGradients = Callable[[dict[str, list[Array | None]]], object]
"""Gets layer name -> the gradients of its parameters; None for what does not learn."""


class Hooks:
    """Called in the order in which they were added."""

    def __init__(self) -> None:
        self._on_start: list[Callable[[], object]] = []
        self._on_gradients: list[OnGradients] = []

    def add(self, on_iteration_start: Callable[[], object] | None, on_gradients: OnGradients | None) -> None:
        """Add functions; None for none."""
        check_callbacks(on_iteration_start=on_iteration_start, on_gradients=on_gradients)
        if on_iteration_start is not None:
            self._on_start.append(on_iteration_start)
        if on_gradients is not None:
            self._on_gradients.append(on_gradients)

    @property
    def see_starts(self) -> bool:
        """Whether somebody looks on before each iteration."""
        return bool(self._on_start)

    @property
    def see_gradients(self) -> bool:
        """Whether somebody looks on before each update."""
        return bool(self._on_gradients)

    def start(self) -> None:
        """An iteration begins."""
        for call in self._on_start:
            call()

    def gradients_ready(self, gradients: dict[str, list[Array | None]]) -> None:
        """An update is about to be made."""
        for call in self._on_gradients:
            call(gradients)
