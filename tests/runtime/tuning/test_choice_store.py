"""Choices on disk: what is found again, and what counts as nothing."""

import pytest

from netc.backends.llvm.object_cache import ObjectCache
from netc.runtime.tuning.choice_store import KIND, ChoiceStore

CHOICES = ("own", "pixels=7 vectors=4 depth=64")


def test_a_choice_is_found_by_its_question(tmp_path):
    ChoiceStore(ObjectCache(tmp_path / "c")).put("q", CHOICES[1], {"own": 2.0, CHOICES[1]: 1.0})
    store = ChoiceStore(ObjectCache(tmp_path / "c"))
    assert store.get("q", CHOICES) == CHOICES[1]
    assert store.get("another", CHOICES) is None


def test_what_is_no_choice_any_more_is_not_found(tmp_path):
    store = ChoiceStore(ObjectCache(tmp_path / "c"))
    store.put("q", CHOICES[1], {})
    assert store.get("q", ("own", "pixels=6 vectors=4 depth=64")) is None


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"{", b"[]", b"7", b'{"choice": 7}', b'{"choice": ["own"]}', b"{}"]
)
def test_other_data_under_the_question_counts_as_none(tmp_path, data):
    cache = ObjectCache(tmp_path / "c")
    cache.put(f"{KIND}\nq", data)
    assert ChoiceStore(cache).get("q", CHOICES) is None


def test_without_a_folder_nothing_is_kept():
    store = ChoiceStore(ObjectCache(None))
    store.put("q", "own", {})
    assert store.get("q", CHOICES) is None
