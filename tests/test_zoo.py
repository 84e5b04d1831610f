"""Every real model definition parses; those covered import, and run with random weights, in each phase they have.

``tests/data/zoo_uncovered.txt`` says of every other file why it is not covered: ``path: reason: error``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from zoo_nets import FILES, ROOT, ZOO, State, shapes_to_feed, states

import netc
from netc.frontend.importer import ImportedNet, import_net
from netc.frontend.message import Message
from netc.frontend.net_file import read_net
from netc.frontend.text_print import to_text
from netc.ir.diagnostics import NetcError
from netc.ir.verify import verify

UNCOVERED = ROOT / "tests" / "data" / "zoo_uncovered.txt"
SMALL_WORK = 5_000_000  # multiply-accumulates of a run that is quick on the reference
SMALL_NET = 2_000_000  # parameters that are quick to draw

pytestmark = pytest.mark.skipif(not ZOO.is_dir(), reason="the collection of models is not beside the project")


@cache
def read(path: Path) -> Message | None:
    try:
        return read_net(path)
    except NetcError:
        return None


def imported(path: Path, state: State) -> ImportedNet:
    return import_net(state.net, phase=state.phase, input_shapes=shapes_to_feed(path, state.net))


def why_uncovered(path: Path) -> list[str]:
    """What stops a file, state by state; other errors are failures."""
    try:
        net = read_net(path)
    except NetcError as error:
        return [error.message]
    problems = []
    found = list(states(net))
    for state in found:
        try:
            made = imported(path, state)
        except NetcError as error:
            problems.append(error.message)
            continue
        verify(made.module)
        for info in made.layers:
            for shape in info.top_shapes:
                assert all(isinstance(extent, int) and extent >= 1 for extent in shape), (path, info.name)
    return problems if found else ["in no state is every bottom made by a layer before"]


def covered() -> Iterator[tuple[Path, State]]:
    """Every state of every file that imports, equal texts once."""
    listed = {line.partition(": ")[0] for line in UNCOVERED.read_text(encoding="utf-8").splitlines()}
    seen: set[bytes] = set()
    for path in FILES:
        text = path.read_bytes()
        net = read(path)
        if str(path.relative_to(ZOO)) in listed or text in seen or net is None:
            continue
        seen.add(text)
        yield from ((path, state) for state in states(net))


def run(path: Path, state: State, target: str) -> None:
    """One run on random numbers and weights; every result is there, in the shape that was inferred."""
    module = netc.compile(
        to_text(state.net),
        phase=state.phase,
        level=state.level,
        stages=state.stages,
        target=target,
        input_shapes=shapes_to_feed(path, state.net),
    )
    rng = np.random.default_rng(0)
    whole = ("label", "sim", "sem", "geo", "sentence", "target")  # classes and words
    feeds = {
        name: np.zeros(shape) if any(part in name for part in whole) else rng.uniform(0, 1, shape)
        for name, shape in module.inputs.items()
    }
    results = module.run(**feeds)
    assert set(results) == set(module.outputs)
    counted = module.compiled.net.counted
    for name, shape in module.outputs.items():
        if name not in counted:
            assert results[name].shape == shape, (path, name)
        # a net as it was published, but with random weights, may overflow; what it must not is lack a result
        assert results[name].dtype == np.float32, (path, name)


def test_every_covered_net_imports_in_each_phase_and_the_others_are_listed_with_the_reason():
    found = {str(p.relative_to(ZOO)): why[0] for p in FILES if (why := why_uncovered(p))}
    listed = {}
    for line in UNCOVERED.read_text(encoding="utf-8").splitlines():
        path, _reason, error = line.split(": ", 2)
        listed[path] = error
    assert found == listed


def is_small(path: Path, state: State) -> bool:
    made = imported(path, state)
    work = [info.macs for info in made.layers]
    sizes = sum(int(np.prod(info.shape)) for info in made.params)
    return all(isinstance(m, int) for m in work) and sum(map(int, work)) <= SMALL_WORK and sizes <= SMALL_NET


def test_small_covered_nets_run_in_each_phase():
    ran = 0
    for path, state in covered():
        if path.stat().st_size < 20_000 and is_small(path, state):
            run(path, state, "numpy")
            ran += 1
    assert ran > 50


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cpu"])
def test_all_covered_nets_run_in_each_phase(target):
    for path, state in covered():
        run(path, state, target)
