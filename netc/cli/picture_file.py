"""Pictures in files, drawn by matplotlib: what every command that draws one shares."""

from __future__ import annotations

import os
from typing import Any

from netc.frontend.atomic_file import atomic_path
from netc.ir.diagnostics import NetcError

_KINDS = ("png", "svg", "pdf")


def check_picture(path: str) -> None:
    """Refuse early where the picture could not be drawn or written in the end."""
    _library()
    _kind(path)
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise NetcError(f"{path}: the folder '{folder}' does not exist", remedy="create it")
    if os.path.isdir(path or "."):
        raise NetcError(f"{path}: is a folder", remedy="name a file in it")
    if not os.access(folder, os.W_OK):
        raise NetcError(f"{path}: the folder '{folder}' cannot be written to")


def has_library() -> bool:
    """Whether pictures can be drawn at all."""
    try:
        _library()
    except NetcError:
        return False
    return True


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches."""
    return _library().Figure(figsize=(width, height), layout="constrained")


def save_figure(path: str, figure: Any) -> None:
    """Write a figure in the format of the path's suffix: PNG without one. Equal figures give equal files."""
    import matplotlib

    kind = _kind(path)
    date = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    # text stays text, with a short list of fonts: fewer bytes, and it can be searched
    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "netc",
        "font.sans-serif": ["DejaVu Sans", "Verdana"],
    }
    with matplotlib.rc_context(settings), atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, metadata=date)


def _kind(path: str) -> str:
    kind = os.path.splitext(path)[1].lstrip(".").lower() or "png"
    if kind not in _KINDS:
        raise NetcError(f"{path}: pictures are written as {', '.join(f'.{name}' for name in _KINDS)}")
    return kind


def _library() -> Any:
    try:
        import matplotlib.figure
    except ImportError:
        raise NetcError(
            "a picture in a file needs the package matplotlib",
            remedy="install it with: pip install 'netc[plot]'; what is printed needs nothing",
        ) from None
    return matplotlib.figure
