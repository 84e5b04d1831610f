"""What Caffe's Python interface has for training, which is not there yet: every use says so."""

from __future__ import annotations

from typing import Any, NoReturn

from netc.ir.diagnostics import NetcError


def no_training(what: str) -> NoReturn:
    """Refuse a use of training."""
    raise NetcError(f"{what} needs training, which netc does not have yet", remedy="inference works")


def get_solver(*_: Any) -> NoReturn:
    """Refused: there are no solvers yet."""
    no_training("get_solver")


class SGDSolver:
    """Refused: there are no solvers yet."""

    def __init__(self, *_: Any) -> None:
        no_training(type(self).__name__)


class NesterovSolver(SGDSolver):
    """Refused: there are no solvers yet."""


class AdaGradSolver(SGDSolver):
    """Refused: there are no solvers yet."""


class RMSPropSolver(SGDSolver):
    """Refused: there are no solvers yet."""


class AdaDeltaSolver(SGDSolver):
    """Refused: there are no solvers yet."""


class AdamSolver(SGDSolver):
    """Refused: there are no solvers yet."""
