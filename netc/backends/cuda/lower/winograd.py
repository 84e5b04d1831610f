"""Winograd's convolution as three functions: inputs transformed, one matrix product a place, outputs back.

Each of the ``extent ** 2`` places of a tile has a product of its own, outputs x tiles, summed over the input
channels; together they are the groups of one :class:`Product`. Scratch memory holds the transformed inputs as
[place, channel, tile] and behind them the products as [place, output, tile], tiles filled up to a multiple of
four. Bias, activation and residual sum follow in the last function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netc.backends.cuda.kernel import Kernel, Memory
from netc.backends.cuda.lower import matrix_product
from netc.backends.cuda.lower.epilogue import finish_at
from netc.backends.cuda.lower.product import Matrix, Product
from netc.backends.cuda.lower.winograd_transform import emit_transform
from netc.backends.cuda.text import c_dim
from netc.ir.core import Op
from netc.ir.dim import Dim, ceildiv
from netc.ir.dim import product as product_of
from netc.ir.types import TensorType
from netc.ir.winograd_matrices import Winograd, winograd

MOST_EXTENT = 6  # a thread holds a tile of inputs, and what it becomes, in registers
RUN = 4  # tiles that are moved at once


def applies(anchor: Op) -> bool:
    """One group, and tiles that fit registers."""
    return bool(
        anchor.attrs.group == 1 and winograd(anchor.attrs.tile, anchor.attrs.taps).extent <= MOST_EXTENT
    )


@dataclass(frozen=True, slots=True)
class _Sizes:
    """``tiles`` are those of all images, [images, rows, columns]; ``room`` is that for them in a row."""

    tiles: tuple[Dim, ...]
    room: Dim
    channels: Dim
    outputs: Dim
    places: int

    @property
    def inputs(self) -> Dim:
        """Elements of the transformed inputs."""
        return self.room * self.channels * self.places

    @property
    def products(self) -> Dim:
        """Elements of the products."""
        return self.room * self.outputs * self.places


def sizes_of(x: TensorType, y: TensorType, tile: int, extent: int) -> _Sizes:
    """The sizes for an input [N, C, H, W] and a result [N, O, H', W']."""
    tiles = (y.shape[0], ceildiv(y.shape[2], tile), ceildiv(y.shape[3], tile))
    room = ceildiv(product_of(tiles), RUN) * RUN
    return _Sizes(tiles, room, x.shape[1], y.shape[1], extent * extent)


def lower(kernel: Kernel, anchor: Op, tail: Sequence[Op]) -> None:
    """Emit the three functions."""
    x, u = (kernel.operand(v) for v in anchor.operands[:2])
    matrices = winograd(anchor.attrs.tile, anchor.attrs.taps)
    sizes = sizes_of(x.type, kernel.writes[0].type, anchor.attrs.tile, matrices.extent)
    kernel.scratch_bytes = (sizes.inputs + sizes.products) * 4
    _transform_inputs(kernel, anchor, matrices, sizes, x)
    matrix_product.lower_kept(kernel, anchor, _product(sizes, u))
    _transform_outputs(kernel, anchor, tail, matrices, sizes)


def _transform_inputs(kernel: Kernel, anchor: Op, matrices: Winograd, sizes: _Sizes, x: Memory) -> None:
    """A thread for each channel of each tile; the tiles that fill up are zeros."""
    extent, tile = matrices.extent, matrices.tile
    (top, _), (left, _) = anchor.attrs.pad
    height, width = x.type.shape[2:]
    with kernel.elements((sizes.channels, sizes.room), ["c", "t"], scratch=True) as (c, t):
        kernel.line(f"float d[{extent}][{extent}] = {{}};")
        with kernel.block(f"if ({t} < {c_dim(product_of(sizes.tiles))})"):
            image, row, column = kernel.split(t, ["image", "row", "column"], sizes.tiles)
            kernel.line(f"const int y = {row} * {tile} - {top}, x_at = {column} * {tile} - {left};")
            with kernel.unrolled("i", extent), kernel.unrolled("j", extent):
                inside = (
                    f"unsigned(y + i) < unsigned({c_dim(height)}) && "
                    f"unsigned(x_at + j) < unsigned({c_dim(width)})"
                )
                kernel.line(f"if ({inside}) d[i][j] = {x.element([image, c, '(y + i)', '(x_at + j)'])};")
        emit_transform(kernel, matrices.input, "d", "v")
        with kernel.unrolled("i", extent), kernel.unrolled("j", extent):
            place = f"(i * {extent} + j) * {c_dim(sizes.room * sizes.channels)}"
            kernel.line(f"scratch[{place} + item] = v[i][j];")


def _product(sizes: _Sizes, u: Memory) -> Product:
    """At each place: transformed weights [outputs, channels] by transformed inputs [tiles, channels]."""
    of_place = sizes.room * sizes.channels
    inputs = TensorType("f32", (sizes.places, sizes.channels, sizes.room))
    seen = Memory("scratch", inputs, (of_place, sizes.room, 1), True)
    weight = Matrix(u, u.strides[0], ((sizes.channels, u.strides[2]),), u.strides[1])
    tiles = Matrix(seen, 1, ((sizes.channels, sizes.room),), of_place)
    return Product(
        sizes.outputs,
        sizes.room,
        sizes.channels,
        sizes.places,
        weight,
        tiles,
        (sizes.room,),
        lambda _, m, columns: [m, *columns],
        kept_at=sizes.inputs,
    )


def _transform_outputs(
    kernel: Kernel, anchor: Op, tail: Sequence[Op], matrices: Winograd, sizes: _Sizes
) -> None:
    """A thread for each output channel of each tile, with all that follows."""
    extent, tile = matrices.extent, matrices.tile
    bias = kernel.bias(anchor)
    height, width = kernel.writes[0].type.shape[2:]
    extents = (sizes.outputs, *sizes.tiles)
    with kernel.elements(extents, ["o", "image", "row", "column"], suffix="_out", scratch=True) as indices:
        o, image, row, column = indices
        tiles = c_dim(product_of(sizes.tiles))
        kernel.line(f"const int at = item / {tiles} * {c_dim(sizes.room)} + item % {tiles};")
        kernel.line(f"float m[{extent}][{extent}];")
        with kernel.unrolled("i", extent), kernel.unrolled("j", extent):
            place = f"(i * {extent} + j) * {c_dim(sizes.room * sizes.outputs)}"
            kernel.line(f"m[i][j] = scratch[{c_dim(sizes.inputs)} + {place} + at];")
        emit_transform(kernel, matrices.output, "m", "made")
        with kernel.unrolled("i", tile), kernel.unrolled("j", tile):
            kernel.line(f"const int y = {row} * {tile} + i, x_at = {column} * {tile} + j;")
            with kernel.block(f"if (y < {c_dim(height)} && x_at < {c_dim(width)})"):
                added = f" + {bias.element([o])}" if bias is not None else ""
                kernel.line(f"const float value = made[i][j]{added};")
                finish_at(kernel, {anchor.result.name: "value"}, tail, [image, o, "y", "x_at"])
