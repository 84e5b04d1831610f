"""What LLVM says about this machine's processor, kept on disk: running known code needs no LLVM."""

from __future__ import annotations

import functools
import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from netc.backends.llvm import binding
from netc.backends.llvm.object_cache import ObjectCache, default_cache_dir

_CPUINFO = Path("/proc/cpuinfo")
# what Linux says that tells the kind of a processor; the rest changes from core to core, or all the time
_KIND = frozenset(
    {"vendor_id", "cpu family", "model", "model name", "stepping", "flags"}
    | {"CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features"}
)


@dataclass(frozen=True, slots=True)
class HostCpu:
    """LLVM's names for the system and the processor; ``features`` says of each whether it is there."""

    triple: str
    name: str
    features: Mapping[str, bool]


@functools.cache
def host_cpu() -> HostCpu:
    """The processor that this process runs on."""
    kind = _kind()
    if kind is None:
        return _ask_llvm()
    cache = ObjectCache(default_cache_dir())
    names = ",".join(field.name for field in fields(HostCpu))
    key = "\n".join(("host", names, binding.LLVMLITE_VERSION, sys.platform, platform.machine(), kind))
    known = cache.get(key)
    if known is not None:
        return HostCpu(**json.loads(known))
    found = _ask_llvm()
    cache.put(key, json.dumps(asdict(found)).encode())
    return found


def _ask_llvm() -> HostCpu:
    llvm = binding.llvm
    try:
        features = dict(llvm.get_host_cpu_features())
    except RuntimeError:
        features = {}  # LLVM does not know how to ask this machine; the cpu name alone then decides
    return HostCpu(llvm.get_process_triple(), llvm.get_host_cpu_name(), features)


def _kind() -> str | None:
    """What tells this kind of processor from others; None where the system does not say."""
    try:
        first = _CPUINFO.read_text().split("\n\n")[0]
    except OSError:
        return None
    pairs = (line.partition(":") for line in first.splitlines())
    lines = sorted(f"{key.strip()}:{value.strip()}" for key, _, value in pairs if key.strip() in _KIND)
    return "\n".join(lines) or None
