"""Results whose number of rows a run decides: cut to what counts, on every target and level."""

import numpy as np
import pytest

import netc
from netc.frontend.importer import import_net
from netc.frontend.net_file import load_net
from netc.ir.diagnostics import NetcError

SSD = """
input: "data" input_shape { dim: 2 dim: 3 dim: 32 dim: 32 }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 8 kernel_size: 4 stride: 4 weight_filler { type: "xavier" } } }
layer { name: "n" type: "Normalize" bottom: "c" top: "n" norm_param { across_spatial: false } }
layer { name: "l" type: "Convolution" bottom: "n" top: "l"
  convolution_param { num_output: 8 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "lp" type: "Permute" bottom: "l" top: "lp" permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "lf" type: "Flatten" bottom: "lp" top: "lf" }
layer { name: "s" type: "Convolution" bottom: "n" top: "s"
  convolution_param { num_output: 6 kernel_size: 1 weight_filler { type: "gaussian" std: 2 } } }
layer { name: "sp" type: "Permute" bottom: "s" top: "sp" permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "sr" type: "Reshape" bottom: "sp" top: "sr" reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
layer { name: "ss" type: "Softmax" bottom: "sr" top: "ss" softmax_param { axis: 2 } }
layer { name: "sf" type: "Flatten" bottom: "ss" top: "sf" }
layer { name: "p" type: "PriorBox" bottom: "n" bottom: "data" top: "p" prior_box_param { min_size: 6 max_size: 12 } }
layer { name: "d" type: "DetectionOutput" bottom: "lf" bottom: "sf" bottom: "p" top: "d"
  detection_output_param { num_classes: 3 code_type: CENTER_SIZE confidence_threshold: %s keep_top_k: 50
    nms_param { nms_threshold: 0.45 top_k: 40 } } }
"""

RCNN = """
input: "data" input_shape { dim: 1 dim: 3 dim: 64 dim: 80 }
input: "info" input_shape { dim: 1 dim: 3 }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 8 kernel_size: 16 stride: 16 weight_filler { type: "xavier" } } }
layer { name: "s" type: "Convolution" bottom: "c" top: "s"
  convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "b" type: "Convolution" bottom: "c" top: "b"
  convolution_param { num_output: 8 kernel_size: 1 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "p" type: "Proposal" bottom: "s" bottom: "b" bottom: "info" top: "rois" top: "scores"
  proposal_param { ratio: 1 scale: 1 scale: 2 post_nms_topn: 39 min_size: 2 nms_thresh: 0.4 } }
layer { name: "r" type: "ROIPooling" bottom: "c" bottom: "rois" top: "r"
  roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.0625 } }
layer { name: "f" type: "InnerProduct" bottom: "r" top: "f"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "a" type: "ReLU" bottom: "f" top: "f" }
layer { name: "y" type: "Softmax" bottom: "f" top: "y" }
"""


def image(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32) * 5


def compiled(text, **options):
    """The net with the weights of a first compilation, which are drawn from a fixed seed."""
    weights = netc.compile(text, target="numpy").params
    return netc.compile(text, weights, **options)


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_detections_are_cut_to_their_number_on_every_level(level):
    inputs = {"data": image(2, 3, 32, 32)}
    expected = compiled(SSD % 0.97, target="numpy").run(**inputs)["d"]
    found = compiled(SSD % 0.97, opt_level=level).run(**inputs)
    assert list(found) == ["d"]
    assert expected.shape[:2] == (1, 1)
    assert 2 < expected.shape[2] < 100
    np.testing.assert_allclose(found["d"], expected, rtol=1e-3, atol=1e-4)


def test_no_detection_is_a_row_of_minus_one_for_each_image():
    found = compiled(SSD % 1.5).run(data=image(2, 3, 32, 32))["d"]
    np.testing.assert_array_equal(found, [[[[0, *[-1] * 6], [1, *[-1] * 6]]]])


def test_the_stated_shape_has_room_for_the_most_rows():
    module = compiled(SSD % 0.97)
    assert module.outputs == {"d": (1, 1, 100, 7)}
    module.run(data=image(2, 3, 32, 32))
    assert module.blob("d").shape[2] < 100


@pytest.mark.parametrize("level", [0, 3])
def test_what_follows_the_proposals_is_cut_as_they_are(level):
    inputs = {"data": image(1, 3, 64, 80), "info": [[64, 80, 1]]}
    options = {"keep": ["rois"], "opt_level": level}
    expected = compiled(RCNN, target="numpy", keep=["rois"])
    module = compiled(RCNN, **options)
    y, reference = module.run(**inputs), expected.run(**inputs)
    count = len(module.blob("rois"))
    assert 1 < count < 39
    assert y["y"].shape == (count, 5)
    assert y["scores"].shape == (count,)
    np.testing.assert_allclose(y["y"], reference["y"], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(module.blob("rois"), expected.blob("rois"), rtol=1e-4, atol=1e-3)


def test_a_saved_net_cuts_its_rows_too(tmp_path):
    module = compiled(SSD % 0.97)
    module.save(tmp_path / "ssd.netc")
    data = image(2, 3, 32, 32)
    np.testing.assert_array_equal(
        netc.load(tmp_path / "ssd.netc").run(data=data)["d"], module.run(data=data)["d"]
    )


def test_sizes_that_a_run_gives_decide_how_much_room_there_is():
    symbolic = {"data": ("N", 3, 32, 32)}
    module = netc.compile(SSD % 0.97, compiled(SSD % 0.97).params, input_shapes=symbolic)
    data = image(3, 3, 32, 32)
    found = module.run(data=data)["d"]
    assert sorted(set(found[0, 0, :, 0])) == [0, 1, 2]
    np.testing.assert_allclose(module.run(data=data[:1])["d"], found[:, :, found[0, 0, :, 0] == 0])


@pytest.mark.parametrize(
    "after",
    [
        'layer { name: "z" type: "Flatten" bottom: "d" top: "z" }',
        'layer { name: "z" type: "Softmax" bottom: "d" top: "z" softmax_param { axis: 2 } }',
        'layer { name: "z" type: "Slice" bottom: "d" top: "z" top: "w" slice_param { axis: 2 slice_point: 1 } }',
        'layer { name: "z" type: "Concat" bottom: "d" bottom: "d" top: "z" concat_param { axis: 2 } }',
    ],
)
def test_a_layer_that_mixes_rows_is_an_error_at_the_layer(after):
    text = SSD % 0.97 + after
    with pytest.raises(NetcError, match="cannot take rows whose number a run decides") as caught:
        import_net(load_net(text))
    assert caught.value.location.line == text.count("\n") + 1


def test_rows_are_followed_through_what_treats_each_by_itself():
    text = SSD % 0.97 + (
        'layer { name: "a" type: "Slice" bottom: "d" top: "head" top: "box" slice_param { axis: 3 slice_point: 3 } }'
        'layer { name: "b" type: "Reshape" bottom: "box" top: "rows" reshape_param { shape { dim: -1 dim: 4 } } }'
        'layer { name: "c2" type: "Permute" bottom: "rows" top: "columns" permute_param { order: 1 order: 0 } }'
    )
    results = compiled(text).run(data=image(2, 3, 32, 32))
    count = results["head"].shape[2]
    assert count < 100
    assert results["columns"].shape == (4, count)
