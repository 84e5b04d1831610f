"""What a run needs beyond weights and histories to go on bit by bit: taken from its nets, and given back."""

from __future__ import annotations

from collections.abc import Sequence

from netc.frontend.solver_state import ResumeState
from netc.runtime.solver.loss_average import LossAverage
from netc.runtime.solver.test_net import TestNet
from netc.runtime.solver.train_net import TrainNet

_TRAIN = "train/"


def take_resume_state(
    seed: int, average: LossAverage, train: TrainNet, tests: Sequence[TestNet]
) -> ResumeState:
    """Where the run stands now."""
    states = {f"{_TRAIN}{name}": array for name, array in train.step.states.items()}
    for index, net in enumerate(tests):
        states.update({f"{_test(index)}{name}": array for name, array in net.module.states.items()})
    return ResumeState(
        seed,
        train.feed.position,
        tuple(net.feed.position for net in tests),
        float(average.value),
        average.window,
        states,
    )


def give_resume_state(
    resume: ResumeState, average: LossAverage, train: TrainNet, tests: Sequence[TestNet]
) -> None:
    """Go on there. States of layers that have changed since begin anew."""
    average.restore(resume.smoothed_loss, resume.losses)
    train.feed.seek(resume.train_batches)
    for name, array in train.step.states.items():
        saved = resume.states.get(f"{_TRAIN}{name}")
        if saved is not None and (saved.shape, saved.dtype) == (array.shape, array.dtype):
            array[...] = saved
    for index, (net, position) in enumerate(zip(tests, resume.test_batches, strict=False)):
        net.feed.seek(position)
        prefix = _test(index)
        net.module.restore_states(
            {name.removeprefix(prefix): a for name, a in resume.states.items() if name.startswith(prefix)}
        )


def _test(index: int) -> str:
    return f"test{index}/"
