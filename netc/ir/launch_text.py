"""The canonical text of a launch: equal for launches that compute the same on memory of the same types."""

from __future__ import annotations

from dataclasses import replace

from netc.ir.core import Block, Op, Value
from netc.ir.printer import print_op


def launch_text(launch: Op) -> str:
    """The types of the operands, and the body with its values numbered; no places, no name of the kernel."""
    assert launch.body is not None
    names: dict[str, Value] = {}

    def canonical(value: Value) -> Value:
        if value.name not in names:
            names[value.name] = Value(str(len(names)), value.type)
        return names[value.name]

    operands = tuple(canonical(v) for v in launch.operands)
    types = " ".join(str(v.type) for v in operands)
    body = Block(
        tuple(canonical(a) for a in launch.body.args),
        tuple(
            replace(
                op,
                operands=tuple(canonical(v) for v in op.operands),
                results=tuple(canonical(v) for v in op.results),
                location=None,
            )
            for op in launch.body.ops
        ),
        tuple(canonical(v) for v in launch.body.results),
    )
    attrs = replace(launch.attrs, kernel=None)
    bare = replace(launch, operands=operands, body=body, attrs=attrs, location=None)
    return f"{types}\n{print_op(bare, locations=False)}"
