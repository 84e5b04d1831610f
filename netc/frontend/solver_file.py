"""Reads a solver and the nets that it names: one to train, and those to test."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from netc.frontend.message import Message
from netc.frontend.net_file import is_prototxt, load_solver, read_net, select_layers
from netc.frontend.solver_check import check_solver
from netc.ir.diagnostics import NetcError

_TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")
_DEFAULT_PREFIX = "solver"


@dataclass(frozen=True, slots=True)
class SolverNet:
    """A net of a solver: the layers of its state, and which of the solver's fields it comes from.

    ``iterations`` is the number of batches of a test; 0 for the net to train.
    """

    message: Message
    source: str
    iterations: int = 0

    @property
    def phase(self) -> str:
        """The phase that its layers were selected for."""
        return self.message.message("state").text("phase")


@dataclass(frozen=True, slots=True)
class SolverFile:
    """A solver of the current generation, checked, with its nets. ``warnings`` are texts for the user."""

    param: Message
    train: SolverNet
    tests: tuple[SolverNet, ...]
    snapshot_prefix: str
    warnings: tuple[str, ...]


def read_solver(
    source: str | os.PathLike[str] | Message,
    *,
    level: int = 0,
    stages: Iterable[str] = (),
    kind: str | None = None,
) -> SolverFile:
    """A solver from a path, a text or a message.

    ``level`` and ``stages`` add to the state of the net to train, as the original's flags do; ``kind`` is the
    type of solver to be, whatever it states. A net's path
    starts at the current directory; where nothing is there, beside the solver's file.
    """
    param = source.copy() if isinstance(source, Message) else load_solver(source)
    file = None if isinstance(source, Message) or is_prototxt(source) else Path(source)
    if kind is not None:
        param.set("type", kind, param.where("type"))
    warnings = list(check_solver(param))
    if level:
        param.ensure("train_state").set("level", level)
    for stage in stages:
        param.ensure("train_state").add("stage", stage)
    reader = _NetReader(file, warnings)
    train = _train_net(param, reader)
    tests = _test_nets(param, reader)
    return SolverFile(param, train, tests, _snapshot_prefix(param, file), tuple(warnings))


def _train_net(param: Message, reader: _NetReader) -> SolverNet:
    stated = [name for name in _TRAIN_FIELDS if param.has(name)]
    if len(stated) != 1:
        got = f"; this one has {' and '.join(stated)}" if stated else ""
        raise NetcError(
            f"a solver names the net to train in one of the fields {', '.join(_TRAIN_FIELDS)}{got}",
            location=param.where(stated[1]) if stated else param.location,
        )
    net = reader.read(param, stated[0])
    states = [net.message("state"), param.message("train_state")]
    return SolverNet(_with_state(net, "TRAIN", states), _label(param, stated[0]))


def _test_nets(param: Message, reader: _NetReader) -> tuple[SolverNet, ...]:
    iterations = param.integers("test_iter")
    own = [("test_net_param", i) for i in range(len(param.list("test_net_param")))]
    own += [("test_net", i) for i in range(len(param.list("test_net")))]
    shared = next((name for name in ("net_param", "net") if param.has(name)), None)
    if len(iterations) < len(own) or (shared is None and len(iterations) != len(own)):
        raise NetcError(
            f"each test net needs a test_iter: there are {len(own)} test nets, {len(iterations)} test_iter",
            location=param.where("test_iter"),
            remedy=None
            if len(iterations) < len(own)
            else "name the nets in test_net, or a net for both phases in net",
        )
    fields = own + [(shared, 0) for _ in iterations[len(own) :] if shared is not None]
    states = param.messages("test_state")
    if states and len(states) != len(fields):
        raise NetcError(
            f"test_state is given for each test net or for none: there are {len(fields)} test nets and "
            f"{len(states)} test_state",
            location=param.where("test_state", min(len(states), len(fields)) - (len(states) < len(fields))),
        )
    nets = []
    for index, (name, position) in enumerate(fields):
        net = reader.read(param, name, position)
        chosen = _with_state(net, "TEST", [net.message("state"), *states[index : index + 1]])
        nets.append(SolverNet(chosen, _label(param, name, position), iterations[index]))
    return tuple(nets)


def _with_state(net: Message, phase: str, states: Iterable[Message]) -> Message:
    """The layers of the state that the later states make of the earlier ones, as protobuf merges messages."""
    level = 0
    stages: list[str] = []
    for state in states:
        phase = state.text("phase") if state.has("phase") else phase
        level = state.integer("level") if state.has("level") else level
        stages += state.texts("stage")
    return select_layers(net, phase, level, stages)


def _label(param: Message, name: str, index: int = 0) -> str:
    """How the original's log names the source of a net."""
    return name if name.endswith("_param") else f"{name} file: {param.list(name)[index]!s}"


def _snapshot_prefix(param: Message, file: Path | None) -> str:
    """The stated prefix; else, or inside of a stated folder, the solver's own name, as in the original."""
    name = _DEFAULT_PREFIX if file is None else file.stem
    prefix = param.text("snapshot_prefix")
    if not prefix:
        return name if file is None else os.fspath(file.with_suffix(""))
    return os.path.join(prefix, name) if os.path.isdir(prefix) else prefix


class _NetReader:
    """Reads the nets of a solver; a file is read once."""

    def __init__(self, file: Path | None, warnings: list[str]) -> None:
        self._folder = None if file is None else file.parent
        self._warnings = warnings
        self._known: dict[str, Message] = {}

    def read(self, param: Message, name: str, index: int = 0) -> Message:
        """The net in a field: a message, or the path of one."""
        value = param.list(name)[index]
        if isinstance(value, Message):
            return value
        text = str(value)
        if text not in self._known:
            self._known[text] = read_net(Path(self._found(text, param, name, index)))
        return self._known[text]

    def _found(self, text: str, param: Message, name: str, index: int) -> str:
        """Where the net lies; the user is told when it is not where the original would look."""
        if os.path.exists(text):
            return text
        tried = [text]
        if self._folder is not None:
            beside = {os.path.join(self._folder, text), os.path.join(self._folder, os.path.basename(text))}
            for path in sorted(beside, key=len, reverse=True):
                if os.path.exists(path):
                    where = param.where(name, index)
                    self._warnings.append(
                        f"{where}: note: no '{text}' in the current directory: reading {path}"
                    )
                    return path
            tried += sorted(beside)
        raise NetcError(
            f"the net '{text}' does not exist",
            location=param.where(name, index),
            notes=(f"looked for {', '.join(tried)}",),
            remedy="a path starts at the current directory, as in Caffe, or else at the solver's folder",
        )
