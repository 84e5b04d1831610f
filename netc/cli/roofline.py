"""Kernels under the roofline: where the time goes, and how far each is from the machine's limits."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from netc.backends.llvm.machine_peak import Peaks
from netc.cli.output import table
from netc.runtime.profile import KernelTime

COPIES = "0"  # the arithmetic intensity of kernels that only move elements


@dataclass(frozen=True, slots=True)
class Ranked:
    """A kernel with its part of the time of all kernels, and that of all which take no less. In 0 … 1."""

    kernel: KernelTime
    share: float
    cumulated: float


def ranked(kernels: list[KernelTime]) -> list[Ranked]:
    """The kernels, the slowest first."""
    total = total_seconds(kernels)
    found, sum_ = [], 0.0
    for kernel in sorted(kernels, key=lambda k: k.seconds, reverse=True):
        share = kernel.seconds / total
        sum_ += share
        found.append(Ranked(kernel, share, sum_))
    return found


def total_seconds(kernels: list[KernelTime]) -> float:
    """The time of all kernels; a divisor, so never 0."""
    return sum(k.seconds for k in kernels) or 1.0


def roofline_table(kernels: list[KernelTime], peaks: Peaks) -> str:
    """A line a kernel, the slowest first, and one for all."""
    training = any(k.backward for k in kernels)
    rows = [_row(each, peaks, training) for each in ranked(kernels)]
    total = total_seconds(kernels)
    floor = sum(k.floor_seconds(peaks) for k in kernels)
    flops, moved = sum(k.flops for k in kernels), sum(k.bytes for k in kernels)
    rates = (f"{flops / total / 1e9:.1f}", f"{moved / total / 1e9:.1f}")
    ends = ("", "", f"{1e3 * floor:.3f}", f"{100 * floor / total:.0f} %")
    rows.append(
        (*_named("all kernels", "", "", "", training), f"{1e3 * total:.3f}", "100.0", "", *rates, *ends)
    )
    header = (
        *_named("layer", "pass", "ops", "shape", training),
        "ms", "%", "sum %", "GFLOP/s", "GB/s", "flop/B", "bound", "floor ms", "of floor",
    )  # fmt: skip
    first = len(header) - 9
    right = tuple(c for c in range(first, len(header)) if header[c] != "bound")
    return table(header, rows, right=right)


def roofline_data(kernels: list[KernelTime], peaks: Peaks) -> list[dict[str, object]]:
    """What the table says, for programs: an entry a kernel, in the order in which they run."""
    entries = {
        id(each.kernel): {
            **asdict(each.kernel),
            "gflops_per_s": each.kernel.gflops_per_s,
            "gbytes_per_s": each.kernel.gbytes_per_s,
            "flops_per_byte": each.kernel.flops_per_byte,
            "bound": _bound(each.kernel, peaks),
            "floor_seconds": each.kernel.floor_seconds(peaks),
            "fraction_of_peak": each.kernel.fraction_of_peak(peaks),
            "share": each.share,
            "cumulated": each.cumulated,
        }
        for each in ranked(kernels)
    }
    return [entries[id(kernel)] for kernel in kernels]


def layer_of(kernel: KernelTime) -> str:
    """The layer that a kernel begins with; what it writes where that is none."""
    return kernel.layers[0] if kernel.layers else kernel.value


def ops_of(kernel: KernelTime) -> str:
    """The ops of a kernel without their families: ``conv relu``."""
    return " ".join(op.rpartition(".")[2] for op in kernel.ops)


def pass_of(kernel: KernelTime) -> str:
    """The pass that a kernel of a module for training belongs to."""
    return "backward" if kernel.backward else "forward"


def _row(each: Ranked, peaks: Peaks, training: bool) -> tuple[str, ...]:
    kernel = each.kernel
    return (
        *_named(layer_of(kernel), pass_of(kernel), ops_of(kernel), kernel.shape, training),
        f"{1e3 * kernel.seconds:.3f}",
        f"{100 * each.share:.1f}",
        f"{100 * each.cumulated:.1f}",
        f"{kernel.gflops_per_s:.1f}",
        f"{kernel.gbytes_per_s:.1f}",
        f"{kernel.flops_per_byte:.1f}" if kernel.flops else COPIES,
        _bound(kernel, peaks),
        f"{1e3 * kernel.floor_seconds(peaks):.3f}",
        f"{100 * kernel.fraction_of_peak(peaks):.0f} %",
    )


def _named(layer: str, pass_: str, ops: str, shape: str, training: bool) -> tuple[str, ...]:
    return (layer, pass_, ops, shape) if training else (layer, ops, shape)


def _bound(kernel: KernelTime, peaks: Peaks) -> str:
    return "memory" if kernel.is_bound_by_memory(peaks) else "arithmetic"
