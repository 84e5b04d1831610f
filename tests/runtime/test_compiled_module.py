import copy
import os
import pickle
import signal
import threading

import numpy as np
import pytest

import netc
from netc.frontend.net_file import load_net

TARGETS = ("numpy", "cpu")


@pytest.fixture(params=TARGETS)
def module(request, tiny, tiny_weights):
    return netc.compile(tiny, tiny_weights, target=request.param, keep=["pool"])


def test_a_module_states_its_inputs_and_outputs(module):
    assert module.name == "tiny"
    assert module.inputs == {"data": (2, 3, 8, 8)}
    assert module.outputs == {"prob": (2, 5)}
    assert "data: 2x3x8x8" in repr(module)


@pytest.mark.parametrize("opt_level", [0, 1, 2, 3])
def test_every_optimisation_level_gives_what_the_reference_gives(tiny, tiny_weights, images, opt_level):
    expected = netc.compile(tiny, tiny_weights, target="numpy").run(data=images)["prob"]
    module = netc.compile(tiny, tiny_weights, opt_level=opt_level)
    np.testing.assert_allclose(module.run(data=images)["prob"], expected, rtol=1e-5, atol=1e-6)


def test_a_net_may_be_text_a_file_or_a_message(tmp_path, tiny, tiny_weights, images):
    file = tmp_path / "tiny.prototxt"
    file.write_text(tiny)
    results = [
        netc.compile(net, tiny_weights, target="numpy").run(data=images)["prob"]
        for net in (tiny, file, str(file), load_net(tiny))
    ]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_a_second_run_leaves_the_results_of_the_first_alone(module, images):
    first = module.run(data=images)["prob"]
    copy = first.copy()
    module.run(data=images * 2)
    np.testing.assert_array_equal(first, copy)


def test_forward_is_run(module, images):
    np.testing.assert_array_equal(module.forward(data=images)["prob"], module.run(data=images)["prob"])


@pytest.mark.parametrize("dtype", ["f8", "f2", "u1", "i4", "?"])
def test_inputs_of_any_numeric_type_are_taken_as_float32(module, images, dtype):
    given = (images * 7).astype(dtype)
    expected = module.run(data=given.astype("f4"))["prob"]
    np.testing.assert_array_equal(module.run(data=given)["prob"], expected)


def test_inputs_need_not_be_contiguous(module, images):
    wide = np.zeros((2, 3, 8, 16), "f4")
    wide[..., ::2] = images
    np.testing.assert_array_equal(module.run(data=wide[..., ::2])["prob"], module.run(data=images)["prob"])


def test_an_input_may_be_a_list_of_numbers(module, images):
    np.testing.assert_array_equal(module.run(data=images.tolist())["prob"], module.run(data=images)["prob"])


def test_nan_and_infinity_go_through(module, images):
    images[0, 0, 0, 0] = np.nan
    assert np.isfinite(module.run(data=images)["prob"][1]).all()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "the input 'data' is missing"),
        ({"dota": 1}, "no input 'dota'.*did you mean 'data'"),
        ({"data": np.zeros((3, 8, 8))}, "3x8x8; expected 4 axes, 2x3x8x8.*newaxis"),
        ({"data": np.zeros((0, 3, 8, 8))}, "no axis may be empty"),
        ({"data": "image.png"}, "element type <U9"),
        ({"data": np.zeros((2, 3, 8, 8), complex)}, "element type complex128"),
        ({"data": [[1, 2], [3]]}, "not an array of numbers"),
        ({"data": np.array([None])}, "element type object"),
    ],
)
def test_wrong_inputs_are_named(module, inputs, message):
    with pytest.raises(netc.NetcError, match=f"(?s){message}"):
        module.run(**inputs)


def test_kept_blobs_can_be_had_after_a_run(tiny, tiny_weights, images):
    reference = netc.compile(tiny, tiny_weights, target="numpy", keep=["pool", "conv"])
    module = netc.compile(tiny, tiny_weights, keep=["pool", "conv"])
    assert list(module.run(data=images)) == list(reference.run(data=images)) == ["prob"]
    for name in ("pool", "conv", "prob"):
        np.testing.assert_allclose(module.blob(name), reference.blob(name), rtol=1e-5, atol=1e-6)


def test_a_blob_that_is_not_kept_says_how_to_keep_it(module, images):
    with pytest.raises(netc.NetcError, match="before the first run"):
        module.blob("pool")
    module.run(data=images)
    with pytest.raises(netc.NetcError, match=r"(?s)'fc' is not kept.*keep=\['fc'\]"):
        module.blob("fc")
    with pytest.raises(netc.NetcError, match="no blob 'fd'"):
        module.blob("fd")


def test_keeping_a_blob_that_does_not_exist_is_an_error(tiny):
    with pytest.raises(netc.NetcError, match="no blob 'nowhere' to keep"):
        netc.compile(tiny, keep=["nowhere"])


def test_other_shapes_compile_again_by_themselves(tiny, tiny_weights, images):
    module = netc.compile(tiny, tiny_weights)
    whole = module.run(data=images)["prob"]
    for _ in range(2):
        np.testing.assert_allclose(module.run(data=images[:1])["prob"], whole[:1], rtol=1e-5, atol=1e-6)
    seven = np.concatenate([images, images, images, images])[:7]
    np.testing.assert_allclose(module.run(data=seven)["prob"][:2], whole, rtol=1e-5, atol=1e-6)


def test_a_shape_that_would_change_the_parameters_is_refused(module):
    with pytest.raises(netc.NetcError, match=r"(?s)layer 'fc'.*fully_convolutional"):
        module.run(data=np.zeros((2, 3, 16, 16)))
    with pytest.raises(netc.NetcError, match="layer 'conv'") as error:
        module.run(data=np.zeros((2, 4, 8, 8)))
    assert error.value.remedy is None  # no option makes a convolution take other channels


def test_memory_says_what_is_shared(tiny, tiny_weights):
    memory = netc.compile(tiny, tiny_weights).memory
    assert 0 < memory.activations <= memory.unshared
    assert memory.params == 4 * (20 * 27 + 20 + 5 * 320 + 5)
    assert memory.total > memory.params


def test_results_do_not_depend_on_the_number_of_threads(tiny, tiny_weights, images):
    one, two, three = (
        netc.compile(tiny, tiny_weights, threads=threads, keep=["conv"]) for threads in (1, 2, 3)
    )
    expected = one.run(data=images)["prob"]
    for module in (two, three):
        np.testing.assert_array_equal(module.run(data=images)["prob"], expected)
        np.testing.assert_array_equal(module.blob("conv"), one.blob("conv"))


def test_python_threads_may_share_a_module(tiny, tiny_weights, images):
    module = netc.compile(tiny, tiny_weights)
    expected = {n: module.run(data=images * n)["prob"] for n in range(1, 5)}
    wrong: list[int] = []

    def work(n: int) -> None:
        for _ in range(20):
            if not np.array_equal(module.run(data=images * n)["prob"], expected[n]):
                wrong.append(n)

    workers = [threading.Thread(target=work, args=(n,)) for n in expected]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_child_forked_while_the_module_runs_can_run_it_too(tiny, tiny_weights, images):
    module = netc.compile(tiny, tiny_weights)
    expected = module.run(data=images)["prob"]
    module._lock.acquire()  # as another thread would at the moment of the fork
    other = threading.Thread(target=_run_in_child, args=(module, images, expected, found := []))
    other.start()
    other.join()
    module._lock.release()
    assert found == [0]


def _run_in_child(module, images, expected, found):
    child = os.fork()
    if not child:
        signal.alarm(20)
        os._exit(0 if np.array_equal(module.run(data=images)["prob"], expected) else 1)
    found.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def test_a_module_is_not_copied_but_saved(module):
    for copying in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="save"):
            copying(module)


def test_layers_without_weights_keep_their_fillers_and_a_warning_says_so(tiny, tiny_weights):
    module = netc.compile(tiny, {"conv": tiny_weights["conv"]}, target="numpy")
    assert not module.params["fc"][0].any()
    assert len(module.warnings) == 1
    assert "fc" in module.warnings[0]
    assert netc.compile(tiny, target="numpy").warnings == ()


def test_weights_of_another_net_are_noticed(tiny):
    module = netc.compile(tiny, {"conv1_1": [np.zeros(1)]}, target="numpy")
    assert "conv1_1" in "".join(module.warnings)


def test_the_modules_parameters_are_not_the_callers_arrays(tiny, tiny_weights, images):
    module = netc.compile(tiny, tiny_weights)
    before = module.run(data=images)["prob"]
    for arrays in tiny_weights.values():
        for array in arrays:
            array[...] = 0
    np.testing.assert_array_equal(module.run(data=images)["prob"], before)


def test_a_net_without_inputs_runs():
    text = """layer { name: "d" type: "DummyData" top: "d"
      dummy_data_param { shape { dim: 2 dim: 3 } data_filler { type: "constant" value: 2 } } }
      layer { name: "r" type: "Power" bottom: "d" top: "r" power_param { power: 2 } }"""
    for target in TARGETS:
        np.testing.assert_array_equal(netc.compile(text, target=target).run()["r"], np.full((2, 3), 4.0))


def test_an_output_may_be_an_input():
    text = """layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 2 } } }
      layer { name: "b" type: "Input" top: "b" input_param { shape { dim: 2 } } }
      layer { name: "r" type: "ReLU" bottom: "b" top: "r" }"""
    for target in TARGETS:
        found = netc.compile(text, target=target).run(a=[1, -1], b=[2, -2])
        np.testing.assert_array_equal(found["a"], [1, -1])
        np.testing.assert_array_equal(found["r"], [2, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "tpu"}, "unknown CPU target 'tpu'"),
        ({"phase": "DEBUG"}, "phase is TRAIN or TEST"),
        ({"opt_level": 4}, "optimisation level"),
        ({"threads": 0}, "number of threads"),
        ({"input_shapes": {"data": (0, 3, 8, 8)}}, "dimension '0'"),
        ({"input_shapes": {"data": ("N+1", 3, 8, 8)}}, r"dimension 'N\+1'"),
        ({"input_shapes": {"dato": (1, 3, 8, 8)}}, "'dato', which is no input"),
        ({"input_shapes": {"data": (1.5, 3, 8, 8)}}, r"dimension '1\.5'"),
        ({"input_shapes": {"data": (None, 3, 8, 8)}}, "dimension 'None'"),
        ({"input_shapes": {"data": 8}}, "list of dimensions, got 8"),
        ({"input_shapes": [8]}, "maps the names"),
        ({"threads": "2"}, "threads lies in .* got '2'"),
        ({"threads": 1.5}, "threads lies in .* got 1.5"),
        ({"opt_level": "3"}, "got '3'"),
        ({"level": "1"}, "the level is a number, got '1'"),
        ({"keep": "pool"}, r"(?s)keep is a list of names, got 'pool'.*keep=\['pool'\]"),
        ({"stages": "deploy"}, "stages is a list of names"),
        ({"weights": [1]}, "weights are a path, or .* got list"),
        (
            {"weights": {"conv": None}},
            "layer 'conv': the weights of a layer are a list of arrays, got NoneType",
        ),
    ],
)
def test_wrong_options_are_named(tiny, options, message):
    with pytest.raises(netc.NetcError, match=message):
        netc.compile(tiny, **options)


def test_what_is_no_net_at_all_is_named():
    for wrong in (None, 5, b"net.prototxt"):
        with pytest.raises(netc.NetcError, match=f"a net is a path, .* got {type(wrong).__name__}"):
            netc.compile(wrong)
