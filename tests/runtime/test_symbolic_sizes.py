import numpy as np
import pytest

import netc

ANY_IMAGE = """name: "filter"
layer { name: "data" type: "Input" top: "data" }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 6 kernel_size: 3 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "sigmoid" type: "Sigmoid" bottom: "pool" top: "out" }
"""
SIZES = [(1, 16, 16), (3, 17, 9), (2, 8, 31), (1, 16, 16), (5, 12, 12), (1, 40, 7)]


def rand(*shape):
    return np.random.default_rng(sum(shape)).random(shape, np.float32)


def test_one_module_serves_any_batch(tiny, tiny_weights):
    module = netc.compile(tiny, tiny_weights, input_shapes={"data": ("N", 3, 8, 8)})
    assert module.inputs == {"data": ("N", 3, 8, 8)}
    assert module.outputs == {"prob": ("N", 5)}
    reference = netc.compile(tiny, tiny_weights, target="numpy")
    for count in (1, 2, 7, 16, 3, 1):
        images = rand(count, 3, 8, 8)
        expected = reference.run(data=images)["prob"]
        np.testing.assert_allclose(module.run(data=images)["prob"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opt_level", [0, 3])
def test_one_module_serves_images_of_any_size(opt_level):
    symbols = {"data": ("N", 3, "H", "W")}
    module = netc.compile(ANY_IMAGE, input_shapes=symbols, opt_level=opt_level)
    reference = netc.compile(ANY_IMAGE, input_shapes=symbols, target="numpy")
    for count, height, width in SIZES:
        images = rand(count, 3, height, width)
        expected = reference.run(data=images)["out"]
        found = module.run(data=images)["out"]
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_symbolic_module_compiles_once(tiny, tiny_weights, monkeypatch):
    module = netc.compile(tiny, tiny_weights, input_shapes={"data": ("N", 3, 8, 8)})
    monkeypatch.setattr("netc.runtime.module.compile_message", None)
    for count in (1, 5, 9):
        assert module.run(data=rand(count, 3, 8, 8))["prob"].shape == (count, 5)


def test_a_symbol_has_one_value():
    text = """layer { name: "a" type: "Input" top: "a" } layer { name: "b" type: "Input" top: "b" }
              layer { name: "s" type: "Eltwise" bottom: "a" bottom: "b" top: "s" }"""
    for target in ("numpy", "cpu"):
        module = netc.compile(text, target=target, input_shapes={"a": ("N", 4), "b": ("N", 4)})
        np.testing.assert_array_equal(
            module.run(a=np.ones((3, 4)), b=np.ones((3, 4)))["s"], np.full((3, 4), 2)
        )
        with pytest.raises(netc.NetcError, match="size N is 3 in input 'a' and 2 in axis 0 of input 'b'"):
            module.run(a=np.ones((3, 4)), b=np.ones((2, 4)))


def test_sizes_too_small_for_the_net_are_refused():
    module = netc.compile(ANY_IMAGE, input_shapes={"data": ("N", 3, "H", "W")})
    with pytest.raises(netc.NetcError):
        module.run(data=np.zeros((1, 3, 2, 2)))
    assert module.run(data=rand(1, 3, 16, 16))["out"].shape == (1, 6, 4, 4)


def test_memory_depends_on_the_size(tiny, tiny_weights):
    module = netc.compile(tiny, tiny_weights, input_shapes={"data": ("N", 3, 8, 8)})
    with pytest.raises(netc.NetcError, match="depends on N"):
        _ = module.memory
    assert module.memory_at(N=8).activations > module.memory_at(N=1).activations
    with pytest.raises(netc.NetcError, match="takes values for N, got M"):
        module.memory_at(M=1)
    module.run(data=rand(8, 3, 8, 8))
    assert module.memory == module.memory_at(N=8)


def test_a_symbolic_module_specialises_where_a_number_differs():
    module = netc.compile(ANY_IMAGE, input_shapes={"data": ("N", 3, 16, 16)})
    assert module.run(data=rand(2, 3, 20, 24))["out"].shape == (2, 6, 5, 6)
    assert module.run(data=rand(3, 3, 16, 16))["out"].shape == (3, 6, 4, 4)


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_a_fully_convolutional_net_says_for_each_window_what_the_net_says(tiny, tiny_weights, target):
    text = tiny.replace("pad: 1", "pad: 0").replace("kernel_size: 2 stride: 2", "kernel_size: 2 stride: 1")
    tiny_weights["fc"][0] = np.resize(tiny_weights["fc"][0], (5, 20 * 5 * 5))
    net = netc.compile(text, tiny_weights, target=target)
    whole = netc.compile(
        text,
        tiny_weights,
        target=target,
        fully_convolutional=True,
        input_shapes={"data": (1, 3, "H", "W")},
    )
    image = rand(1, 3, 11, 10)
    found = whole.run(data=image)["prob"]
    assert found.shape == (1, 5, 4, 3)
    for y in range(4):
        for x in range(3):
            window = net.run(data=image[:, :, y : y + 8, x : x + 8])["prob"]
            np.testing.assert_allclose(found[:, :, y, x], window, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("target", ["cpu", "numpy"])
def test_a_size_that_makes_a_blob_too_large_is_refused_before_it_is_allocated(target):
    text = """input: "x" layer { name: "t" type: "Tile" bottom: "x" top: "y" tile_param { tiles: 100000 } }"""
    module = netc.compile(text, input_shapes={"x": ("N", 10)}, target=target)
    assert module.run(x=np.ones((1, 10)))["y"].shape == (1, 1_000_000)
    with pytest.raises(netc.NetcError, match="3000000000 elements; Caffe's limit is 2147483647"):
        module.run(x=np.ones((3000, 10)))
