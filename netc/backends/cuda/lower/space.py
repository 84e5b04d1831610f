"""Boxes of indices that several memories are walked along, with as few axes as possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netc.backends.cuda.kernel import Memory
from netc.ir.dim import Dim, exact_quotient


@dataclass(frozen=True, slots=True)
class Space:
    """``extents`` of the axes; ``strides`` of every memory along them, by its pointer."""

    extents: tuple[Dim, ...]
    strides: Mapping[str, tuple[Dim, ...]]

    def merged(self) -> Space:
        """Without axes of extent 1, and with neighbouring axes joined that all memories walk as one."""
        axes: list[tuple[Dim, list[Dim]]] = []
        for axis in reversed(range(len(self.extents))):
            extent, strides = self.extents[axis], [s[axis] for s in self.strides.values()]
            if extent == 1:
                continue
            if axes and all(
                outer == inner * axes[0][0] for outer, inner in zip(strides, axes[0][1], strict=True)
            ):
                axes[0] = (axes[0][0] * extent, axes[0][1])
            else:
                axes.insert(0, (extent, strides))
        axes = axes or [(1, [0] * len(self.strides))]
        return Space(
            tuple(a[0] for a in axes),
            {name: tuple(a[1][i] for a in axes) for i, name in enumerate(self.strides)},
        )

    def in_fours(self, aligned: Mapping[str, bool], written: Sequence[str]) -> Space | None:
        """The space of runs of four elements along the last axis, where 16 bytes can be moved at once."""
        *outer, last = self.extents
        fours = exact_quotient(last, 4)
        if fours is None:
            return None
        for name, strides in self.strides.items():
            if strides[-1] == 0 and name not in written:
                continue
            whole = all(exact_quotient(s, 4) is not None for s in strides[:-1])
            if strides[-1] != 1 or not whole or not aligned[name]:
                return None
        return Space((*outer, fours), {name: (*s[:-1], s[-1] * 4) for name, s in self.strides.items()})


def broadcast_strides(memory: Memory, shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """Strides of an operand along the axes of the shape that it broadcasts to."""
    return tuple(
        0 if extent == 1 and whole != 1 else stride
        for extent, whole, stride in zip(memory.type.shape, shape, memory.strides, strict=True)
    )
