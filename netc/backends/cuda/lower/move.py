"""Kernels that move elements: every thread finds the source of one element of the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower.epilogue import finish_at
from netc.backends.cuda.text import c_dim, c_float, linear, plus, split_index
from netc.ir.core import Op
from netc.ir.dim import Dim


def axis_names(rank: int) -> list[str]:
    """Names of the indices along the axes of a result."""
    names = ["image", "channel", "depth", "row", "column"]
    if rank > len(names):
        return [f"index{a}" for a in range(rank)]
    return names if rank == len(names) else ["image", "channel", "row", "column"][:rank]


def lower_reshape(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the kernel of a ``tensor.reshape`` of memory with gaps."""
    source = kernel.operand(anchor.operands[0])
    shape = kernel.writes[0].type.shape
    with kernel.elements(shape, axis_names(len(shape))) as indices:
        # the position in row-major order is the thread's number
        found = split_index("item", source.type.shape)
        kernel.line(f"const float moved = {source.element([f'({i})' for i in found])};")
        finish_at(kernel, {anchor.result.name: "moved"}, tail, indices)


def lower_slice(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the kernel of a ``tensor.slice``."""
    start = anchor.attrs.start
    _gather(
        kernel, anchor, tail, lambda indices: [plus(i, str(s)) for i, s in zip(indices, start, strict=True)]
    )


def lower_transpose(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the kernel of a ``tensor.transpose``."""
    perm = anchor.attrs.perm
    _gather(kernel, anchor, tail, lambda indices: [indices[perm.index(a)] for a in range(len(perm))])


def lower_tile(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the kernel of a ``tensor.tile``."""
    axis = anchor.attrs.axis
    extent = kernel.operand(anchor.operands[0]).type.shape[axis]

    def source(indices: list[str]) -> list[str]:
        return [f"{i} % {c_dim(extent)}" if a == axis and i != "0" else i for a, i in enumerate(indices)]

    _gather(kernel, anchor, tail, source)


def lower_adjoint_weight(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the kernel of an ``nn.adjoint_weight``."""
    w = kernel.operand(anchor.operands[0])
    per_group = kernel.writes[0].type.shape[1]
    depth, kernel_extents = w.type.shape[1], w.type.shape[2:]

    def source(indices: list[str]) -> list[str]:
        c, o, *taps = indices
        flipped = [
            f"{c_dim(k - 1)} - {t}" if t != "0" else t for t, k in zip(taps, kernel_extents, strict=True)
        ]
        if anchor.attrs.group == 1:
            return [o, c, *flipped]
        return [f"{c} / {c_dim(depth)} * {c_dim(per_group)} + {o}", f"{c} % {c_dim(depth)}", *flipped]

    _gather(kernel, anchor, tail, source)


def _gather(
    kernel: Kernel, anchor: Op, tail: Sequence[Op], source_of: Callable[[list[str]], list[str]]
) -> None:
    source = kernel.operand(anchor.operands[0])
    shape = kernel.writes[0].type.shape
    with kernel.elements(shape, axis_names(len(shape))) as indices:
        kernel.line(f"const float moved = {source.element(source_of(indices))};")
        finish_at(kernel, {anchor.result.name: "moved"}, tail, indices)


def lower_fill(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the kernel of a ``tensor.fill``."""
    shape = kernel.writes[0].type.shape
    with kernel.elements(shape, axis_names(len(shape))) as indices:
        finish_at(kernel, {anchor.result.name: c_float(anchor.attrs.value)}, tail, indices)


def pads_with_constant(anchor: Op) -> bool:
    """Whether :func:`lower_pad` can be used."""
    return bool(anchor.attrs.kind == "constant")


def lower_pad(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the kernel of a ``tensor.pad`` with a constant."""
    source = kernel.operand(anchor.operands[0])
    shape = kernel.writes[0].type.shape
    with kernel.elements(shape, axis_names(len(shape))) as indices:
        inside: list[str] = []
        at: list[str] = []
        for index, low, high, extent in zip(
            indices, anchor.attrs.low, anchor.attrs.high, source.type.shape, strict=True
        ):
            if low == high == 0:
                at.append(index)
                continue
            at.append(f"({index} - {low})" if low else index)
            inside.append(f"unsigned({index} - {low}) < unsigned({c_dim(extent)})")
        value = source.pointer + "[" + linear(at, source.strides) + "]"
        chosen = f"{' && '.join(inside)} ? {value} : {c_float(anchor.attrs.value)}" if inside else value
        kernel.line(f"const float moved = {chosen};")
        finish_at(kernel, {anchor.result.name: "moved"}, tail, indices)


def lower_concat(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the kernel of a ``tensor.concat``: bufferize leaves those to us that begin at symbols."""
    axis = anchor.attrs.axis
    shape = kernel.writes[0].type.shape
    with kernel.elements(shape, axis_names(len(shape))) as indices:
        kernel.line("float moved;")
        start: Dim = 0
        for number, value in enumerate(anchor.operands):
            part = kernel.operand(value)
            end = start + part.type.shape[axis]
            moved = [
                f"({i} - {c_dim(start)})" if a == axis and start != 0 else i for a, i in enumerate(indices)
            ]
            condition = f"if ({indices[axis]} < {c_dim(end)}) " if number < len(anchor.operands) - 1 else ""
            kernel.line(f"{'else ' if number else ''}{condition}moved = {part.element(moved)};")
            start = end
        finish_at(kernel, {anchor.result.name: "moved"}, tail, indices)
