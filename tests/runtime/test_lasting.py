"""Where the newest content of an array is that lasts from run to run, with a device that counts copies."""

from __future__ import annotations

from typing import Any

import numpy as np

from netc.runtime.lasting import Home, LastingArray


class Device:
    """Has the content of arrays that its kernels wrote."""

    def __init__(self) -> None:
        self.content: dict[Home, Any] = {}
        self.brought = 0

    def writes(self, array: LastingArray, value: float) -> None:
        self.content[array.home] = np.full_like(array.memory, value)
        array.home.written(self)

    def bring(self, home: Home) -> None:
        self.brought += 1
        home.memory[...] = self.content[home].reshape(home.memory.shape)

    def clear(self, home: Home) -> None:
        self.content[home][...] = 0


def test_what_kernels_wrote_comes_when_somebody_looks_and_once() -> None:
    device, array = Device(), LastingArray(np.zeros((2, 3), np.float32))
    device.writes(array, 1)
    device.writes(array, 2)
    assert device.brought == 0
    assert (array.memory == 0).all()
    assert (array.look() == 2).all()
    assert (array.look() == 2).all()
    assert device.brought == 1


def test_every_look_is_counted_as_it_may_change_the_array() -> None:
    array = LastingArray(np.zeros(3, np.float32))
    before = array.home.looks
    array.look()[0] = 1
    assert array.home.looks == before + 1


def test_a_held_array_is_brought_after_every_run_until_it_is_dropped() -> None:
    device, array = Device(), LastingArray(np.zeros((2, 3), np.float32))
    part = array.lend()[1]
    for value in (1, 2):
        device.writes(array, value)
        assert (part == value).all()
    del part
    device.writes(array, 3)
    assert device.brought == 2


def test_zeros_need_no_copy() -> None:
    device, array = Device(), LastingArray(np.ones(4, np.float32))
    array.clear()
    assert not array.memory.any()
    device.writes(array, 1)
    array.clear()
    assert device.brought == 0
    assert not array.look().any()


def test_one_array_in_two_shapes_has_one_newest_content() -> None:
    device, array = Device(), LastingArray(np.zeros((2, 3), np.float32))
    other = array.shaped((6, 1))
    device.writes(other, 4)
    assert (array.look() == 4).all()
    assert device.brought == 1
    assert other.look().shape == (6, 1)
