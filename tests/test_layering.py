"""Who may import whom. A layer knows the layers below it and nothing else; imports stand at the top of a file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "netc"
ROOT = "the package itself"  # netc.__version__ and the public names
# layer -> the layers it may import besides itself; what stands beside the layers may import all of them
ALLOWED: dict[str, set[str]] = {
    "ir": set(),
    "frontend": {"ir"},
    "passes": {"ir"},
    "backends": {"ir"},
    "runtime": {"ir", "frontend", "passes", "backends", ROOT},
    "pycaffe": {"ir", "frontend", "passes", "backends", "runtime", ROOT},
    "bench": {"ir", "frontend", "passes", "backends", "runtime", ROOT},
    "cli": {"ir", "frontend", "passes", "backends", "runtime", "pycaffe", "bench", ROOT},
}
# (file, module) -> why the import stands inside of a function
LAZY: dict[tuple[str, str], str] = {
    ("frontend/dsl/read.py", "netc.frontend.dsl.evaluate"): "2 MB that most nets do not need",
    ("frontend/dsl/read.py", "netc.frontend.dsl.syntax"): "as above",
    ("runtime/api.py", "netc.runtime.tuning.tuner"): "nor of tuning",
    ("runtime/compiler.py", "netc.runtime.cuda_build"): "a run on processors loads nothing of CUDA: 2 MB",
    ("runtime/lower_net.py", "netc.backends.cuda.lower.winograd_cost"): "as above",
    ("runtime/lower_net.py", "netc.runtime.tuning.cuda_setting"): "as above",
    ("runtime/lower_net.py", "netc.runtime.tuning.setting"): "nor of tuning",
    ("runtime/module.py", "netc.runtime.cuda_runner"): "as above",
    ("runtime/read_artifact.py", "netc.backends.cuda.backend"): "as above",
    ("runtime/read_artifact.py", "netc.runtime.cuda_build"): "as above",
    ("runtime/runner.py", "netc.runtime.cuda_runner"): "as above",
    ("bench/engines/netc_engine.py", "netc.bench.engines.netc_training"): "forward passes load no compiler",
}


def imports(path: Path) -> list[tuple[str, int, bool]]:
    """(module, line, inside of a function) for each import of the package in a file."""
    found = []

    def visit(node: ast.AST, inside: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend((alias.name, node.lineno, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            if node.module == "netc":
                found.extend((f"netc.{alias.name}", node.lineno, inside) for alias in node.names)
            else:
                found.append((node.module or "", node.lineno, inside))
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return [i for i in found if i[0].split(".")[0] == "netc"]


FILES = sorted(PACKAGE.rglob("*.py"))


def layer(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ALLOWED else ROOT


def test_every_folder_is_a_layer():
    folders = {p.relative_to(PACKAGE).parts[0] for p in FILES if p.parent != PACKAGE}
    assert folders <= ALLOWED.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_imports_its_own_layer_and_lower_ones_only(path):
    name = path.relative_to(PACKAGE).as_posix()
    own = name.split("/")[0]
    for module, line, inside in imports(path):
        target = layer(module)
        where = f"netc/{name}:{line}: "
        if own in ALLOWED and target != own:
            assert target in ALLOWED[own], f"{where}{own} may not import {module}"
        assert not inside or (name, module) in LAZY, f"{where}{module} is imported inside of a function"


def test_the_exceptions_are_still_needed():
    used = {(p.relative_to(PACKAGE).as_posix(), m) for p in FILES for m, _, inside in imports(p) if inside}
    assert LAZY.keys() <= used


def test_a_pass_imports_no_other_pass():
    # a file that holds a function of its own name is a pass; others are analyses, which passes may share
    passes = {
        f.stem: f for f in FILES if f.parent.name == "passes" and f"\ndef {f.stem}(" in f.read_text("utf-8")
    }
    assert passes
    for name, path in passes.items():
        others = {m.removeprefix("netc.passes.").split(".")[0] for m, _, _ in imports(path)}
        assert not others & (passes.keys() - {name}), f"{path.name}: the order of passes lives in pipeline.py"
