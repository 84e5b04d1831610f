"""``caffe.NetSpec`` as scripts use it."""

import numpy as np
import pytest
from google.protobuf import text_format
from small_nets import close

import netc.pycaffe as caffe
from netc.pycaffe import layers as L
from netc.pycaffe import params as P
from netc.pycaffe import to_proto
from netc.pycaffe.proto import caffe_pb2


def lenet(rows):
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[rows, 1, 12, 12]))
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=3, weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.fc1 = L.InnerProduct(n.pool1, num_output=4, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.fc1, in_place=True)
    n.score = L.Softmax(n.fc1)
    return n.to_proto()


def test_a_net_that_is_built_is_written_and_run(tmp_path):
    path = tmp_path / "lenet.prototxt"
    with open(path, "w") as file:
        file.write(str(lenet(2)))
    net = caffe.Net(str(path), caffe.TEST)
    assert list(net.blobs) == ["data", "conv1", "pool1", "fc1", "score"]
    assert [layer.type for layer in net.layers][-2:] == ["ReLU", "Softmax"]
    net.blobs["data"].data[...] = np.random.default_rng(0).random((2, 1, 12, 12))
    close(net.forward()["score"].sum(1), 1)


def test_a_net_that_is_built_is_a_message_of_the_protobuf_library():
    net = lenet(7)
    net.name = "digits"
    assert isinstance(net, caffe_pb2.NetParameter)
    assert net.layer[1].convolution_param.kernel_size[:] == [5]
    again = text_format.Parse(str(net), caffe_pb2.NetParameter())
    assert again == net
    assert b"digits" in caffe.draw.draw_net(net, ext="dot")
    with pytest.raises(ValueError, match="no_such_field"):
        caffe_pb2.NetParameter(no_such_field=1)


def test_tops_without_names_are_numbered():
    data, label = L.MemoryData(batch_size=1, channels=1, height=2, width=2, ntop=2)
    net = to_proto(L.SoftmaxWithLoss(L.Flatten(data), label))
    assert [layer.name for layer in net.layer] == ["MemoryData1", "Flatten1", "SoftmaxWithLoss1"]
    assert list(net.layer[2].bottom) == ["Flatten1", "MemoryData2"]
