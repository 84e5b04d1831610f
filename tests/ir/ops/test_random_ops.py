"""Random numbers as functions of a state."""

from __future__ import annotations

import numpy as np
import pytest
from op_cases import f32, infer, run

from netc.ir.diagnostics import OpError
from netc.ir.layout import Blocked
from netc.ir.ops.random import STATE, RandomDropoutAttrs, UniformAttrs, philox
from netc.ir.types import TensorType

FULL = 0xFFFFFFFF


def uniform(seed: int, step: int, stream: int = 0, shape: tuple[int, ...] = (1000,)) -> np.ndarray:
    return run("random.uniform", (np.array([seed, step]),), UniformAttrs(TensorType("f32", shape), stream))


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0,) * 4, (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((FULL,) * 4, (FULL, FULL), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ],
)
def test_the_generator_gives_the_published_words(counter, key, words):
    a, b, c, d = (np.full(1, word, np.uint64) for word in counter)
    assert tuple(int(word[0]) for word in philox((a, b, c, d), key)) == words


def test_the_numbers_are_even_in_0_to_1():
    drawn = uniform(3, 0, shape=(100, 100, 10))
    assert drawn.dtype == np.float32
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts, _ = np.histogram(drawn, 100, (0, 1))
    assert np.all(np.abs(counts - 1000) < 5 * np.sqrt(1000))


def test_equal_states_give_equal_numbers_and_others_give_others():
    first = uniform(7, 2)
    np.testing.assert_array_equal(first, uniform(7, 2))
    for other in (
        uniform(8, 2),
        uniform(7, 3),
        uniform(7, 2, stream=1),
        uniform(7 + 2**40, 2),
        uniform(-7, 2),
    ):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.15


def test_a_number_depends_on_its_position_only_not_on_how_many_are_drawn():
    np.testing.assert_array_equal(uniform(1, 1, shape=(3, 7)).reshape(-1), uniform(1, 1)[:21])


def test_the_next_state_is_one_step_on():
    np.testing.assert_array_equal(run("random.next", (np.array([5, 9]),)), [5, 10])


@pytest.mark.parametrize("op", ["random.uniform", "random.next"])
def test_a_state_is_two_integers(op):
    attrs = UniformAttrs(f32(3), 0) if op == "random.uniform" else None
    with pytest.raises(OpError, match=r"a state i64\[2\] \(seed, step\) expected, got f32\[2\]"):
        infer(op, (f32(2),), attrs)


@pytest.mark.parametrize(
    ("attrs", "faulty"),
    [(UniformAttrs(f32(3), -1), "stream"), (UniformAttrs(TensorType("i32", (3,)), 0), "tensor")],
)
def test_bad_attributes_are_refused(attrs, faulty):
    with pytest.raises(OpError) as caught:
        infer("random.uniform", (STATE,), attrs)
    assert caught.value.attr == faulty


def dropout(x: np.ndarray, ratio: float, state: tuple[int, int] = (1, 2), stream: int = 0) -> np.ndarray:
    return run("random.dropout", (x, np.array(state)), RandomDropoutAttrs(ratio, stream))


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.25, 0.5, 0.7, 1 - 2**-24])
def test_dropout_keeps_what_exceeds_the_ratio(ratio):
    kept = uniform(1, 2) > np.float32(ratio)
    for dtype in (np.float32, np.float64):
        expected = np.where(kept, dtype(1 / (1 - ratio)), dtype(0))
        got = dropout(np.ones(1000, dtype), ratio)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, expected)


def test_dropout_keeps_the_layout_and_wants_a_ratio_below_1():
    x = f32(2, 32, 3, 3).with_layout(Blocked(1, 16))
    assert infer("random.dropout", (x, STATE), RandomDropoutAttrs(0.5, 0)) == x
    for ratio in (-0.1, 1.0, float("nan")):
        with pytest.raises(OpError, match="ratio must be"):
            infer("random.dropout", (x, STATE), RandomDropoutAttrs(ratio, 0))
    with pytest.raises(OpError, match="stream must be"):
        infer("random.dropout", (x, STATE), RandomDropoutAttrs(0.5, -1))
    with pytest.raises(OpError, match="a state"):
        infer("random.dropout", (x, f32(2)), RandomDropoutAttrs(0.5, 0))
