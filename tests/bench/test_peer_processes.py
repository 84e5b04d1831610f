"""What runs under a peer's interpreter, which has NumPy and the engine."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import netc
from netc.bench.engines.table import ENGINES, EXPORTER, SUBJECT
from netc.bench.process import START, installed_packages

PACKAGE = Path(netc.__file__).parent


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def reached(module: str) -> set[str]:
    """The modules that one of netc's imports, itself or through others of netc's."""
    seen: set[str] = set()
    waiting = {module}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        if name.split(".")[0] == "netc":
            waiting |= imported(PACKAGE.joinpath(*name.split(".")[1:]).with_suffix(".py")) - seen
    return seen


@pytest.mark.parametrize(
    "engine", [*(e for n, e in ENGINES.items() if n != SUBJECT), EXPORTER], ids=lambda e: e.title
)
def test_a_peer_needs_numpy_its_own_packages_and_nothing_else(engine):
    modules = reached("netc.bench.worker") | reached(f"netc.bench.engines.{engine.module}")
    roots = {name.split(".")[0] for name in modules} - sys.stdlib_module_names
    assert roots <= {"netc", "numpy", *engine.packages}


def test_the_packages_of_an_interpreter_are_those_it_can_import(tmp_path, monkeypatch):
    (tmp_path / "cv2.py").write_text("raise RuntimeError('never imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "cv2" in installed_packages(sys.executable)


def test_modules_of_the_benchmark_take_nobody_elses_names_in_a_peer(tmp_path):
    probe = tmp_path / "sitecustomize.py"
    probe.write_text("import atexit, sys\natexit.register(lambda: print(sys.path, file=sys.stderr))\n")
    done = subprocess.run(
        [sys.executable, START, "probe"],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
    )
    assert isinstance(json.loads(done.stdout), list)
    path = ast.literal_eval(done.stderr.strip().splitlines()[-1])
    assert str(START.parent) not in path


def test_an_interpreter_without_numpy_is_said_to_be_none(tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    python.chmod(0o755)
    with pytest.raises(netc.NetcError, match=r"cannot run engines: ModuleNotFoundError: .*numpy"):
        installed_packages(str(python))
