"""Windows that slide over spatial axes, one thread an output or an input: bounds and loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.text import c_dim, plus, times
from netc.ir.dim import Dim
from netc.ir.ops.window import Pads


def begins(kernel: Kernel, outputs: Sequence[str], stride: Sequence[int], pad: Pads) -> list[str]:
    """Declare where the window of each output index begins, which may be before the first element."""
    found = []
    for axis, (o, s, (low, _)) in enumerate(zip(outputs, stride, pad, strict=True)):
        kernel.line(f"const int begin{axis} = {plus(times(o, s), str(-low)) if low else times(o, s)};")
        found.append(f"begin{axis}")
    return found


@contextmanager
def inside(
    kernel: Kernel, begin: Sequence[str], extent: Sequence[int], size: Sequence[Dim]
) -> Iterator[list[str]]:
    """Loops over the elements of a window that lie in the input; yields their indices."""
    with ExitStack() as stack:
        indices = []
        for axis, (b, k, n) in enumerate(zip(begin, extent, size, strict=True)):
            i = f"at{axis}"
            head = f"for (int {i} = max({b}, 0); {i} < min({b} + {k}, {c_dim(n)}); ++{i})"
            stack.enter_context(kernel.block(head))
            indices.append(i)
        yield indices


@contextmanager
def windows_over(
    kernel: Kernel,
    inputs: Sequence[str],
    outputs: Sequence[Dim],
    extent: Sequence[int],
    stride: Sequence[int],
    pad: Pads,
) -> Iterator[list[str]]:
    """Loops over the windows that contain an element; yields their output indices."""
    with ExitStack() as stack:
        indices = []
        for axis, (i, n, k, s, (low, _)) in enumerate(zip(inputs, outputs, extent, stride, pad, strict=True)):
            o = f"o{axis}"
            at = plus(i, str(low))
            first = f"{at} < {k} ? 0 : ({at} - {k}) / {s} + 1"
            last = f"min(({at}) / {s}, {c_dim(n - 1)})"
            stack.enter_context(kernel.block(f"for (int {o} = {first}; {o} <= {last}; ++{o})"))
            indices.append(o)
        yield indices


def tap_number(kernel_extents: Sequence[int], offsets: Sequence[str]) -> str:
    """The number of a tap in row-major order."""
    text = "0"
    for extent, offset in zip(kernel_extents, offsets, strict=True):
        text = offset if text == "0" else f"({text}) * {extent} + {offset}"
    return text


def divisor(
    begin: Sequence[str], extent: Sequence[int], size: Sequence[Dim], pad: Pads, count_padding: bool
) -> str:
    """By how many elements the sum of a window is divided, as an int expression."""
    factors = []
    for b, k, n, (_, high) in zip(begin, extent, size, pad, strict=True):
        end = f"min({b} + {k}, {c_dim(n + high)})"
        if count_padding:
            factors.append(f"({end} - ({b}))")
        else:
            factors.append(f"(min({end}, {c_dim(n)}) - max({b}, 0))")
    return " * ".join(factors)
