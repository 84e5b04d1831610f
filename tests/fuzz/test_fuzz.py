"""Damaged inputs of every format are read or refused well; and the fuzzer notices what is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from netc.ir.diagnostics import NetcError
from netc.ir.location import Location, Source

if sys.platform != "linux":
    pytest.skip("the limits of a process are those of Linux", allow_module_level=True)

from .judge import fault_of
from .minimise import minimised
from .mutation import MAX_BYTES, mutated
from .run_fuzz import case
from .targets import TARGETS

ROOT = Path(__file__).parents[2]
RUNS = 400
REFUSED = "refused_"  # the corpus's inputs that are no good; all others are read


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_and_what_is_made_of_it_are_read_or_refused_well(name, tmp_path):
    done = run("-m", "tests.fuzz.run_fuzz", name, f"--runs={RUNS}", "--seed=0", f"--folder={tmp_path}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{name}: {RUNS} inputs" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"binary"}))
def test_the_good_inputs_of_the_corpus_are_read(name, tmp_path):
    read = TARGETS[name].reader(tmp_path)
    for path in TARGETS[name].paths:
        if path.name.startswith(REFUSED):
            with pytest.raises(NetcError):
                read(path.read_bytes())
        else:
            read(path.read_bytes())


# ---- what the fuzzer notices


def located(text: str, line: int, column: int) -> NetcError:
    return NetcError("wrong", location=Location("x", line, column, Source("x", text)))


def endless(data: bytes) -> None:
    while data:
        pass


def raiser(error: BaseException):
    def read(data: bytes) -> None:
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "what"),
    [
        (raiser(ValueError("x")), "ValueError"),
        (raiser(RecursionError()), "RecursionError"),
        (raiser(NetcError("somewhere")), "bad error: no location"),
        (raiser(located("abc", 2, 1)), "bad error: a location outside of the text"),
        (raiser(located("abc", 1, 5)), "bad error: a location outside of the text"),
        (endless, "more than 1.0 s"),
    ],
)
def test_a_reader_that_does_wrong_is_noticed(read, what):
    fault = fault_of(read, b"x")
    assert fault is not None
    assert fault.what == what


@pytest.mark.parametrize("error", [located("abc", 1, 4), NetcError("/tmp/case.caffemodel: damaged")])
def test_a_reader_that_refuses_well_is_left_alone(error):
    assert fault_of(raiser(error), b"x") is None


DEADLY = """
import os
from pathlib import Path
from tests.fuzz import targets
from tests.fuzz.run_fuzz import fuzz

def reader(folder):
    def read(data):
        if data.startswith(b"module n"):
            bytearray(1 << 32)
        if data.startswith(b"module k"):
            os._exit(3)
    return read

target = targets.Target("ir", reader, targets.TEXT_MUTATORS, lambda: ["x"])
for finding in fuzz(target, 0, 100, 2, Path({folder!r})):
    print(finding.fault.what)
"""


def test_an_input_that_takes_the_memory_or_ends_the_process_is_noticed(tmp_path):
    done = run("-c", DEADLY.format(folder=str(tmp_path)))
    assert done.stderr == ""
    assert "MemoryError" in done.stdout
    assert "the process ended" in done.stdout
    assert "100 inputs" in done.stdout
    assert {path.suffix for path in tmp_path.iterdir()} == {".case", ".log"}


def test_an_input_is_made_as_small_as_its_fault_allows():
    assert minimised(b"lots of {{ text } here", lambda data: b"{" in data and b"}" in data) == b"{}"


@pytest.mark.parametrize("name", TARGETS)
def test_a_number_finds_its_input_again(name):
    target = TARGETS[name]
    first = len(target.pieces.seeds)
    inputs = [case(target, 1, number) for number in range(first, first + 50)]
    assert inputs == [case(target, 1, number) for number in range(first, first + 50)]
    assert len(set(inputs)) > 40
    assert inputs != [case(target, 2, number) for number in range(first, first + 50)]


@pytest.mark.parametrize("name", TARGETS)
def test_every_mutation_takes_every_input(name):
    target = TARGETS[name]
    random = Random(0)
    for mutator in set(target.mutators):
        for data in (b"", b"a", b'"', b"\n", b"\x0a\x01n", b"x" * MAX_BYTES):
            assert isinstance(mutator(data, target.pieces, random), bytes)
    assert len(mutated(target.pieces, target.mutators, random)) <= MAX_BYTES
