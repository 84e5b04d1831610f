"""The header of every pass says what it does, and its example is true."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from alpha import assert_same

import netc.passes
from netc.ir.core import Module
from netc.ir.parser import parse_module
from netc.ir.verify import verify

FOLDER = Path(netc.passes.__path__[0])
PASSES = sorted(p.stem for p in FOLDER.glob("*.py") if p.stem not in ("__init__", "pipeline"))
EXAMPLE = re.compile(r"Example \(``(\w+)\((.*)\)``\)::\n(.*?)\nbecomes::\n(.*)", re.S)


def docstring(name: str) -> str:
    return importlib.import_module(f"netc.passes.{name}").__doc__ or ""


def options(name: str, text: str) -> dict[str, Any]:
    namespace = vars(importlib.import_module(f"netc.passes.{name}"))
    found: dict[str, Any] = eval(f"dict({text})", dict(namespace))
    return found


@pytest.mark.parametrize("name", PASSES)
def test_the_example_of_a_pass_is_what_it_does(name: str) -> None:
    found = EXAMPLE.search(docstring(name))
    assert found is not None
    assert found[1] == name
    run: Callable[..., Module] = getattr(importlib.import_module(f"netc.passes.{name}"), name)
    before = parse_module(dedent(found[3]))
    verify(before)
    after = run(before, **options(name, found[2]))
    verify(after)
    assert_same(after, dedent(found[4]))


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("heading", ["Does", "Requires", "Ensures", "Refuses"])
def test_the_header_of_a_pass_states_its_contract(name: str, heading: str) -> None:
    assert re.search(rf"^{heading}\b.*: ", docstring(name), re.M) or f"\n{heading}" in docstring(name)


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_imports_no_other_pass(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    assert not [m for m in imported if m.startswith("netc.") and not m.startswith("netc.ir")]
