"""``netc upgrade``: nets, solvers and weights of Caffe's older generations in the current one."""

from __future__ import annotations

from netc.cli.output import put
from netc.frontend.atomic_file import atomic_file
from netc.frontend.convert_net import write_net
from netc.frontend.net_file import load_solver, read_net
from netc.frontend.text_print import to_text
from netc.frontend.upgrade_caffemodel import upgrade_caffemodel
from netc.ir.diagnostics import NetcError


def command(source: str, target: str, kind: str | None) -> None:
    """``netc upgrade``."""
    kind = kind or ("weights" if source.lower().endswith(".caffemodel") else "net")
    if (kind == "weights") != target.lower().endswith(".caffemodel"):
        message = f"{source} is upgraded as {kind}, and {target} says another format"
        raise NetcError(message, remedy="give --kind")
    if kind == "weights":
        upgrade_caffemodel(source, target)
    elif kind == "solver":
        text = to_text(load_solver(source))
        with atomic_file(target) as file:
            file.write(text.encode("utf-8"))
    else:
        write_net(target, read_net(source))
    put(f"{target}: written")
