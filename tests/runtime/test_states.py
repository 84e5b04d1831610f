"""What lasts from run to run, on the reference and on compiled programs."""

import json
import zipfile

import numpy as np
import pytest

import netc

DROPOUT = """
layer { type: "Input" top: "x" input_param { shape { dim: 4 dim: 50 } } }
layer { type: "Dropout" bottom: "x" top: "a" dropout_param { dropout_ratio: 0.5 } }
layer { type: "Dropout" bottom: "x" top: "b" dropout_param { dropout_ratio: 0.5 } }
"""
NORM = """
layer { type: "Input" top: "x" input_param { shape { dim: 6 dim: 2 } } }
layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" batch_norm_param { moving_average_fraction: 0.5 } }
"""
LSTM = """
layer { type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 } } }
layer { type: "Input" top: "cont" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "r" type: "LSTM" bottom: "x" bottom: "cont" top: "y"
        recurrent_param { num_output: 5 weight_filler { type: "uniform" min: -1 max: 1 } } }
"""
FILTER = """
layer { type: "Input" top: "x" input_param { shape { dim: 4 dim: 2 } } }
layer { type: "Input" top: "s" input_param { shape { dim: 4 } } }
layer { type: "Filter" bottom: "x" bottom: "s" top: "y" }
"""
ONES = np.ones((4, 50), "f4")


@pytest.fixture(params=["numpy", "cpu"])
def target(request):
    return request.param


def test_every_run_and_every_layer_draws_other_numbers_and_a_seed_brings_them_back(target):
    module = netc.compile(DROPOUT, target=target, phase="TRAIN")
    assert list(module.inputs) == ["x"]
    first, second = module.run(x=ONES), module.run(x=ONES)
    assert (first["a"] != first["b"]).any()
    assert (first["a"] != second["a"]).any()
    module.seed(0)
    np.testing.assert_array_equal(module.run(x=ONES)["a"], first["a"])
    module.seed(1)
    assert (module.run(x=ONES)["a"] != first["a"]).any()


def test_random_numbers_do_not_depend_on_target_level_or_threads():
    runs = [
        netc.compile(DROPOUT, phase="TRAIN", **options).run(x=ONES)["a"]
        for options in ({"target": "numpy"}, {"opt_level": 0}, {"threads": 1}, {"threads": 2})
    ]
    for other in runs[1:]:
        np.testing.assert_array_equal(other, runs[0])


def test_moving_sums_become_the_parameters(target):
    module = netc.compile(NORM, target=target, phase="TRAIN")
    x = np.random.default_rng(0).normal(size=(6, 2)).astype("f4")
    module.run(x=x)
    module.run(x=x)
    mean, variance, count = module.params["bn"]
    np.testing.assert_allclose(mean, 1.5 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, 1.5 * x.var(0, ddof=1), rtol=1e-5)
    np.testing.assert_allclose(count, 1.5)


def test_what_training_left_is_what_a_test_net_divides_by(target):
    train = netc.compile(NORM, target=target, phase="TRAIN")
    x = np.random.default_rng(0).normal(size=(6, 2)).astype("f4")
    train.run(x=x)
    test = netc.compile(NORM, train.params, target=target)
    expected = (x - x.mean(0)) / np.sqrt(x.var(0, ddof=1) + 1e-5)
    np.testing.assert_allclose(test.run(x=x)["y"], expected, rtol=1e-4, atol=1e-5)


def test_hidden_states_last_until_a_sequence_begins_or_they_are_reset(target):
    module = netc.compile(LSTM, target=target)
    x, go_on = np.ones((2, 3, 4), "f4"), np.ones((2, 3), "f4")
    first, second = module.run(x=x, cont=go_on)["y"], module.run(x=x, cont=go_on)["y"]
    assert np.abs(first - second).max() > 1e-3
    begin = go_on.copy()
    begin[0] = 0
    np.testing.assert_allclose(module.run(x=x, cont=begin)["y"], first, rtol=1e-5)
    module.reset_states()
    np.testing.assert_array_equal(module.run(x=x, cont=go_on)["y"], first)


def test_a_batch_of_another_size_begins_with_hidden_states_of_zeros(target):
    shapes = {"x": (2, "N", 4), "cont": (2, "N")}
    module = netc.compile(LSTM, target=target, input_shapes=shapes)
    assert module.inputs == shapes
    one = module.run(x=np.ones((2, 1, 4)), cont=np.ones((2, 1)))["y"]
    two = module.run(x=np.ones((2, 2, 4)), cont=np.ones((2, 2)))["y"]
    np.testing.assert_allclose(two, np.concatenate([one, one], 1), rtol=1e-5)


@pytest.mark.parametrize("chosen", [[], [2], [0, 1, 3], [0, 1, 2, 3]])
def test_a_filter_hands_out_as_many_samples_as_were_chosen(target, chosen):
    module = netc.compile(FILTER, target=target)
    x = np.arange(8.0).reshape(4, 2)
    selector = np.zeros(4)
    selector[chosen] = 1
    np.testing.assert_array_equal(module.run(x=x, s=selector)["y"], x[chosen])


def test_a_saved_module_goes_on_where_it_was(tmp_path, target):
    module = netc.compile(DROPOUT, target=target, phase="TRAIN")
    module.seed(7)
    first = module.run(x=ONES)["a"]
    module.save(tmp_path / "net.netc")
    loaded = netc.load(tmp_path / "net.netc")
    np.testing.assert_array_equal(loaded.run(x=ONES)["a"], module.run(x=ONES)["a"])
    loaded.reset_states()
    np.testing.assert_array_equal(loaded.run(x=ONES)["a"], first)


def test_a_saved_sequence_goes_on_whatever_its_size(tmp_path, target):
    module = netc.compile(LSTM, target=target, input_shapes={"x": (2, "N", 4), "cont": (2, "N")})
    x, go_on = np.ones((2, 5, 4), "f4"), np.ones((2, 5), "f4")
    first = module.run(x=x, cont=go_on)["y"]
    module.save(tmp_path / "net.netc")
    loaded = netc.load(tmp_path / "net.netc")
    second = loaded.run(x=x, cont=go_on)["y"]
    np.testing.assert_array_equal(second, module.run(x=x, cont=go_on)["y"])
    assert np.abs(second - first).max() > 1e-3


def test_a_module_that_never_ran_has_no_states_to_save(tmp_path, target):
    netc.compile(LSTM, target=target).save(tmp_path / "net.netc")
    with zipfile.ZipFile(tmp_path / "net.netc") as archive:
        assert not [name for name in archive.namelist() if name.startswith("states/")]


@pytest.mark.parametrize(
    "stated",
    [{"value": "r.c", "shape": [1, 4, 5]}, {"value": "r.c", "shape": [1, -3, 5]}, {"value": "r.x", "shape": [1, 3, 5]},
     {"value": "r.c", "shape": "1"}, {"value": "r.h", "shape": [1, 3, 5]}],
)  # fmt: skip
def test_states_of_another_net_are_an_error(tmp_path, stated):
    module = netc.compile(LSTM, target="numpy")
    module.run(x=np.ones((2, 3, 4)), cont=np.ones((2, 3)))
    path = tmp_path / "net.netc"
    module.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members["manifest.json"])
    assert [each["value"] for each in manifest["states"]] == ["r.h", "r.c"]
    manifest["states"][1] = stated
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (members | {"manifest.json": json.dumps(manifest)}).items():
            archive.writestr(name, data)
    with pytest.raises(netc.NetcError, match="damaged: its states are not those of its net"):
        netc.load(path)


def test_hdf5_output_writes_its_inputs_at_every_run(tmp_path, target):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "out.h5"
    net = f"""
    layer {{ type: "Input" top: "x" input_param {{ shape {{ dim: 2 dim: 3 }} }} }}
    layer {{ type: "Input" top: "t" input_param {{ shape {{ dim: 2 }} }} }}
    layer {{ type: "AbsVal" bottom: "x" top: "y" }}
    layer {{ type: "HDF5Output" bottom: "y" bottom: "t" hdf5_output_param {{ file_name: "{path}" }} }}
    """
    module = netc.compile(net, target=target)
    assert module.outputs == {}
    for sign in (1.0, -2.0):
        assert module.run(x=np.full((2, 3), sign), t=[4, 5]) == {}
        with h5py.File(path) as file:
            np.testing.assert_array_equal(file["data"], np.full((2, 3), abs(sign)))
            np.testing.assert_array_equal(file["label"], [4, 5])


def test_a_file_that_cannot_be_written_is_an_error_at_the_layer(tmp_path):
    pytest.importorskip("h5py")
    net = f"""layer {{ type: "Input" top: "x" input_param {{ shape {{ dim: 2 }} }} }}
    layer {{ name: "o" type: "HDF5Output" bottom: "x" bottom: "x" hdf5_output_param {{ file_name: "{tmp_path}/no/x.h5" }} }}
    """
    with pytest.raises(netc.NetcError, match="layer 'o'"):
        netc.compile(net, target="numpy").run(x=[1, 2])
