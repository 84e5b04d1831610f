"""The state of a solver as the original keeps it in ``.solverstate`` and ``.solverstate.h5`` files."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netc.frontend.atomic_file import atomic_file
from netc.frontend.binary import ProtobufMessage, message_class, parse_binary
from netc.frontend.binary_file import BinaryFile, is_hdf5, open_binary
from netc.frontend.caffemodel import cut_solver_state
from netc.frontend.hdf5_solver_state import read_hdf5_state, write_hdf5_state
from netc.frontend.protobuf_messages import as_text
from netc.frontend.weights import Array, blob_array
from netc.frontend.wire import VARINT, length_prefix, varint
from netc.frontend.write_caffemodel import blob_head, text_field
from netc.ir.diagnostics import NetcError

HDF5_SUFFIX = ".h5"
STATE_DTYPES = ("float32", "float64", "int32", "int64", "uint64")

# the numbers of SolverState's fields
_ITER, _LEARNED_NET, _HISTORY, _CURRENT_STEP, _RESUME = 1, 2, 3, 4, 20000


@dataclass(frozen=True, slots=True)
class ResumeState:
    """What netc keeps beyond the original's content, so that a run goes on bit by bit.

    ``losses`` are those that ``smoothed_loss`` is the mean of, oldest first; ``states`` what passes leave for
    the next: the state of the random numbers, hidden states. ``test_batches`` has a number for each test net.
    """

    seed: int
    train_batches: int
    test_batches: tuple[int, ...]
    smoothed_loss: float
    losses: tuple[float, ...]
    states: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SolverState:
    """Where a run stands: the next iteration, the file of its weights, and the histories of its update rule.

    ``resume`` is None in files of the original.
    """

    iteration: int
    learned_net: str
    history: Sequence[Array]
    current_step: int = 0
    resume: ResumeState | None = None


def load_solver_state(path: str | os.PathLike[str]) -> SolverState:
    """The state in a file of either format."""
    if is_hdf5(path):
        return _checked(os.fspath(path), _from_hdf5(os.fspath(path)))
    with open_binary(path) as file:
        cut = cut_solver_state(file)
        message = cut.message
        if not message.HasField("iter"):
            raise file.error("no iteration in it: not a solverstate")
        history = [blob_array(file, blob, f"history {i}: ") for i, blob in enumerate(cut.history)]
        resume = _from_message(file, message.resume) if message.HasField("resume") else None
        state = SolverState(message.iter, as_text(message.learned_net), history, message.current_step, resume)
    return _checked(os.fspath(path), state)


def write_solver_state(path: str | os.PathLike[str], state: SolverState) -> None:
    """Write a state, as HDF5 where the path ends so; the file appears under its name when it is whole."""
    if os.fspath(path).endswith(HDF5_SUFFIX):
        resume = None if state.resume is None else _as_message(state.resume).SerializeToString()
        write_hdf5_state(path, state.iteration, state.learned_net, state.current_step, state.history, resume)
        return
    with atomic_file(path) as file:
        file.write(varint(_ITER << 3 | VARINT) + varint(state.iteration))
        file.write(text_field(_LEARNED_NET, state.learned_net))
        for each in state.history:
            array = np.asarray(each, "<f4", order="C")
            head = blob_head(array)
            file.write(length_prefix(_HISTORY, len(head) + array.nbytes) + head)
            file.write(array.reshape(-1).view(np.uint8).data)
        file.write(varint(_CURRENT_STEP << 3 | VARINT) + varint(state.current_step))
        if state.resume is not None:
            encoded = _as_message(state.resume).SerializeToString()
            file.write(length_prefix(_RESUME, len(encoded)) + encoded)


def _from_hdf5(path: str) -> SolverState:
    iteration, learned_net, current_step, history, encoded = read_hdf5_state(path)
    resume = None
    if encoded is not None:
        try:
            message = parse_binary("ResumeState", encoded)
        except ValueError:
            raise NetcError(f"{path}: damaged: netc's part of it is no message") from None
        resume = _from_message(path, message)
    return SolverState(iteration, learned_net, history, current_step, resume)


def _as_message(resume: ResumeState) -> ProtobufMessage:
    message = message_class("ResumeState")(
        seed=resume.seed, train_batches=resume.train_batches, smoothed_loss=resume.smoothed_loss
    )
    message.test_batches.extend(resume.test_batches)
    message.losses.extend(resume.losses)
    for name, array in resume.states.items():
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        message.states.add(name=name, dtype=array.dtype.name, dim=array.shape, data=little.tobytes())
    return message


def _from_message(source: BinaryFile | str, message: ProtobufMessage) -> ResumeState:
    states = {as_text(each.name): _state_array(source, each) for each in message.states}
    return ResumeState(
        message.seed,
        message.train_batches,
        tuple(message.test_batches),
        message.smoothed_loss,
        tuple(message.losses),
        states,
    )


def _state_array(source: BinaryFile | str, message: ProtobufMessage) -> NDArray[Any]:
    name, shape = as_text(message.name), tuple(message.dim)
    path = source if isinstance(source, str) else source.path
    if as_text(message.dtype) not in STATE_DTYPES or any(extent < 0 for extent in shape):
        raise NetcError(f"{path}: the state '{name}' is no array")
    dtype = np.dtype(as_text(message.dtype)).newbyteorder("<")
    if math.prod(shape) * dtype.itemsize != len(message.data):
        raise NetcError(f"{path}: the state '{name}' has {len(message.data)} bytes, which are not its shape")
    array = np.frombuffer(message.data, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


def _checked(path: str, state: SolverState) -> SolverState:
    resume = state.resume
    numbers = [state.iteration, state.current_step]
    if resume is not None:
        numbers += [resume.seed, resume.train_batches, *resume.test_batches]
    if min(numbers) < 0:
        raise NetcError(f"{path}: damaged: it has a negative iteration, step, seed or number of batches")
    return state
