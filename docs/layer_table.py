"""Writes docs/layers.md: every layer type that netc knows, with what its rule and its ops say about it.

usage: python docs/layer_table.py         (a test fails while the file is out of date)

Nothing is typed in: phases, gradients and kernels are those of the ops that the least layer of each type
becomes (``layer_examples``).
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from layer_examples import import_example

import netc.ir.gradients  # noqa: F401  fills in the gradients
from netc.backends.llvm.lower.table import has_kernel
from netc.frontend.imported_net import ImportedNet
from netc.frontend.known_layers import unsupported_types, why_unsupported
from netc.frontend.layers.registry import PLUG_IN, Count, LayerType, layer_type, layer_type_names
from netc.ir.diagnostics import NetcError
from netc.ir.opdef import NOT_DIFFERENTIABLE, opdef
from netc.ir.printer import print_func
from netc.passes.pipeline import run_pipeline

TARGET = Path(__file__).resolve().parent / "layers.md"
BLOCK = 16  # of the layouts that the pipeline is asked for; level 0 uses none
HEAD = """# Layer types

Made by `python docs/layer_table.py` from the table of import rules (`netc/frontend/layers/`) and from the ops
that the least layer of each type becomes.

- **source**: whose layer it is: the original's (BVLC), or that of a fork or of the nets it came with.
- **phases**: whether TRAIN computes what TEST does (`same`), something else (`differ`), or nothing yet
  (`TEST`).
- **backward**: `yes` where every op between the inputs or parameters and the tops has a gradient, `no` where
  one lacks it, `none` where there is nothing to hand back: the tops are inputs, constants, choices or
  detections.
- **backends**: NumPy is the reference. LLVM: every op has a kernel, or a part of them, and the others run by
  their reference between the compiled ones.

The rules' docstrings say more, with Caffe's deviations.

| type | source | bottoms | tops | phases | forward | backward | backends | what it computes | rule |
|---|---|---|---|---|---|---|---|---|---|
"""
READ_ONLY = """
## Read and printed, not run

| type | why |
|---|---|
"""


def layer_table() -> str:
    """The text of docs/layers.md."""
    entries = [entry for name in layer_type_names() if (entry := layer_type(name)) is not None]
    rows = [_row(entry) for entry in entries if entry.source != PLUG_IN]
    others = [f"| {name} | {_why(name)} |" for name in unsupported_types()]
    return HEAD + "\n".join(rows) + "\n" + READ_ONLY + "\n".join(others) + "\n"


def _row(entry: LayerType) -> str:
    text = inspect.getdoc(entry.rule) or ""
    purpose = text.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|").replace("``", "`")
    file = entry.rule.__module__.rpartition(".")[2] + ".py"
    net = import_example(entry.name, "TEST")
    cells = (
        entry.name,
        entry.source,
        _count(entry.bottoms),
        _count(entry.tops),
        phases(entry.name),
        "yes",
        backward(net),
        backends(net),
        purpose,
        f"`{file}`",
    )
    return f"| {' | '.join(cells)} |"


def phases(name: str) -> str:
    """How TRAIN compares with TEST."""
    test = import_example(name, "TEST")
    try:
        train = import_example(name, "TRAIN")
    except NetcError:
        return "TEST"
    texts = {print_func(net.module.func("main"), locations=False) for net in (test, train)}
    return "same" if len(texts) == 1 else "differ"


def backward(net: ImportedNet) -> str:
    """Whether gradients reach an input or a parameter: as far as the ops on the way have them."""
    main = net.module.func("main")
    reached = {value.name: True for value in (*main.inputs, *main.params)}  # name -> every op has a gradient
    for op in main.ops:
        from_inputs = [reached[v.name] for v in op.operands if v.name in reached]
        gradient = opdef(op.name).vjp
        if from_inputs and gradient is not NOT_DIFFERENTIABLE:
            whole = gradient is not None and all(from_inputs)
            reached |= {result.name: whole for result in op.results}
    (layer,) = (layer for layer in net.layers if layer.name == "l")
    own = {value.name for value in main.inputs} - set(layer.bottoms)
    tops = [net.blobs[top].name for top in layer.tops]
    found = [reached[top] for top in tops if top in reached and top not in own]
    if not found:
        return "none"
    return "yes" if all(found) else "no"


def backends(net: ImportedNet) -> str:
    """Which backends have their own code for the ops, at level 0."""
    buffer = run_pipeline(net.module, opt_level=0, block=BLOCK).buffer
    launches = [op for op in buffer.func("main").ops if op.name == "buffer.launch"]
    kernels = [has_kernel(op) for op in launches]
    if all(kernels):
        return "NumPy, LLVM"
    return "NumPy, LLVM in part" if any(kernels) else "NumPy"


def _why(name: str) -> str:
    known = why_unsupported(name)
    assert known is not None
    return f"{known[0]}; {known[1]}".replace("|", "\\|")


def _count(count: Count) -> str:
    least, most = count
    if most is None:
        return f"{least} or more"
    return str(least) if least == most else f"{least} to {most}"


if __name__ == "__main__":
    TARGET.write_text(layer_table(), encoding="utf-8")
