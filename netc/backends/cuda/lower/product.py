"""Matrix products as kernels see them: C[m, n] = sum over k of A[m, k] B[n, k], operands gathered.

A convolution is such a product whose operand B is the input seen through windows; it is never stored. An
operand is walked by rows (m or n) and columns (k), each of which a thread takes apart once, not once an
element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from netc.backends.cuda.kernel import Kernel, Memory
from netc.backends.cuda.text import c_dim, plus, split_index, times
from netc.ir.dim import Dim, exact_quotient
from netc.ir.ops.window import Pads

Direction = Literal["row", "column"]
Place = Callable[[str, str, Sequence[str]], list[str]]
GROUP = "group"  # the variable of the group that a block works on


class Operand(Protocol):
    """One side of a product: where its element (row, column) lies, and whether there is one."""

    @property
    def pointer(self) -> str:
        """The memory's pointer."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the ints that a row is known by."""

    @property
    def fast(self) -> Direction:
        """Where neighbours in memory are."""

    @property
    def fours(self) -> bool:
        """Whether 16 bytes along :attr:`fast` can be moved at once, from multiples of 4 on."""

    def row(self, kernel: Kernel, index: str) -> list[str]:
        """The fields' values."""

    def column(self, kernel: Kernel, index: str) -> list[str]:
        """What an element's place depends on besides its row."""

    def element(self, row: Sequence[str], column: Sequence[str]) -> tuple[str, str]:
        """The element's offset, and the condition under which it is not 0 (empty: always)."""


@dataclass(frozen=True, slots=True)
class Product:
    """``groups`` products of m x n x k. ``columns`` are the extents that n is made of.

    ``place(group, m, indices of n)`` are the indices of a result; ``bias`` is added along its axis 1.
    ``inside(group, indices of n)`` is the condition under which there is one; None: there always is.
    With ``kept_at`` the sums stay in scratch memory from there on, as [group, m, n], for another function.
    """

    m: Dim
    n: Dim
    k: Dim
    groups: int
    a: Operand
    b: Operand
    columns: tuple[Dim, ...]
    place: Place
    bias: Memory | None = None
    inside: Callable[[str, Sequence[str]], str] | None = None
    kept_at: Dim | None = None


@dataclass(frozen=True, slots=True)
class Matrix:
    """Element (row, column) at ``row * row_stride + column * column_stride``; groups follow each other.

    ``columns``: what a column index is made of, with the stride of each part, where it is not one stride.
    """

    memory: Memory
    row_stride: Dim
    columns: tuple[tuple[Dim, Dim], ...]
    group_stride: Dim = 0
    fields: tuple[str, ...] = ("base",)

    @property
    def pointer(self) -> str:
        """The memory's pointer."""
        return self.memory.pointer

    @property
    def fast(self) -> Direction:
        """Columns where they are neighbours."""
        return "column" if self.columns[-1][1] == 1 or self.row_stride != 1 else "row"

    @property
    def fours(self) -> bool:
        """Whether 16 bytes along the fast direction can be moved at once."""
        fast = self.fast
        if fast == "column":
            others = [self.row_stride, self.group_stride, *(s for _, s in self.columns[:-1])]
            ends = [self.columns[-1][0]]
            unit = self.columns[-1][1] == 1
        else:
            others, ends, unit = [self.group_stride, *(s for _, s in self.columns)], [], True
        return (
            unit and self.memory.aligned and all(exact_quotient(d, 4) is not None for d in (*others, *ends))
        )

    def row(self, kernel: Kernel, index: str) -> list[str]:
        """Where the row begins."""
        del kernel
        return [plus(times(GROUP, self.group_stride), times(index, self.row_stride))]

    def column(self, kernel: Kernel, index: str) -> list[str]:
        """How far from the row's beginning."""
        del kernel
        parts = split_index(index, [extent for extent, _ in self.columns])
        return [plus(*(times(p, s) for p, (_, s) in zip(parts, self.columns, strict=True)))]

    def element(self, row: Sequence[str], column: Sequence[str]) -> tuple[str, str]:
        """Their sum."""
        return plus(row[0], column[0]), ""


@dataclass(frozen=True, slots=True)
class WindowGeometry:
    """Along each spatial axis: window p meets, with tap t, element ``p * stride + t * dilation - pad``."""

    stride: tuple[int, ...]
    pad: Pads
    dilation: tuple[int, ...]
    kernel: tuple[int, ...]

    @property
    def may_leave(self) -> bool:
        """Whether some window reaches into padding."""
        return any(low or high for low, high in self.pad)


@dataclass(frozen=True, slots=True)
class Windows:
    """A convolution's input [N, C, *S]. By rows: positions (image, *p), or (channel, *tap) if ``by_taps``."""

    memory: Memory
    geometry: WindowGeometry
    positions: tuple[Dim, ...]
    channels: Dim
    by_taps: bool = False
    fields: tuple[str, ...] = field(default=())

    @staticmethod
    def of(
        memory: Memory, geometry: WindowGeometry, positions: tuple[Dim, ...], channels: Dim, *, by_taps: bool
    ) -> Windows:
        """``positions`` are (images, *extents of the result), ``channels`` those of a group."""
        axes = len(geometry.stride)
        fields = ("base", *(f"place{a}" for a in range(axes)))
        return Windows(memory, geometry, positions, channels, by_taps, fields)

    @property
    def pointer(self) -> str:
        """The memory's pointer."""
        return self.memory.pointer

    @property
    def fast(self) -> Direction:
        """Positions follow each other in memory."""
        return "column" if self.by_taps else "row"

    @property
    def fours(self) -> bool:
        """Whether four positions are 16 aligned bytes: 1x1 windows, one beside the other."""
        geometry, memory = self.geometry, self.memory
        dense = all(s == 1 for s in geometry.stride) and all(k == 1 for k in geometry.kernel)
        rows = Memory(
            memory.pointer, memory.type.with_shape(*memory.type.shape[2:]), memory.strides[2:], True
        )
        plane: Dim = 1
        for extent in memory.type.shape[2:]:
            plane = plane * extent
        whole = all(exact_quotient(d, 4) is not None for d in (plane, *memory.strides[:2]))
        return dense and not geometry.may_leave and rows.contiguous and whole and memory.aligned

    @property
    def is_one_plane(self) -> bool:
        """Whether the windows are the elements of one image, plane by plane."""
        geometry, memory = self.geometry, self.memory
        dense = all(s == 1 for s in geometry.stride) and all(k == 1 for k in geometry.kernel)
        plane = Memory(
            memory.pointer, memory.type.with_shape(*memory.type.shape[2:]), memory.strides[2:], True
        )
        return dense and not geometry.may_leave and memory.type.shape[0] == 1 and plane.contiguous

    def _position(self, index: str) -> list[str]:
        image, *place = split_index(index, self.positions)
        scaled = [times(p, s) for p, s in zip(place, self.geometry.stride, strict=True)]
        return [times(image, self.memory.strides[0]), *scaled]

    def _tap(self, index: str) -> list[str]:
        channel, *taps = split_index(index, (self.channels, *self.geometry.kernel))
        own = times(channel, self.memory.strides[1])
        scaled = [times(t, d) for t, d in zip(taps, self.geometry.dilation, strict=True)]
        return [own, *scaled]

    def row(self, kernel: Kernel, index: str) -> list[str]:
        """Where image or channel begins; where the window or the tap is."""
        del kernel
        base, *places = self._tap(index) if self.by_taps else self._position(index)
        shifted = [
            f"{p} - {low}" if low else p for p, (low, _) in zip(places, self.geometry.pad, strict=True)
        ]
        group = times(GROUP, self.memory.strides[1] * self.channels)
        return [plus(group, base), *shifted]

    def column(self, kernel: Kernel, index: str) -> list[str]:
        """The other of the two."""
        values = self._position(index) if self.by_taps else self._tap(index)
        return declared(kernel, values, self.pointer)

    def element(self, row: Sequence[str], column: Sequence[str]) -> tuple[str, str]:
        """The element that the tap meets."""
        offset, inside = plus(row[0], column[0]), []
        sizes, strides = self.memory.type.shape[2:], self.memory.strides[2:]
        for own, other, size, stride in zip(row[1:], column[1:], sizes, strides, strict=True):
            at = plus(own, other)
            offset = plus(offset, times(at, stride))
            if self.geometry.may_leave:
                inside.append(f"unsigned({at}) < unsigned({c_dim(size)})")
        return offset, " && ".join(inside)


@dataclass(frozen=True, slots=True)
class Spread:
    """A deconvolution's input [N, C, *S], by rows of results (image, *q) and columns (channel, *tap)."""

    memory: Memory
    geometry: WindowGeometry
    positions: tuple[Dim, ...]
    channels: Dim
    fields: tuple[str, ...]
    fast: Direction = "row"
    fours: bool = False

    @property
    def pointer(self) -> str:
        """The memory's pointer."""
        return self.memory.pointer

    def row(self, kernel: Kernel, index: str) -> list[str]:
        """Where the image begins; the result's place among the taps."""
        del kernel
        image, *place = split_index(index, self.positions)
        shifted = [plus(q, str(low)) for q, (low, _) in zip(place, self.geometry.pad, strict=True)]
        group = times(GROUP, self.memory.strides[1] * self.channels)
        return [plus(group, times(image, self.memory.strides[0])), *shifted]

    def column(self, kernel: Kernel, index: str) -> list[str]:
        """Where the channel begins, and how far back the tap reaches."""
        channel, *taps = split_index(index, (self.channels, *self.geometry.kernel))
        own = times(channel, self.memory.strides[1])
        scaled = [times(t, d) for t, d in zip(taps, self.geometry.dilation, strict=True)]
        return declared(kernel, [own, *scaled], self.pointer)

    def element(self, row: Sequence[str], column: Sequence[str]) -> tuple[str, str]:
        """The input that reaches the result through the tap, where there is one."""
        offset, inside = plus(row[0], column[0]), []
        sizes, strides = self.memory.type.shape[2:], self.memory.strides[2:]
        geometry = self.geometry
        for own, back, size, stride, step in zip(
            row[1:], column[1:], sizes, strides, geometry.stride, strict=True
        ):
            at = f"({own} - {back})" if back != "0" else f"({own})"
            inside.append(f"{at} >= 0 && {at} < {c_dim(size * step)}")
            if step > 1:
                inside.append(f"{at} % {step} == 0")
            offset = plus(offset, times(f"({at} / {step})" if step > 1 else at, stride))
        return offset, " && ".join(inside)


def declared(kernel: Kernel, values: Sequence[str], prefix: str) -> list[str]:
    """The values as variables, but for numbers and names."""
    found = []
    for i, value in enumerate(values):
        if value.replace("_", "").isalnum():
            found.append(value)
            continue
        kernel.line(f"const int {prefix}_column{i} = {value};")
        found.append(f"{prefix}_column{i}")
    return found
