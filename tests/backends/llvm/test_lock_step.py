import dataclasses

import pytest

from netc.backends.llvm.engine import emit_assembly
from netc.backends.llvm.lock_step import RALLY, RUN, STOP, TICK, WORK, runtime_text
from netc.backends.llvm.sync_block import sync_words
from netc.backends.llvm.target import parse_target


@pytest.mark.parametrize(
    ("triple", "pause"),
    [
        ("x86_64-unknown-linux-gnu", "pause"),
        ("x86_64-apple-darwin", "pause"),
        ("x86_64-pc-windows-msvc", "pause"),
        ("aarch64-unknown-linux-gnu", "yield"),
        ("arm64-apple-darwin", "yield"),
        ("riscv64-unknown-linux-gnu", None),
    ],
)
def test_the_runtime_compiles_for_every_machine(triple, pause):
    target = dataclasses.replace(parse_target("cpu:sse2"), triple=triple, cpu="", features="")
    if triple.startswith("riscv64"):
        target = dataclasses.replace(target, cpu="generic-rv64", features="+a")
    text = emit_assembly(runtime_text(triple), target, 1)
    for name in (RUN, WORK, STOP, TICK, RALLY):
        assert f"{name}:" in text
    assert pause is None or f"\t{pause}\n" in text


def test_each_thread_has_cache_lines_of_its_own():
    assert sync_words(3) - sync_words(2) >= 16
