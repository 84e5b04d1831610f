"""Settings of the whole process, as Caffe has them: where nets run, and the seed of random numbers."""

from __future__ import annotations

import warnings

import numpy as np

from netc.frontend.layers.registry import layer_type_names

TRAIN, TEST = 0, 1


class _Settings:
    def __init__(self) -> None:
        self.target = "cpu"
        self.seeds = np.random.SeedSequence(0)


_settings = _Settings()


def set_mode_cpu() -> None:
    """Run nets that are made from now on on the CPU."""
    _settings.target = "cpu"


def set_mode_gpu() -> None:
    """Warn that nets run on the CPU."""
    warnings.warn("netc.pycaffe runs nets on the CPU; netc.compile has a target cuda", stacklevel=2)


def set_device(device: int) -> None:
    """Choose a GPU: of no effect, as nets run on the CPU."""
    del device


def set_random_seed(seed: int) -> None:
    """Begin the random numbers anew: nets made after it get the same first weights each time."""
    _settings.seeds = np.random.SeedSequence(seed % 2**64)


def next_seed() -> int:
    """A seed that nobody got before."""
    (child,) = _settings.seeds.spawn(1)
    return int(child.generate_state(1, np.uint64)[0])


def target() -> str:
    """What nets are compiled for."""
    return _settings.target


def layer_type_list() -> list[str]:
    """The types of layers that can be used."""
    return list(layer_type_names())


def init_log(*_: object) -> None:
    """Do nothing: there is no log."""


def log(message: str) -> None:
    """Do nothing: there is no log."""
    del message


def has_nccl() -> bool:
    """Whether several GPUs can work together."""
    return False


def solver_count() -> int:
    """How many solvers work together: one."""
    return 1


def solver_rank() -> int:
    """Which of the solvers this is: the first."""
    return 0
