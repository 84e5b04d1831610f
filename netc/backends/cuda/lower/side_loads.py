"""How the threads of a block share the loads of one operand's tile of a matrix product."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from netc.backends.cuda.kernel import Kernel
from netc.backends.cuda.lower.product import Operand
from netc.backends.cuda.lower.tiling import Tile
from netc.backends.cuda.text import c_dim
from netc.ir.dim import Dim, exact_quotient

CROSSED_DEPTH = 16  # of a padded tile: columns 8 apart lie in the same banks
WARP = 32


class SideLoads:
    """How the threads of a block share the elements of one operand's tile, ``rows`` x ``tile.k``.

    A thread moves ``count`` runs of ``run`` elements; neighbours in memory go to neighbouring threads. With
    ``by_depth`` the tile lies as [k][row] whatever the operand: half of the threads along k then take other
    rows than the rest of their warp, whose banks they would meet. Runs are ``single`` elements on request.
    """

    def __init__(
        self,
        kernel: Kernel,
        name: str,
        operand: Operand,
        rows: int,
        tile: Tile,
        extent: Dim,
        depth: Dim,
        *,
        by_depth: bool = False,
        single: bool = False,
    ) -> None:
        self.kernel, self.name, self.operand, self.rows, self.tile = kernel, name, operand, rows, tile
        self.extent, self.depth = extent, depth
        whole = operand.fast == "column" or exact_quotient(extent, 4) is not None
        self.run = 4 if operand.fours and whole and not single else 1
        fast = rows if operand.fast == "row" else tile.k
        self.line = fast // self.run  # threads along the fast direction
        self.count = rows * tile.k // self.run // tile.threads
        if self.count == 0:
            self.run, self.line, self.count = 1, fast, rows * tile.k // tile.threads
        self.step = tile.threads // self.line  # how far apart a thread's runs are across it
        apart = WARP // self.line if self.line < WARP else 0  # rows of a warp
        crossed = by_depth and operand.fast == "column" and tile.k == CROSSED_DEPTH
        self.apart = apart if crossed and self.step % (2 * apart) == 0 else 0
        self.rows_held = self.count if operand.fast == "column" else 1  # by a thread, taken apart

    def place(self, i: str) -> tuple[str, str]:
        """Row and column, within the tile, of the first element of a thread's run ``i``."""
        times = f" * {self.run}" if self.run > 1 else ""
        along = f"int(threadIdx.x % {self.line}{times})"
        across = f"int(threadIdx.x / {self.line})"
        if i != "0":
            across = f"({across} + {i} * {self.step})"
        if self.apart:
            across = f"({across} ^ int(threadIdx.x % {self.line} / {self.line // 2} * {self.apart}))"
        return (along, across) if self.operand.fast == "row" else (across, along)

    @property
    def held(self) -> int:
        """The registers of a thread that its rows take."""
        return len(self.operand.fields) * self.rows_held

    def row_of(self, i: str) -> str:
        """Which of the rows that a thread holds its run ``i`` is in."""
        return "0" if self.rows_held == 1 else i

    def declare_rows(self) -> None:
        """Take apart the rows that this thread loads, once."""
        kernel, name = self.kernel, self.name
        count = self.rows_held
        for field in self.operand.fields:
            kernel.line(f"int {name}_{field}[{count}];")
        with kernel.unrolled("i", count):
            row, _ = self.place("i" if count > 1 else "0")
            origin = "m0" if name == "a" else "n0"
            # rows beyond the last are computed from it and never stored
            last = c_dim(self.extent - (self.run if self.operand.fast == "row" else 1))
            kernel.line(f"const int row = min({origin} + {row}, {last});")
            values = self.operand.row(kernel, "row")
            for field, value in zip(self.operand.fields, values, strict=True):
                kernel.line(f"{name}_{field}[i] = {value};")

    @contextmanager
    def elements(self, at_once: int | None = None) -> Iterator[tuple[str, str, str]]:
        """A loop over this thread's runs of the step at ``k0``: number, offset and condition of each.

        ``at_once`` as in :meth:`Kernel.unrolled`, where all runs are of one row.
        """
        kernel = self.kernel
        with kernel.unrolled("i", self.count, at_once=at_once if self.rows_held == 1 else None):
            _, column = self.place("i")
            kernel.line(f"const int k = k0 + {column};")
            row = [f"{self.name}_{f}[{self.row_of('i')}]" for f in self.operand.fields]
            offset, condition = self.operand.element(row, self.operand.column(kernel, "k"))
            conditions = [c for c in (self._within_depth(), condition) if c]
            yield "i", offset, " && ".join(conditions)

    def _within_depth(self) -> str:
        whole = isinstance(self.depth, int) and self.depth % self.tile.k == 0
        return "" if whole else f"k < {c_dim(self.depth)}"


class PatchLoads(SideLoads):
    """The same for an operand whose rows are neighbours, and a tile that lies as [row][k].

    A warp moves 8 rows x 4 columns at a time: whole sectors of memory, and no two words in a bank of a
    swizzled tile.
    """

    ROWS, COLUMNS = 8, 4

    def __init__(
        self, kernel: Kernel, name: str, operand: Operand, rows: int, tile: Tile, extent: Dim, depth: Dim
    ) -> None:
        super().__init__(kernel, name, operand, rows, tile, extent, depth, single=True)
        warps, bands = tile.threads // WARP, rows // self.ROWS
        self.bands = bands
        self.rows_held = max(1, bands // warps)
        self.columns_apart = self.COLUMNS * max(1, warps // bands)
        self.count = rows * tile.k // tile.threads

    def place(self, i: str) -> tuple[str, str]:
        """Row and column of a thread's run ``i``, whose row changes first."""
        warp = f"threadIdx.x / {WARP}"
        band = f"{warp} % {self.bands}" if self.rows_held == 1 else f"{warp}"
        row = f"int(threadIdx.x % {self.ROWS} + {band} * {self.ROWS})"
        column = f"int(threadIdx.x / {self.ROWS} % {self.COLUMNS} + {warp} / {self.bands} * {self.COLUMNS})"
        if i == "0":
            return row, column
        if self.rows_held > 1:
            row = f"({row} + {i} % {self.rows_held} * {self.ROWS * (self.tile.threads // WARP)})"
            return row, f"({column} + {i} / {self.rows_held} * {self.columns_apart})"
        return row, f"({column} + {i} * {self.columns_apart})"

    def row_of(self, i: str) -> str:
        """Which of the rows that a thread holds its run ``i`` is in."""
        return "0" if self.rows_held == 1 else f"{i} % {self.rows_held}"
