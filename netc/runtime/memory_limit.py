"""Fits training into a limit of memory: computes activations again where they would take too much."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from netc.ir.arena import arena_bytes, argument_bytes
from netc.ir.core import Module
from netc.ir.cost import func_cost
from netc.ir.diagnostics import NetcError
from netc.passes.pipeline import Lowered
from netc.runtime.lower_net import lower_net
from netc.runtime.memory import show_bytes
from netc.runtime.options import NUMPY_TARGET, CompileOptions

_MOST_SEGMENTS = 64


@dataclass(frozen=True, slots=True)
class Recomputation:
    """What keeping activations at the ends of ``segments`` runs only saves, and what it costs.

    ``kept_bytes`` is the activations' memory with everything kept, ``bytes`` what it is now; ``macs`` are the
    multiply-accumulates of an iteration, ``extra_macs`` those of them that are done a second time.
    """

    segments: int
    kept_bytes: int
    bytes: int
    macs: int
    extra_macs: int

    def __str__(self) -> str:
        """A line for a person."""
        if self.segments == 1:
            return f"activations take {show_bytes(self.bytes)}; nothing is computed twice"
        return (
            f"activations take {show_bytes(self.bytes)} instead of {show_bytes(self.kept_bytes)}: "
            f"{self.segments} runs, {100 * self.extra_macs / max(1, self.macs - self.extra_macs):.0f} % more "
            "multiply-accumulates"
        )


def fit_memory(
    module: Module, options: CompileOptions, forward: Collection[str], *, limit: int, fixed: int
) -> Recomputation:
    """The fewest runs with which an iteration takes at most ``limit`` bytes; ``fixed`` are for what lasts.

    NetcError where no number of runs is enough.
    """
    if options.target == NUMPY_TARGET:
        raise NetcError(
            "a limit of memory is for compiled code: the reference keeps all it computes",
            remedy="leave out the limit, or compile for the target cpu",
        )
    untuned = replace(options, tuner=None)
    kept = lower_net(module, untuned, forward=forward)
    best, best_bytes = kept, arena_bytes(kept.buffer)
    kept_bytes, macs = best_bytes, _macs(kept)
    fixed += argument_bytes(kept.buffer.func("main"))
    segments = tried = 1
    while fixed + best_bytes > limit and tried < _MOST_SEGMENTS:
        tried = tried + 1 if tried < 4 else tried * 3 // 2
        lowered = lower_net(module, untuned, forward=forward, segments=tried)
        nbytes = arena_bytes(lowered.buffer)
        if nbytes < best_bytes:
            best, best_bytes, segments = lowered, nbytes, tried
    if fixed + best_bytes > limit:
        raise NetcError(
            f"training takes {show_bytes(fixed + best_bytes)} at least, more than the limit of "
            f"{show_bytes(limit)}: {show_bytes(fixed)} for parameters, their history, inputs and outputs, "
            f"{show_bytes(best_bytes)} for activations",
            remedy="a smaller batch with a larger iter_size learns the same with fewer activations",
        )
    total = _macs(best)
    return Recomputation(segments, kept_bytes, best_bytes, total, total - macs)


def _macs(lowered: Lowered) -> int:
    macs = func_cost(lowered.tensor.func("main")).macs
    assert isinstance(macs, int)
    return macs
