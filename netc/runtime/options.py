"""What a caller may ask of a compilation; checked once, then passed on unchanged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Literal

from netc.backends.llvm.cores import check_can_bind
from netc.frontend.python_layers.layers import PythonLayers
from netc.ir.diagnostics import NetcError
from netc.ir.dim import Dim, SymDim, symbol
from netc.ir.types import MAX_ELEMENTS
from netc.runtime.precision import DEFAULT_PRECISION, Precision, check_precision
from netc.runtime.ranges import ActivationRanges

if TYPE_CHECKING:
    from netc.runtime.tuning.tuner import Tuner

Phase = Literal["TRAIN", "TEST"]
Shape = tuple[Dim, ...]

MAX_EXTENT = MAX_ELEMENTS
MAX_THREADS = 1024
NUMPY_TARGET = "numpy"
_SYMBOL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """How a net is read and compiled.

    ``target`` is ``cpu``, ``cpu:LEVEL``, ``cuda``, ``cuda:sm_NN,…`` or ``numpy`` (the reference, slow).
    ``phase``, ``level`` and ``stages`` choose layers as Caffe's NetState does. ``input_shapes`` replaces
    shapes of the net's inputs; a dimension may be a symbol. ``threads`` is None for all cores; with
    ``pin_threads`` each is bound to a core while it computes (Linux), which no file keeps. ``keep`` names
    intermediate blobs to be had after a run. ``fully_convolutional`` turns inner products into convolutions.
    ``exact`` forbids algorithms that round more than sums of products do: Winograd's convolution. With a
    ``tuner`` schedules are measured, on the processor or the GPU, instead of chosen by a model.
    ``precision`` is what the factors of matrix products are rounded to, see `netc.runtime.precision`;
    ``int8`` needs ``ranges``. ``python_layers`` says which classes may be run as layers, and remembers their
    objects: one net, one of these.
    """

    target: str = "cpu"
    phase: Phase = "TEST"
    level: int = 0
    stages: tuple[str, ...] = ()
    input_shapes: tuple[tuple[str, Shape], ...] = ()
    opt_level: int = 3
    threads: int | None = None
    pin_threads: bool = False
    keep: tuple[str, ...] = ()
    fully_convolutional: bool = False
    exact: bool = False
    precision: Precision = DEFAULT_PRECISION
    ranges: ActivationRanges | None = None
    tuner: Tuner | None = field(default=None, compare=False, repr=False)
    python_layers: PythonLayers = field(default_factory=PythonLayers, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.phase not in ("TRAIN", "TEST"):
            raise NetcError(f"phase is TRAIN or TEST, got '{self.phase}'")
        if self.opt_level not in (0, 1, 2, 3):
            raise NetcError(f"the optimisation level is one of 0, 1, 2, 3, got {self.opt_level!r}")
        if self.threads is not None and not (_is_int(self.threads) and 1 <= self.threads <= MAX_THREADS):
            raise NetcError(f"the number of threads lies in 1 … {MAX_THREADS}, got {self.threads!r}")
        if self.pin_threads:
            if not self.target.strip().lower().startswith("cpu"):
                raise NetcError(
                    f"the target {self.target} has no threads to bind",
                    remedy="leave out pin_threads, or --pin",
                )
            check_can_bind()
        check_precision(self)
        if self.tuner is not None and self.target == NUMPY_TARGET:
            raise NetcError(f"the target {self.target} has no schedules to measure", remedy="leave out tune")
        if not _is_int(self.level):
            raise NetcError(f"the level is a number, got {self.level!r}")


def as_names(what: str, names: Iterable[str]) -> tuple[str, ...]:
    """Names a caller gave: a list, not one text, whose letters would be taken for names."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise NetcError(f"{what} is a list of names, got {names!r}", remedy=f"write {what}=['{names}']")
    return tuple(names)


def as_input_shapes(
    shapes: Mapping[str, Iterable[int | str | SymDim]] | None,
) -> tuple[tuple[str, Shape], ...]:
    """The shapes a caller gave, as options hold them: numbers, or names of symbols."""
    if shapes is None:
        return ()
    if not isinstance(shapes, Mapping):
        raise NetcError(f"input_shapes maps the names of inputs to shapes, got {shapes!r}")
    for name, dims in shapes.items():
        if isinstance(dims, str) or not isinstance(dims, Iterable):
            raise NetcError(f"the shape of input '{name}' is a list of dimensions, got {dims!r}")
    return tuple((name, tuple(_extent(name, d) for d in dims)) for name, dims in shapes.items())


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def parse_input_shape(text: str) -> tuple[str, Shape]:
    """``data=1,3,224,224`` or ``data=N,3,H,W``."""
    name, equals, dims = text.rpartition("=")
    if not equals or not name or not dims:
        raise NetcError(
            f"'{text}' is not an input shape",
            remedy="write NAME=DIM,DIM,… such as data=1,3,224,224 or data=N,3,H,W",
        )
    return name, tuple(_extent(name, d.strip()) for d in dims.split(","))


def _extent(name: str, given: int | str | SymDim) -> Dim:
    if isinstance(given, SymDim):
        return given
    if isinstance(given, str) and _SYMBOL.match(given):
        return symbol(given)
    try:
        value = int(given) if isinstance(given, str) or _is_int(given) else 0
    except ValueError:
        value = 0
    if not 1 <= value <= MAX_EXTENT:
        raise NetcError(
            f"the shape of input '{name}' has the dimension '{given}'; expected a number in 1 … {MAX_EXTENT} "
            "or the name of a symbol such as N"
        )
    return value
