"""Snapshots of a training run: the weights, and the state of the solver that belongs to them.

Both files appear whole or not at all, the weights first: whoever finds a state finds its weights.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from netc.frontend.hdf5_weights import write_hdf5
from netc.frontend.solver_state import ResumeState, SolverState, load_solver_state, write_solver_state
from netc.frontend.weights import load_weights
from netc.frontend.write_caffemodel import write_caffemodel
from netc.ir.diagnostics import NetcError
from netc.runtime.load_params import loaded_params
from netc.runtime.memory import Array
from netc.runtime.params import ParamEntry
from netc.runtime.shapes import show_shape
from netc.runtime.solver.reports import SnapshotReport
from netc.runtime.solver.train_net import TrainNet


def write_snapshot(
    prefix: str, *, hdf5: bool, train: TrainNet, iteration: int, current_step: int, resume: ResumeState
) -> SnapshotReport:
    """Write ``PREFIX_iter_N.caffemodel`` and ``.solverstate``, both with ``.h5`` at the end for HDF5."""
    suffix = ".h5" if hdf5 else ""
    weights = f"{prefix}_iter_{iteration}.caffemodel{suffix}"
    state = f"{prefix}_iter_{iteration}.solverstate{suffix}"
    for path in (weights, state):
        _remove_leftovers(path)
    write_weights(weights, train)
    write_solver_state(state, SolverState(iteration, weights, _histories(train), current_step, resume))
    return SnapshotReport(iteration, weights, state)


def write_weights(path: str, train: TrainNet) -> None:
    """Write the parameters of a net as they are now; a path that ends in ``.h5`` is written as HDF5."""
    blobs: dict[int, list[Array]] = {}
    params = train.store.arrays
    for info in train.net.params:
        if info.learnable:
            array = params[info.value.name].reshape(info.shape)
            blobs.setdefault(info.owner, []).append(array)
    messages = train.message.messages("layer")
    layers = [(messages[i].text("name"), messages[i].text("type"), arrays) for i, arrays in blobs.items()]
    if path.endswith(".h5"):
        write_hdf5(path, layers)
    else:
        write_caffemodel(path, train.message.text("name"), layers)


def read_snapshot(path: str, train: TrainNet) -> tuple[SolverState, tuple[str, ...]]:
    """Take weights and histories from a snapshot; the rest of the state, and what the user should know.

    Nothing of the net is changed if the snapshot does not fit.
    """
    state = load_solver_state(path)
    notes: list[str] = []
    histories = _match_histories(path, state.history, train)
    if state.learned_net:
        weights = _weights_path(path, state.learned_net, notes)
        arrays, warnings = loaded_params(train.net, load_weights(weights))
        notes += warnings
        for name, array in arrays.items():
            train.store.assign(name, array)
    else:
        notes.append(f"warning: {path} names no weights: those of the net stay as they are")
    for own, found in histories:
        own[...] = found
    return state, tuple(notes)


def _entries(train: TrainNet) -> list[ParamEntry]:
    """The parameters that have a place in the histories, in the original's order: learned ones and fixed."""
    return [entry for entry in train.store.entries if entry.uses]


def _histories(train: TrainNet) -> list[Array]:
    """All first histories, then all second ones; zeros for parameters that do not learn."""
    count, histories = train.step.rule.histories, train.step.history
    found: list[Array] = []
    for index in range(count):
        for entry in _entries(train):
            own = histories.get(entry.value)
            found.append(np.zeros(entry.shape, np.float32) if own is None else own[index])
    return found


def _match_histories(path: str, found: Sequence[Array], train: TrainNet) -> list[tuple[Array, Array]]:
    """Pairs of the step's histories and their new contents; NetcError if they are those of another run."""
    entries, kinds, histories = _entries(train), train.step.rule.histories, train.step.history
    if len(found) != kinds * len(entries):
        raise NetcError(
            f"{path}: it has {len(found)} histories, and {train.step.rule.kind} keeps {kinds} for each "
            f"of the net's {len(entries)} parameters",
            remedy="continue with the net and the solver type of that run",
        )
    pairs = []
    for position, array in enumerate(found):
        entry = entries[position % len(entries)]
        if array.size != int(np.prod(entry.shape)):
            layer, index = entry.uses[0]
            raise NetcError(
                f"{path}: the history of blob {index} is {show_shape(array.shape)}, and the blob "
                f"{show_shape(entry.shape)}",
                layer=layer,
                remedy="continue with the net of that run",
            )
        own = histories.get(entry.value)
        if own is not None:
            pairs.append((own[position // len(entries)], array.reshape(entry.shape)))
    return pairs


def _weights_path(state: str, learned_net: str, notes: list[str]) -> str:
    """Where the weights of a state lie: at their path, or beside the state if they were moved together."""
    if os.path.exists(learned_net):
        return learned_net
    beside = os.path.join(os.path.dirname(state), os.path.basename(learned_net))
    if os.path.exists(beside):
        notes.append(f"note: no '{learned_net}' in the current directory: reading {beside}")
        return beside
    raise NetcError(
        f"{state}: its weights '{learned_net}' do not exist",
        remedy=f"put them there, or beside it, as {beside}",
    )


def _remove_leftovers(path: str) -> None:
    """Remove what earlier runs left that were killed while they wrote this file."""
    for leftover in glob.glob(f"{glob.escape(path)}.*.partial"):
        with suppress(OSError):
            os.unlink(leftover)
