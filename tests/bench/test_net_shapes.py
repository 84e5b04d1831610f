"""Caffe's size rules, as the benchmarks count them."""

import pytest

from netc.bench.net_shapes import infer
from netc.bench.prototext import parse

DATA = 'layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 2 dim: 6 dim: 7 dim: 9 } } }'


def shapes_after(layer: str):
    return infer(parse(f"{DATA} layer {{ name: 'l' bottom: 'x' top: 'y' {layer} }}").all("layer"))


@pytest.mark.parametrize(
    ("param", "size"),
    [
        ("kernel_size: 2 stride: 2", (4, 5)),  # rounded up
        ("kernel_size: 2 stride: 2 round_mode: FLOOR", (3, 4)),
        ("kernel_size: 3 stride: 2", (3, 4)),
        ("kernel_size: 2 stride: 2 pad: 1", (4, 5)),  # a fifth row would start in the padding
        ("kernel_h: 7 kernel_w: 1", (1, 9)),
        ("global_pooling: true", (1, 1)),
    ],
)
def test_pooling(param, size):
    net = shapes_after(f"type: 'Pooling' pooling_param {{ {param} }}")
    assert net.blobs["y"] == (2, 6, *size)


def test_grouped_strided_convolution():
    net = shapes_after(
        "type: 'Convolution' convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 group: 2 }"
    )
    assert net.blobs["y"] == (2, 4, 4, 5)
    assert net.params["l"] == [(4, 3, 3, 3), (4,)]
    assert net.macs == 2 * 4 * 4 * 5 * 3 * 3 * 3


def test_dilated_convolution_without_bias():
    net = shapes_after(
        "type: 'Convolution' convolution_param { num_output: 1 kernel_size: 3 dilation: 2 bias_term: false }"
    )
    assert net.blobs["y"] == (2, 1, 3, 5)
    assert net.params["l"] == [(1, 6, 3, 3)]


def test_inner_product_flattens():
    net = shapes_after("type: 'InnerProduct' inner_product_param { num_output: 5 }")
    assert net.blobs["y"] == (2, 5)
    assert net.params["l"] == [(5, 6 * 7 * 9), (5,)]
    assert net.macs == 2 * 5 * 6 * 7 * 9


def test_unknown_layer_is_not_guessed():
    with pytest.raises(KeyError, match="Mystery"):
        shapes_after("type: 'Mystery'")


def test_batch_replaces_the_first_dimension():
    net = infer(parse(DATA).all("layer"), batch=16)
    assert net.inputs == {"x": (16, 6, 7, 9)}
