"""What the generated code is for: the processor's name, its vector registers, its caches.

A `Target` is plain data, so schedules and kernel texts depend on nothing else. ``cpu`` is the machine we
run on; ``cpu:avx2`` and its like are levels of an instruction set, the same on every machine, and
``cpu:aarch64-linux`` is any 64-bit ARM processor under Linux.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from netc.backends.llvm import binding
from netc.backends.llvm.binding import LLVMLITE_VERSION, TargetMachine
from netc.backends.llvm.host_cpu import host_cpu
from netc.ir.diagnostics import NetcError

SMALLEST_L1_BYTES = 32 << 10
SMALLEST_L2_BYTES = 256 << 10
SMALLEST_L3_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """A processor to generate code for.

    ``vector_bytes`` and ``vector_registers`` size the register tiles; ``fma`` says that ``llvm.fma`` is one
    instruction; ``l1_bytes``, ``l2_bytes`` (data, per core) and ``l3_bytes`` (shared) size the cache tiles.
    """

    name: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int
    vector_registers: int
    fma: bool
    l1_bytes: int = SMALLEST_L1_BYTES
    l2_bytes: int = SMALLEST_L2_BYTES
    l3_bytes: int = SMALLEST_L3_BYTES

    @property
    def lanes(self) -> int:
        """How many float32 values one vector register holds."""
        return self.vector_bytes // 4

    @property
    def dots(self) -> frozenset[str]:
        """The dtypes of which it adds up products in one instruction: ``bf16`` pairs, ``u8`` by i8 quads."""
        features = self.features.split(",")
        long = "+avx512vl" in features
        found = {"bf16"} if long and "+avx512bf16" in features else set()
        if (long and "+avx512vnni" in features) or (self.vector_bytes <= 32 and "+avxvnni" in features):
            found.add("u8")
        return frozenset(found)

    @property
    def cache_key(self) -> str:
        """Everything besides the launch and the level that the bytes of an object file depend on.

        The sizes of caches decide schedules, and with them how much scratch memory a kernel expects.
        """
        sizes = "/".join(map(str, (self.vector_bytes, self.l1_bytes, self.l2_bytes, self.l3_bytes)))
        return "|".join((f"llvmlite {LLVMLITE_VERSION}", self.triple, self.cpu, self.features, sizes))

    def machine(self, opt_level: int) -> TargetMachine:
        """LLVM's code generator for this target; each belongs to one thread.

        The small code model, not llvmlite's default for jitted code (large), which would fetch the address
        of every constant by a 10-byte move.
        """
        _initialize_llvm()
        try:
            found = binding.llvm.Target.from_triple(self.triple)
        except RuntimeError as error:
            raise NetcError(
                f"target '{self.name}': this LLVM generates no code for '{self.triple}': {error}"
            ) from None
        return found.create_target_machine(
            cpu=self.cpu,
            features=self.features,
            opt=opt_level,
            reloc="pic",
            codemodel="small",
            jit=True,
        )

    @property
    def architecture(self) -> str:
        """``x86_64``, ``aarch64``, or what else the triple begins with."""
        return _architecture(self.triple)

    @property
    def lacking_here(self) -> str | None:
        """What the target uses and this machine lacks; None where it runs."""
        level = _LEVELS.get(self.name.removeprefix("cpu:"))
        if level is None:
            return None
        if _architecture(host_cpu().triple) != level.architecture:
            return f"the {_SHOWN[level.architecture]} instruction set"
        return ", ".join(feature for feature in level.needs if not host_cpu().features.get(feature)) or None

    def check_runs_here(self) -> None:
        """Raise `NetcError` where this machine lacks what the target uses."""
        if self.lacking_here is not None:
            raise NetcError(
                f"target '{self.name}' does not run on this machine: it lacks {self.lacking_here}",
                remedy="use the target 'cpu', which fits the machine it compiles on",
            )


@dataclass(frozen=True, slots=True)
class _Level:
    """An instruction set that many machines have: ``needs`` are the features by which a machine has it.

    ``system`` is the rest of the triple where code for this level is not for the system we run on.
    """

    architecture: str
    cpu: str
    vector_bytes: int
    vector_registers: int
    fma: bool
    needs: tuple[str, ...]
    features: str = ""
    system: str | None = None


_V3 = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
_LINUX = "unknown-linux-gnu"
# the levels of the psABI of x86-64, and what every ARMv8-A has: NEON, with fused multiply-adds
_LEVELS: Mapping[str, _Level] = {
    "sse2": _Level("x86_64", "x86-64", 16, 16, False, ("sse2",)),
    "avx2": _Level("x86_64", "x86-64-v3", 32, 16, True, _V3),
    "avx512": _Level("x86_64", "x86-64-v4", 64, 32, True, _V4, features="-prefer-256-bit"),
    "aarch64-linux": _Level("aarch64", "generic", 16, 32, True, ("neon",), features="+neon", system=_LINUX),
}
_SHOWN = {"x86_64": "x86-64", "aarch64": "AArch64"}
KNOWN_TARGETS = ("cpu", *(f"cpu:{name}" for name in _LEVELS))


def parse_target(text: str) -> Target:
    """The target of ``cpu`` (this machine) or ``cpu:LEVEL``; anything else is an error that lists them."""
    kind, colon, level = text.strip().lower().partition(":")
    if kind == "cpu" and not colon:
        return host_target()
    if kind == "cpu" and level in _LEVELS:
        return _level_target(level)
    raise NetcError(
        f"unknown CPU target '{text}'",
        remedy=f"the targets known are {', '.join(KNOWN_TARGETS)}",
    )


@functools.cache
def host_target() -> Target:
    """The machine that this process runs on, with every instruction set it has."""
    here = host_cpu()
    triple, features = here.triple, dict(here.features)
    wide = bool(features.get("avx512f")) and bool(features.get("avx512vl"))
    if wide:
        # tuning of several Intel models, under which LLVM would split zmm operations in two
        features["prefer-256-bit"] = False
    if _architecture(triple) != "x86_64":
        vector_bytes, registers, fma = 16, 32, True
    else:
        vector_bytes = 64 if wide else 32 if features.get("avx") else 16
        registers = 32 if wide else 16
        fma = bool(features.get("fma"))
    return Target(
        name="cpu",
        triple=triple,
        cpu=here.name,
        features=",".join(("+" if on else "-") + name for name, on in sorted(features.items())),
        vector_bytes=vector_bytes,
        vector_registers=registers,
        fma=fma,
        l1_bytes=_cache_bytes(1, SMALLEST_L1_BYTES),
        l2_bytes=_cache_bytes(2, SMALLEST_L2_BYTES),
        l3_bytes=_cache_bytes(3, SMALLEST_L3_BYTES),
    )


def available_cores() -> int:
    """How many cores this process may use: its affinity mask, and its quota where a cgroup sets one."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no cgroup, or "max": no quota
    return max(1, cores)


def _level_target(name: str) -> Target:
    level = _LEVELS[name]
    here = host_cpu().triple
    fits = _architecture(here) == level.architecture and level.system is None
    return Target(
        name=f"cpu:{name}",
        triple=here if fits else f"{level.architecture}-{level.system or _LINUX}",
        cpu=level.cpu,
        features=level.features,
        vector_bytes=level.vector_bytes,
        vector_registers=level.vector_registers,
        fma=level.fma,
    )


def _architecture(triple: str) -> str:
    first = triple.partition("-")[0]
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(first, first)


@functools.cache
def _initialize_llvm() -> None:
    binding.llvm.initialize_all_targets()
    binding.llvm.initialize_all_asmprinters()
    binding.llvm.initialize_native_asmparser()


def _cache_bytes(level: int, fallback: int) -> int:
    """The size of the data cache of this level, as Linux tells it; ``fallback`` elsewhere."""
    try:
        for entry in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
            kind = (entry / "type").read_text().strip()
            if int((entry / "level").read_text()) == level and kind in ("Data", "Unified"):
                size = (entry / "size").read_text().strip()
                return int(size.removesuffix("K")) << 10
    except (OSError, ValueError):
        pass
    return fallback
