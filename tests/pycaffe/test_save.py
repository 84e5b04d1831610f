"""``Net.save``: parameters with the settings of the layers, in every format."""

import pytest
from small_nets import CONV_NET, close

import netc.pycaffe as caffe
from netc.ir.diagnostics import NetcError
from netc.pycaffe.proto import caffe_pb2


def test_a_saved_net_has_the_settings_of_all_its_layers(net, tmp_path):
    net.save(tmp_path / "w.caffemodel")
    saved = caffe_pb2.NetParameter.FromString((tmp_path / "w.caffemodel").read_bytes())
    assert saved.name == "small"
    assert [layer.name for layer in saved.layer] == net._layer_names
    conv = saved.layer[1]
    assert (conv.type, list(conv.bottom), list(conv.top)) == ("Convolution", ["data"], ["conv"])
    assert conv.convolution_param.num_output == 4
    assert conv.convolution_param.weight_filler.type == "gaussian"
    assert conv.phase == caffe.TEST
    assert saved.layer[3].pooling_param.stride == 2
    close(caffe.io.blobproto_to_array(conv.blobs[0]), net.params["conv"][0].data)
    assert [len(layer.blobs) for layer in saved.layer] == [0, 2, 0, 0, 2, 0]


def test_a_saved_net_without_its_blobs_is_a_definition(net, batch, tmp_path):
    """What scripts do that shrink or rewrite models."""
    net.save(tmp_path / "w.caffemodel")
    model = caffe_pb2.NetParameter.FromString((tmp_path / "w.caffemodel").read_bytes())
    for layer in model.layer:
        del layer.blobs[:]
    (tmp_path / "again.prototxt").write_text(str(model))
    again = caffe.Net(str(tmp_path / "again.prototxt"), str(tmp_path / "w.caffemodel"), caffe.TEST)
    close(again.forward(data=batch)["prob"], net.forward(data=batch)["prob"])


@pytest.mark.parametrize("name", ["w.caffemodel", "w.caffemodel.h5", "w.hdf5", "w.safetensors", "iter_1000"])
def test_every_format_is_loaded_again(net, batch, write, tmp_path, name):
    if name.endswith(("h5", "hdf5")):
        pytest.importorskip("h5py")
    net.save(tmp_path / name)
    again = caffe.Net(write(CONV_NET), caffe.TEST, weights=tmp_path / name)
    close(again.forward(data=batch)["prob"], net.forward(data=batch)["prob"])


def test_blobs_that_the_definition_holds_are_saved_as_they_are_now(write, tmp_path):
    net = caffe.Net(
        write(
            """input: "x" input_shape { dim: 1 dim: 2 }
            layer { name: "b" type: "Bias" bottom: "x" top: "y" bias_param { axis: 1 }
                    blobs { shape { dim: 2 } data: 1 data: 2 } }"""
        ),
        caffe.TEST,
    )
    net.params["b"][0].data[...] = [3, 4]
    net.save(tmp_path / "w.caffemodel")
    layer = caffe_pb2.NetParameter.FromString((tmp_path / "w.caffemodel").read_bytes()).layer[1]
    assert [list(blob.data) for blob in layer.blobs] == [[3, 4]]


def test_hdf5_has_methods_of_its_own(net, batch, write, tmp_path):
    pytest.importorskip("h5py")
    net.save_hdf5(tmp_path / "w.h5")
    again = caffe.Net(write(CONV_NET), caffe.TEST)
    again.load_hdf5(tmp_path / "w.h5")
    close(again.forward(data=batch)["prob"], net.forward(data=batch)["prob"])
    with pytest.raises(NetcError, match=r"\.h5 or \.hdf5"):
        net.save_hdf5(tmp_path / "w.caffemodel")


def test_a_folder_that_is_not_there_is_named(net, tmp_path):
    with pytest.raises(NetcError, match="No such file"):
        net.save(tmp_path / "no" / "w.caffemodel")
