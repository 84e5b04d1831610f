"""What a measured choice holds for: the machine, the threads, and where a net's weights come from."""

from __future__ import annotations

from dataclasses import dataclass

from netc.backends.llvm.backend import kernel_key
from netc.backends.llvm.compile_pool import GENERATOR_PARTS, code_digest
from netc.backends.llvm.lower.kernel import launch_symbols
from netc.backends.llvm.lower.table import other_schedules
from netc.backends.llvm.target import Target
from netc.ir.core import Module, Op
from netc.ir.types import TensorType

CODE = (*GENERATOR_PARTS, "runtime/tuning")  # of the package: what a measurement depends on
MOST_COLD_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Setting:
    """``cold_bytes`` of other weights are read between two uses of one; ``llvm_level`` as in the engine."""

    target: Target
    threads: int
    llvm_level: int
    cold_bytes: int

    @property
    def key(self) -> str:
        """All that a measurement depends on besides what is measured; netc's own code is part of it."""
        parts = (code_digest(CODE), self.target, self.target.cache_key)
        return "\n".join(map(str, (*parts, self.threads, self.llvm_level, self.cold_bytes)))

    def question(self, launch: Op) -> str:
        """A launch in full."""
        return kernel_key(launch)

    def other_schedules(self, launch: Op) -> list[str]:
        """What a launch may do instead of the model's choice; nothing where its sizes are not known."""
        return [] if launch_symbols(launch) else other_schedules(launch, self.target)


def cold_bytes(module: Module, target: Target) -> int:
    """How much memory keeps a weight as far from the registers as a net with these parameters does.

    Weights that fit in a core's L2 cache stay there, those that fit in the shared one stay there.
    """
    main = module.func("main")
    lasting = (v.type for v, role in zip(main.args, main.roles, strict=True) if role in ("param", "state"))
    sizes = (type_.storage_bytes for type_ in lasting if isinstance(type_, TensorType))
    total = sum(size for size in sizes if isinstance(size, int))
    if total <= target.l2_bytes:
        return 0
    if total <= target.l3_bytes:
        return min(2 * target.l2_bytes, MOST_COLD_BYTES)
    return min(2 * target.l3_bytes, MOST_COLD_BYTES)
