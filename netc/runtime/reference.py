"""The target ``numpy``: a net run by the reference rules of its ops. Slow, and what the others must equal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from netc.backends.numpy_reference import run_func
from netc.ir.core import Func, Op, Role
from netc.runtime.lasting import LastingArray
from netc.runtime.memory import Array
from netc.runtime.params import ParamStore


class ReferenceProgram:
    """``main`` of a static tensor module, run op by op on the parameters and states as they are.

    What does not depend on ``late`` inputs is the forward pass.
    """

    def __init__(
        self, func: Func, params: ParamStore, states: Mapping[str, LastingArray], late: Collection[str] = ()
    ) -> None:
        self._func = func
        self._params = params
        self._states = {value.name: states[value.name] for value in func.states}
        self._forward, self._backward = _split(func, late)
        self._saved: dict[str, Array] = {}

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The results for these inputs, as arrays that share no memory with anything."""
        return self._run(self._func, arrays)

    def run_forward(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The results that do not depend on late inputs."""
        self._saved = dict(arrays) | {n: a.copy() for n, a in self._lasting(self._func).items()}
        results = self._run(self._forward, arrays)
        wanted = set(self._func.result_names)
        self._saved |= {name[1:]: a for name, a in results.items() if name not in wanted}
        return {name: a for name, a in results.items() if name in wanted}

    def run_backward(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The results that do, after :meth:`run_forward`."""
        given = {**self._saved, **arrays}
        return run_func(self._backward, {a.name: given[a.name] for a in self._backward.args})

    def _run(self, func: Func, arrays: Mapping[str, Array]) -> dict[str, Array]:
        given = {**arrays, **self._lasting(func)}
        results = run_func(func, {a.name: given[a.name] for a in func.args})
        for name, state in self._states.items():
            if name in results:
                state.look()[...] = results.pop(name)
        return results

    def _lasting(self, func: Func) -> dict[str, Array]:
        params = {a.name: self._params.read(a.name) for a in func.params}
        return params | {name: state.look() for name, state in self._states.items()}


def _split(func: Func, late: Collection[str]) -> tuple[Func, Func]:
    """The part of a function that does not depend on some inputs, and the rest.

    What the first hands over to the second are results called ``%NAME``.
    """
    reached = set(late)
    first: list[Op] = []
    rest: list[Op] = []
    for op in func.ops:
        if any(v.name in reached for v in op.operands):
            reached.update(r.name for r in op.results)
            rest.append(op)
        else:
            first.append(op)
    made = {r.name: r for op in first for r in op.results}
    read = {v.name for op in rest for v in op.operands}
    handed = [v for name, v in made.items() if name in read]
    results = list(zip(func.result_names, func.results, strict=True))
    early = [(n, v) for n, v in results if v.name not in reached]
    names = [n for n, _ in early] + [f"%{v.name}" for v in handed]
    args = [(a, r) for a, r in zip(func.args, func.roles, strict=True) if a.name not in late]
    forward = replace(
        func,
        args=tuple(a for a, _ in args),
        roles=tuple(r for _, r in args),
        ops=tuple(first),
        results=tuple([v for _, v in early] + handed),
        result_names=tuple(names),
    )
    late_results = [(n, v) for n, v in results if v.name in reached]
    roles: list[Role] = ["input"] * (len(func.args) + len(handed))
    backward = Func(
        "backward",
        (*func.args, *handed),
        tuple(roles),
        tuple(rest),
        tuple(v for _, v in late_results),
        tuple(n for n, _ in late_results),
    )
    return forward, backward
