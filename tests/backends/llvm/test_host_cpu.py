import platform

import pytest

from netc.backends.llvm import binding, host_cpu
from netc.backends.llvm.host_cpu import HostCpu

BLOCK = "processor\t: 0\nmodel name\t: Toy\nflags\t\t: sse2 avx\ncpu MHz\t\t: {mhz}\n\nprocessor\t: 1\nmodel name\t: Toy\n"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine whose description can be written, with a cache of its own; yields how often LLVM was asked."""
    asked = []

    def ask():
        asked.append(1)
        return HostCpu("x86_64-unknown-linux-gnu", f"toy{len(asked)}", {"avx": True})

    monkeypatch.setattr(host_cpu, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(host_cpu, "default_cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(host_cpu, "_ask_llvm", ask)
    (tmp_path / "cpuinfo").write_text(BLOCK.format(mhz=1000))
    return tmp_path / "cpuinfo", asked


def found():
    return host_cpu.host_cpu.__wrapped__()


def test_llvm_is_asked_once_for_a_kind_of_machine(machine):
    cpuinfo, asked = machine
    first = found()
    cpuinfo.write_text(BLOCK.format(mhz=3000))
    assert found() == first
    assert len(asked) == 1


def test_another_kind_of_machine_or_another_llvm_is_asked_about_anew(machine, monkeypatch):
    cpuinfo, _ = machine
    found()
    cpuinfo.write_text(BLOCK.format(mhz=1000).replace("avx", "avx avx2"))
    assert found().name == "toy2"
    monkeypatch.setattr(binding, "LLVMLITE_VERSION", "0.0.0")
    assert found().name == "toy3"
    monkeypatch.setattr(platform, "machine", lambda: "other")
    assert found().name == "toy4"


def test_where_the_system_says_nothing_llvm_is_asked_each_time(machine):
    cpuinfo, asked = machine
    cpuinfo.unlink()
    found(), found()
    assert len(asked) == 2


def test_a_damaged_note_is_asked_for_again(machine):
    cpuinfo, _ = machine
    found()
    for path in (cpuinfo.parent / "cache").iterdir():
        path.write_bytes(path.read_bytes()[:-3])
    assert found().name == "toy2"
