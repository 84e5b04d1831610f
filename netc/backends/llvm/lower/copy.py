"""Kernels that move elements in their order: copies, fills, slices, concatenations, reshapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from netc.backends.llvm.lower.kernel import Kernel, Memory
from netc.backends.llvm.lower.map import unroll_of
from netc.backends.llvm.lower.point import apply
from netc.backends.llvm.lower.space import (
    SOURCE,
    Space,
    View,
    arguments_read,
    result_views,
    storage_axes,
    write_names,
)
from netc.backends.llvm.lower.sweep import sweep
from netc.ir.core import Op, Value
from netc.ir.dim import Dim
from netc.ir.layout import Layout
from netc.ir.loop_builder import Index
from netc.ir.types import contiguous_strides


def lower_copy(kernel: Kernel) -> None:
    """Emit a kernel without ops: the results are the arguments."""
    space = Space(kernel.b, storage_axes(kernel.writes[0].type), result_views(kernel, ())).merged()

    def compute(registers: Mapping[str, Value]) -> list[Value]:
        return [registers[v.name] for v in kernel.body.results]

    sweep(kernel, space, arguments_read(kernel, ()), write_names(kernel), compute)


def copy_through(kernel: Kernel, anchor: Op, tail: Sequence[Op], space: Space) -> None:
    """Sweep a merged space in which the view ``SOURCE`` holds the anchor's result."""

    def compute(registers: Mapping[str, Value]) -> list[Value]:
        known = {**registers, anchor.result.name: registers[SOURCE]}
        return apply(kernel.b, tail, known, kernel.body.results)

    reads = [SOURCE, *arguments_read(kernel, tail)]
    sweep(kernel, space, reads, write_names(kernel), compute, unroll_of(tail))


def finish_element(
    kernel: Kernel, anchor: Op, tail: Sequence[Op], space: Space, indices: Sequence[Index], value: Value
) -> None:
    """Store what the tail makes of one element of the anchor's result, at a point of the space."""
    b = kernel.b
    known = {
        name: b.load(space.views[name].pointer, space.at(name, indices))
        for name in arguments_read(kernel, tail)
    }
    values = apply(b, tail, {**known, anchor.result.name: value}, kernel.body.results)
    for name, result in zip(write_names(kernel), values, strict=True):
        b.store(result, space.views[name].pointer, space.at(name, indices))


def lower_fill(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the kernel of a ``tensor.fill``."""
    space = Space(kernel.b, storage_axes(kernel.writes[0].type), result_views(kernel, tail)).merged()
    fill_through(kernel, anchor, tail, space)


def fill_through(kernel: Kernel, anchor: Op, tail: Sequence[Op], space: Space) -> None:
    """Sweep a merged space in which the anchor's result is the value of its attributes."""
    b = kernel.b

    def compute(registers: Mapping[str, Value]) -> list[Value]:
        like = next(iter(registers.values()), None)
        value = b.const(anchor.attrs.value, "f32") if like is None else b.like(anchor.attrs.value, like)
        return apply(b, tail, {**registers, anchor.result.name: value}, kernel.body.results)

    sweep(kernel, space, arguments_read(kernel, tail), write_names(kernel), compute)


def storage_offset(kernel: Kernel, memory: Memory, start: Sequence[Dim], strides: Sequence[Dim]) -> Index:
    """The offset of the element at ``start`` (logical; between two blocks) under strides of a result."""
    layout: Layout = memory.type.layout
    b = kernel.b
    total: Index = 0
    for axis, position in enumerate(start):
        index = b.dim(position)
        if layout is not None and layout.axis == axis:
            index = b.idiv(index, layout.size)
        total = b.iadd(total, b.imul(index, b.dim(strides[axis])))
    return total


def lower_slice(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the kernel of a ``tensor.slice``."""
    x = kernel.operand(anchor.operands[0])
    offset = storage_offset(kernel, x, anchor.attrs.start, x.stride_dims)
    views = result_views(kernel, tail) | {SOURCE: View(x.pointer, x.stride_dims, offset)}
    space = Space(kernel.b, storage_axes(kernel.writes[0].type), views).merged()
    copy_through(kernel, anchor, tail, space)


def lower_concat(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the kernel of a ``tensor.concat``: one sweep an operand."""
    y = kernel.writes[0]
    whole = result_views(kernel, tail)
    begin: Dim = 0
    for value in anchor.operands:
        x = kernel.operand(value)
        start = [begin if axis == anchor.attrs.axis else 0 for axis in range(x.type.rank)]
        views = {
            name: View(view.pointer, view.strides, storage_offset(kernel, y, start, view.strides))
            for name, view in whole.items()
        }
        views[SOURCE] = View(x.pointer, x.stride_dims)
        copy_through(kernel, anchor, tail, Space(kernel.b, storage_axes(x.type), views).merged())
        begin = begin + x.type.shape[anchor.attrs.axis]


def lower_tile(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the kernel of a ``tensor.tile``: one sweep in which the source does not move from tile to tile."""
    x = kernel.operand(anchor.operands[0])
    axis, tiles = anchor.attrs.axis, anchor.attrs.tiles
    extent = x.type.shape[axis]

    def cut(strides: Sequence[Dim], outer: Dim) -> tuple[Dim, ...]:
        return (*strides[:axis], outer, *strides[axis:])

    views = {
        name: View(v.pointer, cut(v.strides, v.strides[axis] * extent), v.offset)
        for name, v in result_views(kernel, tail).items()
    }
    views[SOURCE] = View(x.pointer, cut(x.stride_dims, 0))
    shape = (*x.type.shape[:axis], tiles, *x.type.shape[axis:])
    copy_through(kernel, anchor, tail, Space(kernel.b, shape, views).merged())


def lower_reshape(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the kernel of a ``tensor.reshape``."""
    x, y = kernel.operand(anchor.operands[0]), kernel.writes[0]
    views = result_views(kernel, tail)
    if x.stride_dims == contiguous_strides(x.type):
        views[SOURCE] = View(x.pointer, contiguous_strides(y.type))
        copy_through(kernel, anchor, tail, Space(kernel.b, y.type.shape, views).merged())
        return
    common = _common_extents(x.type.shape, y.type.shape)
    if common is None:
        _reshape_by_elements(kernel, anchor, tail, x)
        return
    fine = {
        name: View(v.pointer, _refined(y.type.shape, v.strides, common), v.offset)
        for name, v in views.items()
    }
    fine[SOURCE] = View(x.pointer, _refined(x.type.shape, x.stride_dims, common))
    copy_through(kernel, anchor, tail, Space(kernel.b, common, fine).merged())


def _suffix_products(shape: Sequence[int]) -> list[int]:
    products = [1]
    for extent in reversed(shape):
        products.append(products[-1] * extent)
    return products


def _common_extents(first: Sequence[Dim], second: Sequence[Dim]) -> tuple[int, ...] | None:
    """The extents of a shape that both shapes are obtained from by merging axes; None if there is none."""
    shapes = [[d for d in shape if isinstance(d, int)] for shape in (first, second)]
    if len(shapes[0]) != len(first) or len(shapes[1]) != len(second):
        return None
    bounds = sorted({*_suffix_products(shapes[0]), *_suffix_products(shapes[1])})
    if any(high % low for low, high in pairwise(bounds)):
        return None
    return tuple(high // low for low, high in pairwise(bounds))[::-1]


def _refined(shape: Sequence[Dim], strides: Sequence[Dim], extents: Sequence[int]) -> tuple[Dim, ...]:
    """Strides along axes that ``shape`` is obtained from by merging."""
    result: list[Dim] = []
    remaining = list(extents)
    for extent, stride in zip(reversed(shape), reversed(strides), strict=True):
        covered = 1
        while covered != extent:
            result.append(stride * covered)
            covered *= remaining.pop()
    return tuple(reversed(result))


def _reshape_by_elements(kernel: Kernel, anchor: Op, tail: Sequence[Op], x: Memory) -> None:
    """Axes that cut each other, in memory with gaps: find each element by its flat index."""
    b = kernel.b
    y = kernel.writes[0].type
    space = Space(b, y.shape, result_views(kernel, tail))
    source = [b.dim(d) for d in x.type.shape]
    first, last = kernel.share(b.dim(y.elements))
    with b.loop(first, last) as loop:
        indices = b.split(loop.index, space.extents)
        at = b.linear(b.split(loop.index, source), x.strides)
        finish_element(kernel, anchor, tail, space, indices, b.load(x.pointer, at))
