"""What the generated code is for: architectures by their names, and the arithmetic of matrix products.

``cuda`` stands for every architecture known, ``cuda:sm_90`` for one, ``cuda:sm_80,sm_90`` for several. An
artefact for several also holds PTX, which the driver of a later GPU compiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from netc.ir.diagnostics import NetcError

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
DEFAULT_PRECISION: Precision = "tf32"
FIRST_WITH_TENSOR_CORES = 80  # mma.sync of tf32 and bf16, and cp.async, begin here
WITH_WARPGROUPS = (90,)  # wgmma is of these alone: later ones have other units


@dataclass(frozen=True, slots=True)
class Units:
    """What matrix products are computed with: the precision of their factors, and whether by warpgroups."""

    precision: Precision
    warpgroups: bool = False


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture, and the limits of the chip that predictions are made for.

    ``shared_bytes`` is what one block may have. ``fp32``, ``tf32`` and ``half`` are dense peaks in flop/s,
    ``bandwidth`` is in bytes/s: the data sheet's figures for ``chip``.
    """

    number: int
    chip: str
    processors: int
    shared_bytes: int
    fp32: float
    tf32: float
    half: float
    bandwidth: float

    @property
    def name(self) -> str:
        """``sm_90``."""
        return f"sm_{self.number}"

    @property
    def has_tensor_cores(self) -> bool:
        """Whether the kernels for tensor cores run here."""
        return self.number >= FIRST_WITH_TENSOR_CORES

    @property
    def has_warpgroups(self) -> bool:
        """Whether products of warpgroups run here."""
        return self.number in WITH_WARPGROUPS

    @property
    def compiled_as(self) -> str:
        """The compiler's name: ``sm_90a`` where code for this architecture alone is wanted."""
        return f"{self.name}a" if self.has_warpgroups else self.name

    def units(self, wanted: Precision) -> Units:
        """What its machine code computes matrix products with."""
        return Units(wanted, self.has_warpgroups) if self.has_tensor_cores else Units("fp32")

    def portable_units(self, wanted: Precision) -> Units:
        """The same for its PTX, which later architectures run, too."""
        return Units(self.units(wanted).precision)

    def peak(self, precision: Precision) -> float:
        """The flop/s of matrix products in a precision."""
        if precision == "fp32" or not self.has_tensor_cores:
            return self.fp32
        return self.tf32 if precision == "tf32" else self.half


_KIB = 1 << 10
ARCHITECTURES: Mapping[str, Architecture] = {
    a.name: a
    for a in (
        Architecture(70, "V100 SXM2", 80, 96 * _KIB, 15.7e12, 15.7e12, 125e12, 900e9),
        Architecture(75, "T4", 40, 64 * _KIB, 8.1e12, 8.1e12, 65e12, 320e9),
        Architecture(80, "A100 SXM4 80 GB", 108, 163 * _KIB, 19.5e12, 156e12, 312e12, 2039e9),
        Architecture(86, "RTX 3090", 82, 99 * _KIB, 35.6e12, 35.6e12, 71e12, 936e9),
        Architecture(89, "RTX 4090", 128, 99 * _KIB, 82.6e12, 82.6e12, 165e12, 1008e9),
        Architecture(90, "H100 SXM5", 132, 227 * _KIB, 66.9e12, 494e12, 989e12, 3352e9),
        Architecture(100, "B200", 148, 227 * _KIB, 75e12, 1100e12, 2250e12, 8000e9),
        Architecture(120, "RTX 5090", 170, 99 * _KIB, 104.8e12, 104.8e12, 209.5e12, 1792e9),
    )
}


@dataclass(frozen=True, slots=True)
class CudaTarget:
    """The architectures to generate code for, and the precision of matrix products."""

    architectures: tuple[Architecture, ...]
    precision: Precision = DEFAULT_PRECISION

    @property
    def name(self) -> str:
        """As :func:`parse_cuda_target` reads it."""
        return "cuda:" + ",".join(a.name for a in self.architectures)


def is_cuda(text: str) -> bool:
    """Whether a target's name asks for this backend."""
    return text.strip().lower().partition(":")[0] == "cuda"


def parse_cuda_target(text: str, precision: Precision = DEFAULT_PRECISION) -> CudaTarget:
    """The target of ``cuda`` (all architectures) or ``cuda:sm_NN,…``; anything else is an error."""
    kind, colon, names = text.strip().lower().partition(":")
    chosen = [name.strip() for name in names.split(",")] if colon else list(ARCHITECTURES)
    unknown = [name for name in chosen if name not in ARCHITECTURES]
    if kind != "cuda" or unknown:
        raise NetcError(
            f"unknown CUDA target '{text}'",
            remedy=f"write cuda, or cuda: and some of {', '.join(ARCHITECTURES)} with commas between",
        )
    found = {name: ARCHITECTURES[name] for name in chosen}
    return CudaTarget(tuple(sorted(found.values(), key=lambda a: a.number)), precision)
