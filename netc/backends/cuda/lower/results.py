"""What becomes of a product's sums: parts go to scratch memory, wholes are finished and stored.

Neighbours that a thread has are stored together where memory allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from netc.backends.cuda.kernel import Kernel, Memory
from netc.backends.cuda.lower.epilogue import finish_at
from netc.backends.cuda.lower.product import GROUP, Product
from netc.backends.cuda.lower.tiling import Tiling
from netc.backends.cuda.text import c_dim, split_index
from netc.ir.core import Op
from netc.ir.dim import exact_quotient


@dataclass(frozen=True, slots=True)
class Sums:
    """A thread's sums: ``rows`` in ``i``, and in ``j`` ``runs`` of ``width`` neighbouring columns in ``e``.

    ``m`` is the row in terms of i, ``n`` the first column of a run in terms of j, ``value`` the sum in terms
    of all three.
    """

    m: str
    rows: int
    n: str
    runs: int
    width: int
    value: str


def store_sums(
    kernel: Kernel, anchor: Op, tail: Sequence[Op], product: Product, schedule: Tiling, sums: Sums
) -> None:
    """Store a thread's sums, or what follows of them."""
    together = _neighbours_stay(kernel, product, schedule, sums.width)
    names = [f"n_{a}" for a in range(len(product.columns))]
    with kernel.unrolled("j", sums.runs), nullcontext() if together else kernel.unrolled("e", sums.width):
        kernel.line(f"const int n = {sums.n}{'' if together else ' + e'};")
        with kernel.block(f"if (n < {c_dim(product.n)})"):
            columns = kernel.split("n", names, product.columns)
            with kernel.unrolled("i", sums.rows):
                kernel.line(f"const int m = {sums.m};")
                with kernel.block(f"if (m < {c_dim(product.m)})"):
                    width = sums.width if together else 1
                    _store(kernel, anchor, tail, product, schedule, sums.value, columns, width)


def join_parts(kernel: Kernel, anchor: Op, tail: Sequence[Op], product: Product, schedule: Tiling) -> None:
    """The second stage, where there are parts."""
    if schedule.parts > 1:
        emit_join(kernel, anchor, tail, product, schedule.parts)


def emit_join(kernel: Kernel, anchor: Op, tail: Sequence[Op], product: Product, parts: int) -> None:
    """The sum of parts in scratch memory, in order, and what follows."""
    extents = (product.groups, product.m, product.n)
    with kernel.elements(extents, [GROUP, "m", "n"], suffix="_join", scratch=True) as (_, m, n):
        kernel.line("float total = 0.0f;")
        size = product.m * product.n * product.groups
        with kernel.block(f"for (int part = 0; part < {parts}; ++part)"):
            kernel.line(f"total += scratch[part * {c_dim(size)} + item];")
        columns = split_index(n, product.columns)
        grouped = [f"({c})" if c != "0" else c for c in columns]
        _finish(kernel, anchor, tail, product, "total", grouped, m)


def _store(
    kernel: Kernel,
    anchor: Op,
    tail: Sequence[Op],
    product: Product,
    schedule: Tiling,
    value: str,
    columns: Sequence[str],
    width: int,
) -> None:
    """The sums of a run, at ``m`` and the columns from ``columns`` on."""
    place = _place_in_scratch(product, schedule)
    if width == 1 and _stays_in_scratch(product, schedule):
        kernel.line(f"scratch[{place}] = {value};")
        return
    if width == 1:
        _finish(kernel, anchor, tail, product, value, columns)
        return
    if _stays_in_scratch(product, schedule):
        kernel.line(f"float run[{width}];")
        with kernel.unrolled("e", width):
            kernel.line(f"run[e] = {value};")
        kernel.line(_store_run("scratch", place, "run", width))
        return
    for memory in kernel.writes:
        kernel.line(f"float {memory.pointer}_run[{width}];")
    with kernel.unrolled("e", width):
        shifted = [*columns[:-1], f"({columns[-1]} + e)"]
        _finish(kernel, anchor, tail, product, value, shifted, as_run=True)
    indices = product.place(GROUP if product.groups > 1 else "0", "m", columns)
    for memory in kernel.writes:
        kernel.line(_store_run(memory.pointer, memory.at(indices), f"{memory.pointer}_run", width))


def _stays_in_scratch(product: Product, schedule: Tiling) -> bool:
    """Whether another function goes on with the sums."""
    return schedule.parts > 1 or product.kept_at is not None


def _place_in_scratch(product: Product, schedule: Tiling) -> str:
    """Where the sum of row m and column n goes then."""
    slab = GROUP if product.groups > 1 else "0"
    if schedule.parts > 1:
        slab = f"part * {product.groups} + {GROUP}" if product.groups > 1 else "part"
    place = f"(({slab}) * {c_dim(product.m)} + m) * {c_dim(product.n)} + n"
    return place if product.kept_at is None else f"{c_dim(product.kept_at)} + {place}"


def _store_run(pointer: str, at: str, run: str, width: int) -> str:
    value = f"pack({run})" if width == 4 else f"float2{{{run}[0], {run}[1]}}"
    return f"store{width}({pointer} + {at}, {value});"


def _finish(
    kernel: Kernel,
    anchor: Op,
    tail: Sequence[Op],
    product: Product,
    value: str,
    columns: Sequence[str],
    m: str = "m",
    as_run: bool = False,
) -> None:
    """Add the bias, run what follows, store: each result in its place, or in that of ``e`` in a run."""
    group = GROUP if product.groups > 1 else "0"
    indices = product.place(group, m, columns)
    condition = product.inside(group, columns) if product.inside is not None else ""

    def into_run(memory: Memory) -> str:
        return f"{memory.pointer}_run[e]"

    with kernel.block(f"if ({condition})") if condition else nullcontext():
        if product.bias is not None:
            value = f"{value} + {product.bias.element([indices[1]])}"
        kernel.line(f"const float value = {value};")
        known = {anchor.result.name: "value"}
        finish_at(kernel, known, tail, indices, into_run if as_run else None)


def _neighbours_stay(kernel: Kernel, product: Product, schedule: Tiling, width: int) -> bool:
    """Whether runs of columns from a multiple of ``width`` on are neighbours in memory, and all there."""
    if _stays_in_scratch(product, schedule):
        return exact_quotient(product.n, width) is not None
    probe = [f"n_{a}" for a in range(len(product.columns))]
    *others, last = product.place(GROUP, "m", probe)
    if product.inside is not None or last != probe[-1] or any(probe[-1] in index for index in others):
        return False
    dims = [product.columns[-1]]
    for memory in kernel.writes:
        if not memory.aligned or memory.strides[-1] != 1:
            return False
        dims += memory.strides[:-1]
    return all(exact_quotient(d, width) is not None for d in dims)
