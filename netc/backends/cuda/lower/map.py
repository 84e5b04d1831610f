"""Kernels that only hold elementwise ops, with broadcasting; 16 bytes a thread where memory allows."""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower.epilogue import evaluate
from netc.backends.cuda.lower.space import Space, broadcast_strides
from netc.backends.cuda.lower.sweeps import lower_sweeps, sweeps_of
from netc.backends.cuda.text import C_TYPES, linear
from netc.ir.core import Op


def lower(kernel: Kernel, anchor: Op | None, tail: Sequence[Op]) -> None:
    """Emit the whole kernel; no anchor: a copy."""
    apart = sweeps_of(kernel.body)
    if len(apart) > 1:
        lower_sweeps(kernel, apart)
        return
    ops = (anchor, *tail) if anchor is not None else ()
    shape = kernel.writes[0].type.shape
    read = {v.name for op in ops for v in op.operands} | {v.name for v in kernel.body.results}
    arguments = {name: memory for name, memory in kernel.arguments.items() if name in read}
    # one buffer may be read and written, or read under two names with different strides
    views = {f"<{name}": m for name, m in arguments.items()} | {
        f">{i}": m for i, m in enumerate(kernel.writes)
    }
    whole = Space(shape, {name: broadcast_strides(m, shape) for name, m in views.items()}).merged()
    floats = all(m.type.dtype == "f32" for m in views.values())
    written = [name for name in views if name.startswith(">")]
    fours = whole.in_fours({name: m.aligned for name, m in views.items()}, written) if floats else None
    space = fours or whole
    with kernel.elements(space.extents, [f"i{a}" for a in range(len(space.extents))]) as indices:
        offsets = {name: linear(indices, strides) for name, strides in space.strides.items()}
        known: dict[str, str] = {}
        for name, memory in arguments.items():
            offset, value = offsets[f"<{name}"], f"x{len(known)}"
            if fours is not None and space.strides[f"<{name}"][-1]:
                kernel.line(f"float {value}[4];")
                kernel.line(f"unpack({value}, load4({memory.pointer} + {offset}));")
                known[name] = f"{value}[lane]"
            else:
                kernel.line(f"const {C_TYPES[memory.type.dtype]} {value} = {memory.pointer}[{offset}];")
                known[name] = value
        if fours is None:
            results = evaluate(kernel, ops, known, kernel.body.results, lambda name, _: known[name])
            for i, (memory, result) in enumerate(zip(kernel.writes, results, strict=True)):
                kernel.line(f"{memory.pointer}[{offsets[f'>{i}']}] = {result};")
            return
        for i in range(len(kernel.writes)):
            kernel.line(f"float y{i}[4];")
        with kernel.unrolled("lane", 4):
            results = evaluate(kernel, ops, known, kernel.body.results, lambda name, _: known[name])
            for i, result in enumerate(results):
                kernel.line(f"y{i}[lane] = {result};")
        for i, memory in enumerate(kernel.writes):
            kernel.line(f"store4({memory.pointer} + {offsets[f'>{i}']}, pack(y{i}));")


def lower_copy(kernel: Kernel) -> None:
    """Emit the kernel of an empty body."""
    lower(kernel, None, ())
