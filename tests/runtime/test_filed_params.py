import gc
import os

import numpy as np
import pytest

import netc

pytestmark = pytest.mark.skipif(not hasattr(os, "preadv"), reason="the system cannot read at a place")


@pytest.fixture
def saved(tmp_path, tiny, tiny_weights):
    module = netc.compile(tiny, tiny_weights)
    path = tmp_path / "tiny.netc"
    module.save(path)
    return module, path


def test_a_loaded_net_leaves_its_parameters_in_the_file(saved, images):
    module, path = saved
    loaded = netc.load(path)
    assert loaded._params.nbytes == 0
    np.testing.assert_array_equal(loaded.run(data=images)["prob"], module.run(data=images)["prob"])
    assert loaded.memory.params == 0
    assert module.memory.params > 0


def test_an_edited_parameter_is_kept_and_used(saved, images):
    module, path = saved
    loaded = netc.load(path)
    before = loaded.run(data=images)["prob"]
    loaded.params["fc"][1][...] = np.arange(5)
    gc.collect()
    after = loaded.run(data=images)["prob"]
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(loaded.params["fc"][1], np.arange(5))
    module.params["fc"][1][...] = np.arange(5)
    np.testing.assert_array_equal(after, module.run(data=images)["prob"])


def test_the_parameters_are_there_after_the_file_is_gone_or_replaced(saved, tmp_path):
    module, path = saved
    loaded = netc.load(path)
    (tmp_path / "other").write_bytes(b"other")
    os.replace(tmp_path / "other", path)
    path.unlink()
    for name, blobs in module.params.items():
        for ours, theirs in zip(blobs, loaded.params[name], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_file_that_changed_under_the_net_is_an_error_and_not_other_weights(saved, images):
    _, path = saved
    loaded = netc.load(path)
    loaded.run(data=images)
    path.write_bytes(path.read_bytes()[:-1000])  # as cp writes: into the same file
    with pytest.raises(netc.NetcError, match=r"tiny\.netc: the file has changed since it was loaded"):
        _ = loaded.params


def test_a_net_can_be_saved_over_the_file_that_it_came_from(saved, images):
    _, path = saved
    loaded = netc.load(path)
    loaded.params["fc"][1][...] += 1
    expected = loaded.run(data=images)["prob"]
    loaded.save(path)
    np.testing.assert_array_equal(netc.load(path).run(data=images)["prob"], expected)


def test_a_new_time_of_the_file_alone_is_no_change(saved, images):
    _, path = saved
    loaded = netc.load(path)
    os.utime(path)
    assert loaded.params["fc"][1].shape == (5,)


def test_looked_at_and_unchanged_parameters_go_back_to_the_file(saved, images):
    _, path = saved
    loaded = netc.load(path)
    params = loaded.params
    loaded.run(data=images)
    assert loaded.memory.params > 0
    del params
    gc.collect()
    loaded.run(data=images)
    assert loaded.memory.params == 0


def test_the_memory_of_a_loaded_net_counts_parameters_that_kernels_read_as_they_are(
    tmp_path, tiny, tiny_weights
):
    module = netc.compile(tiny, tiny_weights, opt_level=0)
    module.save(tmp_path / "plain.netc")
    loaded = netc.load(tmp_path / "plain.netc")
    assert loaded.memory.prepared == module.memory.params + module.memory.prepared
