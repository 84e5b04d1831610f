import numpy as np
import pytest

import netc


@pytest.fixture(params=["numpy", "cpu"])
def module(request, tiny, tiny_weights):
    return netc.compile(tiny, tiny_weights, target=request.param)


def test_parameters_come_by_layer_in_caffes_order(module, tiny_weights):
    params = module.params
    assert list(params) == ["conv", "fc"]
    for layer, arrays in params.items():
        for array, expected in zip(arrays, tiny_weights[layer], strict=True):
            np.testing.assert_array_equal(array, expected)
            assert array.dtype == np.float32
            assert array.flags.writeable


def _expected(tiny, weights, images):
    return netc.compile(tiny, weights, target="numpy").run(data=images)["prob"]


def test_the_next_run_sees_an_edit(module, tiny, tiny_weights, images):
    module.run(data=images)
    params = module.params
    params["conv"][0][...] *= 2
    params["fc"][1][3] = 1.5
    tiny_weights["conv"][0] *= 2
    tiny_weights["fc"][1][3] = 1.5
    expected = _expected(tiny, tiny_weights, images)
    np.testing.assert_allclose(module.run(data=images)["prob"], expected, rtol=1e-5, atol=1e-6)


def test_edits_through_views_and_flat_are_seen(module, tiny, tiny_weights, images):
    row = module.params["fc"][0][2]
    module.run(data=images)
    row.flat[::2] = 0.25
    tiny_weights["fc"][0][2, ::2] = 0.25
    expected = _expected(tiny, tiny_weights, images)
    np.testing.assert_allclose(module.run(data=images)["prob"], expected, rtol=1e-5, atol=1e-6)


def test_an_edit_is_seen_though_the_array_is_gone(module, tiny, tiny_weights, images):
    module.run(data=images)
    module.params["fc"][1][...] = [5, 4, 3, 2, 1]
    tiny_weights["fc"][1][...] = [5, 4, 3, 2, 1]
    expected = _expected(tiny, tiny_weights, images)
    for _ in range(2):
        np.testing.assert_allclose(module.run(data=images)["prob"], expected, rtol=1e-5, atol=1e-6)


def test_edits_reach_the_code_for_other_sizes(module, images):
    module.run(data=images)
    module.run(data=images[:1])
    module.params["fc"][0][...] = 0
    whole = module.run(data=images)["prob"]
    one = module.run(data=images[:1])["prob"]
    np.testing.assert_allclose(one, whole[:1], rtol=1e-5, atol=1e-6)


def test_nothing_is_looked_at_once_the_arrays_are_gone(tiny, tiny_weights, images, monkeypatch):
    module = netc.compile(tiny, tiny_weights)
    params = module.params
    module.run(data=images)
    looks = []
    monkeypatch.setattr("netc.runtime.params.content_digest", lambda array: looks.append(array) or 0)
    module.run(data=images)
    assert len(looks) == 4
    del params
    module.run(data=images)
    assert len(looks) == 8
    module.run(data=images)
    assert len(looks) == 8


def test_layers_that_share_a_parameter_share_its_memory(images):
    text = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 6 } } }
      layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" }
              inner_product_param { num_output: 6 bias_term: false weight_filler { type: "xavier" } } }
      layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" }
              inner_product_param { num_output: 6 bias_term: false } }"""
    for target in ("numpy", "cpu"):
        module = netc.compile(text, target=target)
        params = module.params
        assert np.shares_memory(params["a"][0], params["b"][0])
        params["b"][0][...] = np.eye(6) * 3
        np.testing.assert_array_equal(module.run(data=np.ones((2, 6)))["b"], np.full((2, 6), 9))


def test_edits_reach_parameters_that_were_folded_into_others():
    text = """layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 5 dim: 5 } } }
      layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
              convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
      layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
      layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }"""
    data = np.random.default_rng(0).random((1, 3, 5, 5), np.float32)
    reference, module = (netc.compile(text, target=target) for target in ("numpy", "cpu"))
    for each in (reference, module):
        each.run(data=data)
        params = each.params
        params["bn"][0][...] = [1, 2, 3, 4]
        params["bn"][1][...] = [4, 3, 2, 1]
        params["bn"][2][...] = 2
        params["scale"][0][...] = [0.5, 1, 1.5, 2]
        params["scale"][1][...] = 3
    expected = reference.run(data=data)["conv"]
    assert expected.std() > 0.1
    np.testing.assert_allclose(module.run(data=data)["conv"], expected, rtol=1e-4, atol=1e-5)
