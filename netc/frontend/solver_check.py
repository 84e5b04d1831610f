"""What a solver must state for its type and its learning rate policy, checked before anything is built."""

from __future__ import annotations

import os
from collections.abc import Mapping

from netc.frontend.message import Message
from netc.frontend.suggest import did_you_mean
from netc.ir.diagnostics import NetcError

SOLVER_KINDS = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
RATE_POLICIES: Mapping[str, tuple[str, ...]] = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma",),
    "poly": ("power", "max_iter"),
    "sigmoid": ("gamma", "stepsize"),
}
"""The policies with the fields that each reads."""

_WITHOUT_MOMENTUM = ("AdaGrad", "RMSProp")
_AT_LEAST: Mapping[str, int] = {
    "average_loss": 1, "iter_size": 1, "max_iter": 0, "display": 0, "snapshot": 0, "test_interval": 0,
}  # fmt: skip
_OF_NETS = ("layer", "layers")
_NO_EFFECT: Mapping[str, str] = {
    "snapshot_diff": "snapshots hold no gradients",
    "stepearly": "training goes on to max_iter",
}


def check_solver(solver: Message) -> tuple[str, ...]:
    """Refuse what cannot be trained as stated; the result are warnings."""
    net = next((field for field in solver.unknown if field.name in _OF_NETS), None)
    if net is not None:
        raise NetcError(
            "this is the definition of a net, and a solver is expected",
            location=net.location,
            remedy='write a solver that names it, net: "…", with base_lr, lr_policy and max_iter',
        )
    for name, least in _AT_LEAST.items():
        if solver.has(name) and solver.integer(name) < least:
            raise _error(solver, name, f"'{name}' must be at least {least}, got {solver.integer(name)}")
    _check_kind(solver)
    _check_policy(solver)
    _check_regularization(solver)
    _check_tests(solver)
    return tuple(_warnings(solver))


def check_snapshot_prefix(solver: Message, prefix: str) -> None:
    """Refuse a place for snapshots where no file can be written, before hours of training are lost there."""
    folder = os.path.dirname(prefix) or "."
    if not os.path.isdir(folder):
        raise _error(
            solver,
            "snapshot_prefix",
            f"the folder '{folder}' for snapshots does not exist",
            remedy="create it, or choose another snapshot_prefix",
        )
    if not os.access(folder, os.W_OK):
        raise _error(solver, "snapshot_prefix", f"the folder '{folder}' for snapshots cannot be written to")


def _check_kind(solver: Message) -> None:
    kind = solver.text("type")
    if kind not in SOLVER_KINDS:
        raise _error(
            solver,
            "type",
            f"unknown solver type '{kind}'; there are {', '.join(SOLVER_KINDS)}",
            remedy=did_you_mean(kind, SOLVER_KINDS),
        )
    if kind in _WITHOUT_MOMENTUM and solver.number("momentum"):
        raise _error(
            solver,
            "momentum",
            f"momentum cannot be used with {kind}",
            remedy="remove it, as the original demands",
        )
    fractions = {"RMSProp": ("rms_decay",), "Adam": ("momentum", "momentum2")}
    for name in fractions.get(kind, ()):
        if not 0 <= solver.number(name) < 1:
            raise _error(solver, name, f"'{name}' lies in 0 <= x < 1, got {solver.number(name):g}")


def _check_policy(solver: Message) -> None:
    policy = solver.text("lr_policy")
    if policy not in RATE_POLICIES:
        said = f"unknown learning rate policy '{policy}'" if policy else "'lr_policy' is missing"
        raise _error(
            solver,
            "lr_policy",
            f"{said}; there are {', '.join(RATE_POLICIES)}",
            remedy=did_you_mean(policy, RATE_POLICIES) or 'lr_policy: "fixed" keeps base_lr',
        )
    if not solver.has("base_lr"):
        raise _error(solver, "base_lr", "'base_lr' is missing: nothing would be learned")
    for name in RATE_POLICIES[policy]:
        if not solver.has(name):
            raise _error(solver, "lr_policy", f"the policy '{policy}' needs '{name}'")
    if "gamma" in RATE_POLICIES[policy] and solver.number("gamma") < 0:
        raise _error(solver, "gamma", f"'gamma' must be at least 0, got {solver.number('gamma'):g}")
    for name in ("stepsize", "max_iter"):
        if name in RATE_POLICIES[policy] and solver.integer(name) < 1:
            raise _error(
                solver,
                name,
                f"'{name}' must be at least 1 for the policy '{policy}', got {solver.integer(name)}",
            )


def _check_regularization(solver: Message) -> None:
    kind = solver.text("regularization_type")
    if kind not in ("L1", "L2"):
        raise _error(solver, "regularization_type", f"'regularization_type' is L1 or L2, got '{kind}'")


def _check_tests(solver: Message) -> None:
    for index, count in enumerate(solver.integers("test_iter")):
        if count < 0:
            where = solver.where("test_iter", index)
            raise NetcError(f"'test_iter' must be at least 0, got {count}", location=where)
    if solver.has("test_iter") and solver.integer("test_interval") < 1:
        raise _error(
            solver,
            "test_interval",
            "there is a test_iter, so 'test_interval' must be at least 1",
            remedy="say after how many iterations to test",
        )


def _warnings(solver: Message) -> list[str]:
    found = []
    if solver.has("solver_mode") and solver.text("solver_mode") == "GPU":
        found.append(f"{_at(solver, 'solver_mode')}note: solver_mode: GPU is ignored: the CPU does the work")
    for name, why in _NO_EFFECT.items():
        if solver.has(name):
            found.append(f"{_at(solver, name)}warning: {name} has no effect: {why}")
    for field in {field.name: field for field in reversed(solver.unknown)}.values():
        where = f"{field.location}: " if field.location else ""
        found.append(f"{where}warning: ignored unknown field {field.name}")
    return found


def _at(solver: Message, name: str) -> str:
    where = solver.where(name)
    return f"{where}: " if where else ""


def _error(solver: Message, name: str, text: str, remedy: str | None = None) -> NetcError:
    return NetcError(text, location=solver.where(name), remedy=remedy)
