import dataclasses
from dataclasses import replace

import pytest

from netc.backends.llvm.engine import compile_to_object, emit_assembly
from netc.backends.llvm.host_cpu import host_cpu
from netc.backends.llvm.target import available_cores, host_target, parse_target
from netc.ir.diagnostics import NetcError

WIDE_ADD = """
define void @add(ptr %slots, i64 %tid, i64 %nth) {
  %x = load <16 x float>, ptr %slots, align 4
  %y = fadd <16 x float> %x, %x
  store <16 x float> %y, ptr %slots, align 4
  ret void
}
"""


def test_the_host_target_is_what_cpu_means_and_is_the_same_each_time():
    target = parse_target("cpu")
    assert target == host_target()
    assert target.vector_bytes in (16, 32, 64)
    assert target.lanes == target.vector_bytes // 4
    target.check_runs_here()


@pytest.mark.parametrize(
    ("name", "lanes", "registers", "fma"),
    [
        ("cpu:sse2", 4, 16, False),
        ("cpu:avx2", 8, 16, True),
        ("cpu:avx512", 16, 32, True),
        ("cpu:aarch64-linux", 4, 32, True),
    ],
)
def test_a_level_says_its_vector_width_whatever_the_host(name, lanes, registers, fma):
    target = parse_target(name)
    assert (target.lanes, target.vector_registers, target.fma) == (lanes, registers, fma)
    assert compile_to_object(WIDE_ADD, target)


@pytest.mark.parametrize(
    ("name", "register"), [("cpu:sse2", "%xmm"), ("cpu:avx2", "%ymm"), ("cpu:avx512", "%zmm")]
)
def test_code_for_a_level_uses_registers_of_its_width(name, register):
    text = emit_assembly(WIDE_ADD, parse_target(name))
    widest = next(width for width in ("%zmm", "%ymm", "%xmm") if width in text)
    assert widest == register


def test_code_for_arm_uses_neon():
    assert ".4s" in emit_assembly(WIDE_ADD, parse_target("cpu:aarch64-linux"))


def test_targets_have_different_cache_keys():
    names = ("cpu:sse2", "cpu:avx2", "cpu:avx512", "cpu:aarch64-linux")
    assert len({parse_target(name).cache_key for name in names}) == len(names)


@pytest.mark.parametrize("text", ["gpu", "cpu:", "cpu:mmx", "", "avx2"])
def test_an_unknown_target_is_an_error_that_lists_the_known_ones(text):
    with pytest.raises(NetcError, match="unknown CPU target") as error:
        parse_target(text)
    assert "cpu:sse2, cpu:avx2, cpu:avx512, cpu:aarch64-linux" in str(error.value)


def test_a_target_that_the_host_lacks_is_refused_before_it_can_crash(monkeypatch):
    from netc.backends.llvm import target as module

    features = {"sse2": True, "avx": True}
    monkeypatch.setattr(module, "host_cpu", lambda: dataclasses.replace(host_cpu(), features=features))
    with pytest.raises(NetcError, match="lacks avx2, bmi"):
        parse_target("cpu:avx2").check_runs_here()


@pytest.mark.parametrize(
    ("here", "target", "lacks"),
    [
        ("x86_64-unknown-linux-gnu", "cpu:aarch64-linux", "AArch64"),
        ("arm64-apple-darwin23.0.0", "cpu:avx2", "x86-64"),
    ],
)
def test_a_target_of_another_architecture_is_refused(here, target, lacks, monkeypatch):
    from netc.backends.llvm import target as module

    monkeypatch.setattr(module, "host_cpu", lambda: dataclasses.replace(host_cpu(), triple=here))
    with pytest.raises(NetcError, match=f"lacks the {lacks} instruction set"):
        parse_target(target).check_runs_here()


def test_the_arm_target_is_linux_wherever_it_is_compiled(monkeypatch):
    from netc.backends.llvm import target as module

    here = dataclasses.replace(host_cpu(), triple="arm64-apple-darwin23.0.0")
    monkeypatch.setattr(module, "host_cpu", lambda: here)
    assert parse_target("cpu:aarch64-linux").triple == "aarch64-unknown-linux-gnu"
    assert parse_target("cpu:avx2").triple == "x86_64-unknown-linux-gnu"


def test_a_triple_that_llvm_does_not_know_is_an_error():
    target = dataclasses.replace(host_target(), triple="pdp11-dec-rt11")
    with pytest.raises(NetcError, match="generates no code for 'pdp11-dec-rt11'"):
        target.machine(1)


def test_at_least_one_core_is_available():
    assert available_cores() >= 1


@pytest.mark.parametrize("size", ["l1_bytes", "l2_bytes", "l3_bytes"])
def test_other_caches_make_other_keys(size):
    target = parse_target("cpu")
    assert replace(target, **{size: 1}).cache_key != target.cache_key
