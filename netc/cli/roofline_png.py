"""The roofline as a picture: every kernel as a disk at its arithmetic intensity. Needs matplotlib."""

from __future__ import annotations

from typing import Any

from netc.backends.llvm.machine_peak import Peaks
from netc.cli.picture_file import new_figure, save_figure
from netc.cli.roofline import Ranked, layer_of, ranked
from netc.runtime.profile import KernelTime

_LABELLED = 6  # the slowest kernels get their names
_LARGEST_AREA = 900.0  # points squared, of a kernel that takes all the time
_SMALLEST_AREA = 8.0
_MARGIN = 2.0  # the factor between the outermost kernels and the frame


def write_roofline(path: str, title: str, kernels: list[KernelTime], peaks: Peaks) -> None:
    """Draw GFLOP/s over flops per byte, both logarithmic; a disk's area is its share of the time.

    Kernels without arithmetic have no place there; a line below says what they take.
    """
    figure = new_figure(9, 6)
    axes = figure.add_subplot(1, 1, 1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    drawn = [each for each in ranked(kernels) if each.kernel.gflops_per_s > 0 and each.kernel.bytes]
    _draw_roof(axes, drawn, peaks)
    for backward, colour, label in ((False, "C0", "forward"), (True, "C1", "backward")):
        group = [each for each in drawn if each.kernel.backward == backward]
        if group:
            axes.scatter(
                [each.kernel.flops_per_byte for each in group],
                [each.kernel.gflops_per_s for each in group],
                s=[max(_SMALLEST_AREA, _LARGEST_AREA * each.share) for each in group],
                color=colour,
                alpha=0.5,
                label=label,
            )
    for each in drawn[:_LABELLED]:
        at = (each.kernel.flops_per_byte, each.kernel.gflops_per_s)
        text = f"{layer_of(each.kernel)} {100 * each.share:.0f} %"
        axes.annotate(text, at, xytext=(6, -10), textcoords="offset points", fontsize=8)
    axes.set_title(title)
    axes.set_xlabel(_below(kernels, drawn))
    axes.set_ylabel("GFLOP/s")
    axes.grid(which="both", alpha=0.2)
    axes.legend(loc="lower right")
    save_figure(path, figure)


def _draw_roof(axes: Any, drawn: list[Ranked], peaks: Peaks) -> None:
    """The line that nothing which comes from memory can pass; the frame holds its ridge and all kernels."""
    ridge = peaks.gflops / peaks.gbytes_per_s
    intensities = [each.kernel.flops_per_byte for each in drawn]
    left = min([ridge, *intensities]) / _MARGIN
    right = max([ridge, *intensities]) * _MARGIN
    axes.plot(
        [left, ridge, right],
        [left * peaks.gbytes_per_s, peaks.gflops, peaks.gflops],
        color="black",
        linewidth=1.5,
        label=f"{peaks.gflops:.0f} GFLOP/s, {peaks.gbytes_per_s:.1f} GB/s",
    )
    axes.set_xlim(left, right)
    rates = [left * peaks.gbytes_per_s, *(each.kernel.gflops_per_s for each in drawn)]
    axes.set_ylim(min(rates) / _MARGIN, max(peaks.gflops, *rates) * _MARGIN)


def _below(kernels: list[KernelTime], drawn: list[Ranked]) -> str:
    text = "flops per byte of operands"
    missing = len(kernels) - len(drawn)
    if not missing:
        return text
    share = 1 - sum(each.share for each in drawn)
    return f"{text}\n{missing} kernels without arithmetic take {100 * share:.1f} % of the time"
