"""Writes docs/files.md: every module of the package with the first line of its docstring.

usage: python docs/file_map.py            (a test fails while the file is out of date)
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "files.md"
FOLDERS = (
    ("netc", "The package: its doors"),
    ("netc/cli", "Command line"),
    ("netc/bench", "Benchmarks against other engines"),
    ("netc/bench/engines", "Benchmarks: the engines"),
    ("netc/pycaffe", "Caffe's Python interface"),
    ("netc/pycaffe/proto", "Caffe's Python interface: messages"),
    ("netc/runtime", "Runtime"),
    ("netc/runtime/calibration", "Runtime: calibration"),
    ("netc/runtime/data", "Runtime: data sets"),
    ("netc/runtime/solver", "Runtime: solvers"),
    ("netc/runtime/tuning", "Runtime: tuning"),
    ("netc/frontend", "Front end"),
    ("netc/frontend/layers", "Front end: the layers"),
    ("netc/frontend/python_layers", "Front end: layers written in Python"),
    ("netc/frontend/dsl", "Front end: the .net language"),
    ("netc/ir", "Intermediate representation"),
    ("netc/ir/ops", "Intermediate representation: the ops"),
    ("netc/ir/gradients", "The gradient rules"),
    ("netc/passes", "Passes"),
    ("netc/backends", "Backends"),
    ("netc/backends/onnx", "Backends: ONNX files"),
    ("netc/backends/cuda", "Backends: CUDA"),
    ("netc/backends/cuda/lower", "Backends: CUDA: kernels"),
    ("netc/backends/llvm", "Backends: LLVM"),
    ("netc/backends/llvm/lower", "Backends: LLVM: kernels"),
)


def file_map() -> str:
    """The text of docs/files.md."""
    lines = [
        "# What every file is for",
        "",
        "Made by `python docs/file_map.py` from the modules' docstrings.",
    ]
    for folder, title in FOLDERS:
        lines += ["", f"## {title}: `{folder}/`", ""]
        for path in sorted((ROOT / folder).iterdir()):
            if path.suffix == ".py" and (purpose := _purpose(path)):
                lines.append(f"- `{path.name}`: {purpose}")
            elif path.suffix in (".lark", ".proto", ".cuh"):
                lines.append(
                    f"- `{path.name}`: {path.read_text(encoding='utf-8').splitlines()[0].strip('/ ')}"
                )
    return "\n".join(lines) + "\n"


def folders() -> set[str]:
    """Every folder of the package that holds modules."""
    return {str(p.parent.relative_to(ROOT)) for p in (ROOT / "netc").rglob("*.py")}


def _purpose(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n\n")[0].replace("\n", " ")


if __name__ == "__main__":
    TARGET.write_text(file_map(), encoding="utf-8")
