"""The forks' layers compiled: level 0 and level 3 give what the reference gives; Faster R-CNN's nets run."""

from pathlib import Path

import numpy as np
import pytest

import netc

ZOO = Path(__file__).parents[2].parent / "shared" / "zoo" / "py_faster_rcnn" / "models" / "pascal_voc" / "ZF"

# a convolution before and after, so that layouts change on the way in and out
NET = """
input: "data" input_shape {{ dim: 2 dim: 3 dim: 12 dim: 12 }}
layer {{ name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param {{ num_output: 16 kernel_size: 3 pad: 1 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "l" type: "{type}" bottom: "c" top: "l" {settings} }}
layer {{ name: "y" type: "Convolution" bottom: "l" top: "y"
  convolution_param {{ num_output: 8 kernel_size: 1 weight_filler {{ type: "xavier" }} }} }}
"""


@pytest.mark.parametrize(
    ("type_", "settings"),
    [
        ("ReLU6", ""),
        ("ReLU", "relu_param { relu6: true }"),
        ("HardSwish", ""),
        ("HardSigmoid", ""),
        (
            "Normalize",
            "norm_param { across_spatial: false channel_shared: false scale_filler { value: 20 } }",
        ),
        ("Normalize", ""),
        ("BN", "bn_param { eps: 0.001 }"),
        ("BN", "bn_param { scale_filler { value: 1 } }"),
        ("BatchNorm", "batch_norm_param { scale_bias: true }"),
        ("ShuffleChannel", "shuffle_channel_param { group: 4 }"),
        ("Reorg", "reorg_param { stride: 2 }"),
        ("Reorg", "reorg_param { stride: 2 reverse: true }"),
        ("Reshape", "reshape_param { pixelshuffler: 2 }"),
        ("Interp", "interp_param { zoom_factor: 2 }"),
        ("Interp", "interp_param { shrink_factor: 2 pad_end: -1 }"),
        ("Upsample", "upsample_param { scale: 2 }"),
        ("SELU", ""),
        ("Mish", ""),
        ("CReLU", ""),
        ("LogSoftmax", ""),
        ("MirrorPad", 'mirror_pad_param { mode: "REFLECT" paddings: [0, 0, 0, 0, 1, 2, 3, 0] }'),
        ("DepthToSpace", 'depth_to_space_param { block_size: 2 data_format: "NCHW" }'),
        ("Reverse", "reverse_param { axis: 1 axis: 3 }"),
        ("Resample", "resample_param { height: 5 width: 5 }"),
        ("ReduceMax", "reduce_max_param { axis: 3 keepdims: true }"),
        (
            "ResizeBilinear",
            'resize_bilinear_param { scale_height: 2 half_pixel_centers: true data_format: "NCHW" }',
        ),
        ("ResizeNearestNeighbor", 'resize_nearest_neighbor_param { scale_width: 3 data_format: "NCHW" }'),
        ("Pad", "pad_param { paddings: [0, 0, 0, 0, 1, 2, 3, 0] constant_values: 1 }"),
        ("SpaceToBatchND", "space_to_batch_nd_param { block_shape: 2 block_shape: 3 }"),
        ("Pooling", "pooling_param { pool: AVE_EXC_PAD kernel_size: 3 stride: 2 pad: 1 ceil_mode: false }"),
        ("Pooling", "pooling_param { pool: MAX kernel_size: 3 stride: 2 pad_t: 1 pad_l: 2 }"),
        ("ConvolutionDepthwise", "convolution_param { num_output: 16 kernel_size: 3 pad_b: 2 pad_r: 1 }"),
    ],
)
def test_a_compiled_fork_layer_gives_what_the_reference_gives(type_, settings):
    text = NET.format(type=type_, settings=settings)
    data = np.random.default_rng(0).standard_normal((2, 3, 12, 12)).astype(np.float32) * 3
    reference = netc.compile(text, target="numpy")
    expected = reference.run(data=data)["y"]
    for level in (0, 3):
        found = netc.compile(text, reference.params, opt_level=level).run(data=data)["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not ZOO.is_dir(), reason="the collection of models is not beside the project")
@pytest.mark.parametrize(
    "name", ["faster_rcnn_end2end/test.prototxt", "faster_rcnn_alt_opt/faster_rcnn_test.pt"]
)
def test_faster_rcnn_runs_and_gives_a_row_for_each_proposal(name):
    module = netc.compile(str(ZOO / name), input_shapes={"data": (1, 3, 96, 128)}, keep=["rois"])
    data = np.random.default_rng(0).standard_normal((1, 3, 96, 128)).astype(np.float32)
    found = module.run(data=data, im_info=[[96, 128, 1]])
    count = len(module.blob("rois"))
    assert 1 <= count <= 300
    assert {top: array.shape for top, array in found.items()} == {
        "bbox_pred": (count, 84),
        "cls_prob": (count, 21),
    }


def test_segnets_unpooling_undoes_its_pooling():
    text = """
    input: "x" input_shape { dim: 2 dim: 3 dim: 6 dim: 8 }
    layer { name: "p" type: "Pooling" bottom: "x" top: "p" top: "m" pooling_param { kernel_size: 2 stride: 2 } }
    layer { name: "u" type: "Upsample" bottom: "p" bottom: "m" top: "u" upsample_param { scale: 2 } }
    """
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 8)).astype(np.float32)
    for level in (0, 3):
        found = netc.compile(text, opt_level=level).run(x=x)["u"]
        blocks = x.reshape(2, 3, 3, 2, 4, 2)
        largest = blocks == blocks.max(axis=(3, 5), keepdims=True)
        np.testing.assert_array_equal(found, np.where(largest, blocks, 0).reshape(x.shape))
