"""``caffe.io`` and ``caffe.proto``: images, transformations, messages."""

import sys

import numpy as np
import pytest
from google.protobuf import text_format

import netc.pycaffe as caffe
from netc.ir.diagnostics import NetcError
from netc.pycaffe.proto import caffe_pb2


@pytest.fixture
def transformer():
    made = caffe.io.Transformer({"data": (10, 3, 4, 6)})
    made.set_transpose("data", (2, 0, 1))
    made.set_channel_swap("data", (2, 1, 0))
    made.set_raw_scale("data", 255)
    made.set_mean("data", np.array([104, 117, 123]))
    made.set_input_scale("data", 0.5)
    return made


def test_preprocess_follows_the_order_of_the_original(transformer):
    image = np.random.default_rng(0).random((4, 6, 3), np.float32)
    untouched = image.copy()
    made = transformer.preprocess("data", image)
    wanted = (image[:, :, ::-1] * 255 - [104, 117, 123]) * 0.5
    np.testing.assert_allclose(made, wanted.transpose(2, 0, 1), rtol=1e-4, atol=1e-4)
    assert made.dtype == np.float32
    assert (image == untouched).all()


def test_deprocess_inverts_preprocess(transformer):
    image = np.random.default_rng(0).random((4, 6, 3), np.float32)
    row = transformer.preprocess("data", image)
    np.testing.assert_allclose(transformer.deprocess("data", row), image, atol=1e-5)
    np.testing.assert_allclose(transformer.deprocess("data", row[np.newaxis]), image, atol=1e-5)


def test_an_image_of_another_size_is_resized(transformer):
    assert transformer.preprocess("data", np.ones((9, 5, 3))).shape == (3, 4, 6)


def test_a_mean_image_is_resized_to_the_input():
    transformer = caffe.io.Transformer({"data": (1, 3, 4, 6)})
    transformer.set_mean("data", np.arange(3.0)[:, None, None] + np.zeros((3, 8, 12)))
    np.testing.assert_allclose(transformer.mean["data"], np.broadcast_to([[[0]], [[1]], [[2]]], (3, 4, 6)))


def test_settings_that_do_not_fit_the_input_are_refused(transformer):
    for call in (
        lambda: transformer.set_mean("data", np.zeros(4)),
        lambda: transformer.set_mean("data", np.zeros((1, 3, 4, 6))),
        lambda: transformer.set_channel_swap("data", (1, 0)),
        lambda: transformer.set_transpose("data", (2, 0)),
        lambda: transformer.set_raw_scale("date", 1),
        lambda: transformer.preprocess("data", np.zeros((4, 6))),
    ):
        with pytest.raises(NetcError):
            call()


def test_resizing_shows_the_darkest_value_beyond_the_border():
    image = np.array([[1.0, 3.0], [1.0, 3.0]])[:, :, np.newaxis]
    resized = caffe.io.resize_image(image, (2, 4))
    np.testing.assert_allclose(resized[0, :, 0], [1, 1.5, 2.5, 0.75 * 3 + 0.25 * 1])
    assert resized.dtype == np.float32


def test_resizing_images_of_other_channels_keeps_their_corners():
    image = np.arange(6.0).reshape(1, 3, 2)
    resized = caffe.io.resize_image(image, (1, 5))
    np.testing.assert_allclose(resized[0, :, 0], [0, 1, 2, 3, 4])


def test_resizing_a_constant_image_and_by_nearest_pixels():
    assert (caffe.io.resize_image(np.full((2, 2, 3), 7), (3, 5)) == 7).all()
    image = np.array([[0.0, 1.0]])[:, :, np.newaxis]
    np.testing.assert_allclose(caffe.io.resize_image(image, (1, 4), 0)[0, :, 0], [0, 0, 1, 1])
    with pytest.raises(NetcError, match="order 0"):
        caffe.io.resize_image(image, (1, 4), 3)
    with pytest.raises(NetcError, match="height x width x channels"):
        caffe.io.resize_image(np.zeros((2, 2)), (1, 4))


def test_oversampling_takes_corners_centre_and_their_mirrors():
    image = np.arange(5 * 6 * 1.0).reshape(5, 6, 1)
    crops = caffe.io.oversample([image, -image], (3, 4))
    assert crops.shape == (20, 3, 4, 1)
    for crop, (top, left) in zip(crops, [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)], strict=False):
        np.testing.assert_array_equal(crop, image[top : top + 3, left : left + 4])
    np.testing.assert_array_equal(crops[5:10], crops[:5, :, ::-1])
    np.testing.assert_array_equal(crops[10:], -crops[:10])
    with pytest.raises(NetcError, match="larger than the images"):
        caffe.io.oversample([image], (6, 6))


def test_images_are_loaded_in_color_or_grey(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 4), dtype=np.uint8)
    image_module.fromarray(pixels).save(tmp_path / "a.png")
    image = caffe.io.load_image(tmp_path / "a.png")
    np.testing.assert_allclose(image, pixels[:, :, :3] / 255, atol=1e-6)
    assert caffe.io.load_image(tmp_path / "a.png", color=False).shape == (4, 5, 1)


def test_arrays_become_blob_protos_and_back():
    array = np.random.default_rng(0).random((2, 3, 4)).astype("f4")
    blob = caffe.io.array_to_blobproto(array, -array)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob), array)
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(blob, return_diff=True), -array)
    vector = caffe.io.arraylist_to_blobprotovector_str([array, array[0]])
    assert [a.shape for a in caffe.io.blobprotovector_str_to_arraylist(vector)] == [(2, 3, 4), (3, 4)]
    legacy = caffe_pb2.BlobProto(num=1, channels=2, height=1, width=2, data=[1, 2, 3, 4])
    np.testing.assert_array_equal(caffe.io.blobproto_to_array(legacy), [[[[1, 2]], [[3, 4]]]])
    legacy.width = 9
    with pytest.raises(NetcError, match="4 numbers for the shape 1x2x1x9"):
        caffe.io.blobproto_to_array(legacy)


@pytest.mark.parametrize("dtype", ["u1", "f4"])
def test_arrays_become_datums_and_back(dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    datum = caffe.io.array_to_datum(array, 7)
    assert datum.label == 7
    assert bool(datum.data) == (dtype == "u1")
    again = caffe_pb2.Datum.FromString(datum.SerializeToString())
    np.testing.assert_array_equal(caffe.io.datum_to_array(again), array)
    with pytest.raises(NetcError, match="channels x height x width"):
        caffe.io.array_to_datum(array[0])


def test_messages_work_with_the_text_format_of_protobuf():
    net = caffe_pb2.NetParameter()
    text_format.Merge(
        'name: "n" layer { name: "p" type: "Pooling" pooling_param { pool: AVE } include { phase: TEST } }',
        net,
    )
    assert net.layer[0].pooling_param.pool == caffe_pb2.PoolingParameter.AVE
    assert net.layer[0].include[0].phase == caffe_pb2.TEST == caffe.TEST == caffe_pb2.Phase.Value("TEST")
    assert caffe_pb2.Phase.Name(0) == "TRAIN"
    assert caffe_pb2.V1LayerParameter.CONVOLUTION == 4
    assert "SolverParameter" in dir(caffe_pb2)
    with pytest.raises(AttributeError, match="NoSuchParameter"):
        _ = caffe_pb2.NoSuchParameter


def test_settings_of_the_process_say_what_they_do():
    caffe.set_mode_cpu()
    caffe.set_device(0)
    with pytest.warns(UserWarning, match="runs nets on the CPU"):
        caffe.set_mode_gpu()
    assert {"Convolution", "InnerProduct"} <= set(caffe.layer_type_list())
    assert caffe.__version__
    assert not caffe.has_nccl()
    with pytest.raises(AttributeError):
        _ = caffe.no_such_name


def test_scripts_can_import_caffe_by_its_own_name(monkeypatch):
    for name in [m for m in sys.modules if m.split(".")[0] == "some_caffe"]:
        monkeypatch.delitem(sys.modules, name)
    caffe.install("some_caffe")
    import some_caffe
    import some_caffe.io
    from some_caffe.proto import caffe_pb2 as messages

    assert some_caffe.Net is caffe.Net
    assert messages.NetParameter is caffe_pb2.NetParameter
    monkeypatch.setitem(sys.modules, "other_caffe", sys)
    with pytest.raises(NetcError, match="imported already"):
        caffe.install("other_caffe")


def test_nets_are_drawn_from_messages(tmp_path):
    net = caffe_pb2.NetParameter()
    text_format.Merge(
        """layer { name: "d" type: "Data" top: "x" include { phase: TRAIN } }
        layer { name: "c" type: "Convolution" bottom: "x" top: "y"
                convolution_param { num_output: 7 kernel_size: 3 stride: 2 } }
        layer { name: "r" type: "ReLU" bottom: "y" top: "y" }""",
        net,
    )
    path = tmp_path / "net.dot"
    caffe.draw.draw_net_to_file(net, str(path), "LR")
    text = path.read_text()
    assert "rankdir=LR" in text
    for part in ('label="c\\n(Convolution)\\nkernel 3\\nstride 2"', 'label="7"', "octagon", '"d\\n(Data)"'):
        assert part in text
    assert b"(Data)" not in caffe.draw.draw_net(net, "TB", "dot", caffe.TEST)
    with pytest.raises(NetcError, match="rankdir"):
        caffe.draw.draw_net(net, "XY")
