import numpy as np
import pytest

import netc
from netc import NetSpec, to_proto
from netc import layers as L
from netc import params as P
from netc.frontend.text_format import parse_text
from netc.ir.diagnostics import NetcError
from netc.ir.location import Source


def prototxt(text):
    return parse_text(Source("x", text))


def lenet() -> NetSpec:
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 1, 28, 28]))
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=10, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.prob = L.Softmax(n.relu1)
    return n


def test_tops_are_called_after_their_attributes_and_layers_after_their_first_top():
    net = lenet().to_proto()
    names = [(layer.text("name"), *layer.texts("top")) for layer in net.messages("layer")]
    assert names == [
        ("data", "data"), ("conv1", "conv1"), ("pool1", "pool1"), ("ip1", "ip1"), ("relu1", "ip1"), ("prob", "prob")
    ]  # fmt: skip


def test_the_text_of_a_net_is_its_prototxt():
    net = lenet().to_proto()
    assert parse_text(Source("x", str(net))) == net


def test_a_net_made_in_python_compiles_and_runs():
    module = netc.compile(lenet().to_proto(), target="numpy")
    assert module.run(data=np.zeros((1, 1, 28, 28), np.float32))["prob"].shape == (1, 10)


def test_settings_find_their_messages():
    n = NetSpec()
    n.data, n.label = L.Data(
        batch_size=4,
        backend=P.Data.LMDB,
        source="db",
        transform_param=dict(scale=1 / 255, mean_value=[1, 2.5]),
        include=dict(phase=1),
        ntop=2,
    )
    n.conv = L.Convolution(
        n.data,
        num_output=np.int64(3),
        pad=[1, 2],
        param=[dict(lr_mult=1), dict(lr_mult=2)],
        engine=P.Convolution.CAFFE,
    )
    n.loss = L.SoftmaxWithLoss(n.conv, n.label, loss_weight=2, ignore_label=255, loss_param=None)
    assert n.to_proto() == prototxt(
        """
        layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST }
          data_param { source: "db" batch_size: 4 backend: LMDB }
          transform_param { scale: 0.003921569 mean_value: 1 mean_value: 2.5 } }
        layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { lr_mult: 1 } param { lr_mult: 2 }
          convolution_param { num_output: 3 pad: 1 pad: 2 engine: CAFFE } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label" top: "loss" loss_weight: 2
          loss_param { ignore_label: 255 } }
        """
    )


def test_tops_without_a_name_are_numbered_by_type():
    n = NetSpec()
    n.data = L.Input()
    n.out = L.ReLU(L.Pooling(L.Pooling(n.data)))
    n.silence = L.Silence(n.out, ntop=0)
    names = [layer.text("name") for layer in n.to_proto().messages("layer")]
    assert names == ["data", "Pooling1", "Pooling2", "out", "silence"]
    free = to_proto(L.Concat(L.Input(), L.Input()))
    assert [layer.text("name") for layer in free.messages("layer")] == ["Input1", "Input2", "Concat1"]
    assert L.Input().to_proto().messages("layer")[0].text("name") == "Input1"


def test_a_layer_can_be_named_apart_from_its_top():
    n = NetSpec()
    n["a/b"] = L.Input(name="other")
    layer = n.to_proto().messages("layer")[0]
    assert (layer.text("name"), layer.texts("top")) == ("other", ("a/b",))
    assert n["a/b"] is n.tops["a/b"]


def test_a_layer_that_two_others_read_is_written_once():
    n = NetSpec()
    shared = L.Input()
    n.a, n.b = L.ReLU(shared), L.TanH(shared)
    assert [layer.text("type") for layer in n.to_proto().messages("layer")] == ["Input", "ReLU", "TanH"]


def test_deep_nets_need_no_deep_stack():
    top = L.Input()
    for _ in range(5000):
        top = L.ReLU(top)
    assert len(to_proto(top).list("layer")) == 5001


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L.Convolution(num_ouput=3), "layer 'Convolution1': Convolution has no setting 'num_ouput'"),
        (lambda: L.Convolution(num_output="3"), "'num_output' takes an integer, got \"3\""),
        (lambda: L.Convolution(weight_filler="x"), "'weight_filler' takes a dict"),
        (lambda: L.Convolution(weight_filler=dict(tpye="x")), "did you mean 'type'?"),
        (lambda: L.Pooling(pool=17), "'pool' takes one of MAX, AVE"),
        (lambda: L.Pooling(stride=[1, 2]), "'stride' takes an integer"),
    ],
)
def test_wrong_settings_are_refused_by_name(make, message):
    with pytest.raises(NetcError) as caught:
        to_proto(make())
    assert message in caught.value.render()


def test_wrong_bottoms_are_refused_at_once():
    with pytest.raises(TypeError, match="bottom 0 is a str"):
        L.ReLU("data")
    with pytest.raises(TypeError, match="as many tops as bottoms"):
        L.ReLU(in_place=True)
    with pytest.raises(AttributeError, match="no top 'x'"):
        _ = NetSpec().x
    with pytest.raises(AttributeError, match="did you mean 'MAX'"):
        _ = P.Pooling.MAXX
    with pytest.raises(AttributeError, match="no message 'FooParameter'"):
        _ = P.Foo
    with pytest.raises(TypeError, match="where the top of a layer is expected"):
        NetSpec().x = 3
