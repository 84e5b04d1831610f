"""Convolution, deconvolution and the gradient of a weight as matrix products over gathered operands."""

from __future__ import annotations

from collections.abc import Sequence

from netc.backends.cuda.kernel import Kernel, Memory
from netc.backends.cuda.lower import phases
from netc.backends.cuda.lower.product import Matrix, Place, Product, Spread, WindowGeometry, Windows
from netc.backends.cuda.text import plus, times
from netc.ir.core import Op
from netc.ir.dim import Dim, product


def conv_product(kernel: Kernel, anchor: Op) -> Product:
    """An ``nn.conv``: outputs x pixels, summed over channels and taps."""
    x, w = (kernel.operand(v) for v in anchor.operands[:2])
    group = anchor.attrs.group
    shape = kernel.writes[0].type.shape
    outputs = product((shape[1],)) // group
    depth = w.type.shape[1]
    positions = (shape[0], *shape[2:])
    weight = Matrix(w, w.strides[0], _taps_of(w, depth, w.strides[1]), w.strides[0] * outputs)
    seen = Windows.of(x, _geometry(anchor, w), positions, depth, by_taps=False)
    k = product((depth, *w.type.shape[2:]))
    return Product(
        outputs, product(positions), k, group, weight, seen, positions, _places(outputs), kernel.bias(anchor)
    )


def deconv_product(kernel: Kernel, anchor: Op) -> Product:
    """An ``nn.deconv``: every output gathers the inputs that reach it."""
    if phases.applies(anchor):
        return phases.as_product(kernel, anchor)
    x, w = (kernel.operand(v) for v in anchor.operands[:2])
    group = anchor.attrs.group
    shape = kernel.writes[0].type.shape
    outputs, depth = w.type.shape[1], product((x.type.shape[1],)) // group
    positions = (shape[0], *shape[2:])
    weight = Matrix(w, w.strides[1], _taps_of(w, depth, w.strides[0]), w.strides[0] * depth)
    fields = ("base", *(f"place{a}" for a in range(len(shape) - 2)))
    seen = Spread(x, _geometry(anchor, w), positions, depth, fields)
    k = product((depth, *w.type.shape[2:]))
    return Product(
        outputs, product(positions), k, group, weight, seen, positions, _places(outputs), kernel.bias(anchor)
    )


def weight_gradient_product(kernel: Kernel, anchor: Op) -> Product:
    """An ``nn.conv_weight_gradient``: outputs x (channel, tap), summed over all pixels."""
    x, dy = (kernel.operand(v) for v in anchor.operands)
    attrs = anchor.attrs
    shape = kernel.writes[0].type.shape
    outputs, depth = product((shape[0],)) // attrs.group, shape[1]
    positions = (dy.type.shape[0], *dy.type.shape[2:])
    geometry = WindowGeometry(attrs.stride, attrs.pad, attrs.dilation, attrs.kernel)
    columns = _joined(tuple(zip(positions, (dy.strides[0], *dy.strides[2:]), strict=True)))
    gradient = Matrix(dy, dy.strides[1], columns, dy.strides[1] * outputs)
    seen = Windows.of(x, geometry, positions, depth, by_taps=True)

    def place(group: str, m: str, columns: Sequence[str]) -> list[str]:
        return [plus(times(group, outputs), m), *columns]

    return Product(
        outputs, product(shape[1:]), product(positions), attrs.group, gradient, seen, shape[1:], place
    )


def _geometry(anchor: Op, w: Memory) -> WindowGeometry:
    attrs = anchor.attrs
    return WindowGeometry(attrs.stride, attrs.pad, attrs.dilation, w.type.static_shape[2:])


def _taps_of(w: Memory, depth: Dim, channel_stride: Dim) -> tuple[tuple[Dim, Dim], ...]:
    """What k is made of, channel and taps, with the weight's strides."""
    return _joined(((depth, channel_stride), *zip(w.type.shape[2:], w.strides[2:], strict=True)))


def _joined(columns: tuple[tuple[Dim, Dim], ...]) -> tuple[tuple[Dim, Dim], ...]:
    """The same with neighbours joined that are walked as one."""
    found: list[tuple[Dim, Dim]] = []
    for extent, stride in reversed(columns):
        if extent == 1:
            continue
        if found and stride == found[0][0] * found[0][1]:
            found[0] = (found[0][0] * extent, found[0][1])
        else:
            found.insert(0, (extent, stride))
    return tuple(found) or ((1, 1),)


def _places(outputs: Dim) -> Place:
    def place(group: str, m: str, columns: Sequence[str]) -> list[str]:
        image, *pixel = columns
        return [image, plus(times(group, outputs), m), *pixel]

    return place
