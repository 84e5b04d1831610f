"""Loops inside of loops with values carried through all of them, for windows over any number of axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netc.ir.core import Value
from netc.ir.loop_builder import Index, LoopBuilder

Step = Callable[[list[Index], list[Value]], list[Value]]


def nest(
    b: LoopBuilder, bounds: Sequence[tuple[Index, Index]], carried: Sequence[Value], step: Step
) -> list[Value]:
    """Run ``carried = step(indices, carried)`` for every index in the box of half-open ``bounds``."""

    def level(
        outer: list[Index], rest: Sequence[tuple[Index, Index]], values: Sequence[Value]
    ) -> list[Value]:
        if not rest:
            return step(outer, list(values))
        with b.loop(*rest[0], 1, values) as loop:
            loop.carry(level([*outer, loop.index], rest[1:], loop.carried))
        return list(loop.results)

    return level([], bounds, carried)
