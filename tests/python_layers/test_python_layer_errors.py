"""What goes wrong in a Python layer is an error of the net, with its place and the way out."""

import sys

import pytest
from python_nets import compiled, input_layer, normal, python_layer

import netc
from netc.ir.diagnostics import NetcError


def failing(method: str) -> str:
    return input_layer(2, 3) + python_layer("Fails", param_str=method)


def test_code_that_a_net_names_is_not_run_without_permission(tmp_path):
    (tmp_path / "wild.py").write_text("raise AssertionError('it ran')")
    net = tmp_path / "net.prototxt"
    net.write_text(input_layer(2, 3) + python_layer("Gain").replace("sample_layers", "wild"))
    with pytest.raises(NetcError, match="does not run a net's own code") as caught:
        netc.compile(net)
    assert caught.value.location.line == 2
    assert "--allow-python-layers" in str(caught.value)
    assert "wild" not in sys.modules


def test_a_source_that_may_not_run_asks_for_a_shape_or_for_permission():
    with pytest.raises(NetcError, match="shape of input 'image' is not stated") as caught:
        netc.compile(
            python_layer("Rows", "", "image label")
            + 'layer { type: "Silence" bottom: "image" bottom: "label" }'
        )
    assert "--allow-python-layers" in str(caught.value)


@pytest.mark.parametrize("method", ["setup", "reshape"])
def test_an_exception_while_the_net_is_read_has_the_layer_and_the_traceback(method):
    with pytest.raises(NetcError, match=f"{method} of the Python layer sample_layers.Fails failed") as caught:
        compiled(failing(method))
    text = str(caught.value)
    assert caught.value.location.line == 2
    assert f"RuntimeError: no {method} today" in text
    assert "sample_layers.py" in text
    assert "python_layers/layer.py" not in text  # netc's own frame says nothing to the user


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_an_exception_in_a_run_is_an_error_of_the_run(target):
    net = compiled(failing("forward"), target=target)
    with pytest.raises(NetcError, match="forward of the Python layer"):
        net.run(x=normal(2, 3))


@pytest.mark.parametrize("target", ["numpy", "cpu"])
def test_an_exception_on_the_way_back_is_one_too(target):
    net = compiled(failing("backward"), target=target, training=True, phase="TRAIN")
    net.forward(x=normal(2, 3))
    with pytest.raises(NetcError, match="backward of the Python layer"):
        net.backward(y=normal(2, 3))


def test_a_layer_that_ends_the_process_is_an_error():
    with pytest.raises(NetcError, match="SystemExit: 3"):
        compiled(failing("exit"))


def test_a_layer_without_backward_stops_training_with_the_reason():
    class Forward:
        def setup(self, bottom, top): ...

        def reshape(self, bottom, top):
            top[0].reshape(*bottom[0].shape)

        def forward(self, bottom, top): ...

    netc.register_python_layer("OnlyForward", Forward)
    ip = 'layer { name: "ip" type: "InnerProduct" bottom: "x" top: "z" inner_product_param { num_output: 2 } }\n'
    text = input_layer(2, 3) + ip + python_layer("OnlyForward", "z", "y", "loss_weight: 1")
    netc.compile(text).run(x=normal(2, 3))
    with pytest.raises(NetcError, match="without a method backward have no gradient"):
        netc.compile(text, training=True, phase="TRAIN")


@pytest.mark.parametrize(
    ("module", "cls", "message"),
    [
        ("no_such_module", "Gain", "there is no module 'no_such_module'"),
        ("sample_layers", "Gains", "has no class 'Gains'"),
        ("", "Gain", "importing the module '' of a Python layer failed"),
        (".relative", "Gain", "importing the module '.relative' of a Python layer failed"),
        ("broken_module", "Gain", "SyntaxError"),
        ("needs_more", "Gain", "No module named 'surely_missing'"),
    ],
)
def test_a_class_that_cannot_be_had_is_an_error_of_the_layer(module, cls, message, tmp_path):
    (tmp_path / "broken_module.py").write_text("def f(:\n")
    (tmp_path / "needs_more.py").write_text("import surely_missing\n")
    net = tmp_path / "net.prototxt"
    layer = python_layer("Gain").replace('"sample_layers"', f'"{module}"').replace('"Gain"', f'"{cls}"')
    net.write_text(input_layer(2, 3) + layer)
    with pytest.raises(NetcError, match=message) as caught:
        compiled(net)
    assert caught.value.location.line == 2


def test_a_top_without_a_shape_is_an_error():
    with pytest.raises(NetcError, match="gave the top 'y' no shape"):
        compiled(input_layer(2, 3) + python_layer("Shapeless"))


def test_the_module_is_looked_for_beside_the_net(tmp_path):
    (tmp_path / "beside_the_net.py").write_text(
        "import caffe\n"
        "class Twice(caffe.Layer):\n"
        "    def setup(self, bottom, top): pass\n"
        "    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)\n"
        "    def forward(self, bottom, top): top[0].data[...] = 2 * bottom[0].data\n"
    )
    net = tmp_path / "net.prototxt"
    net.write_text(input_layer(1, 2) + python_layer("Twice").replace("sample_layers", "beside_the_net"))
    assert compiled(net).run(x=[[1, 2]])["y"].tolist() == [[2, 4]]


def test_a_registered_class_needs_no_permission_and_no_module():
    from sample_layers import Gain

    netc.register_python_layer("nowhere.Mine", Gain)
    layer = python_layer("Mine", param_str="3").replace("sample_layers", "nowhere")
    assert netc.compile(input_layer(1, 2) + layer).run(x=[[1, 2]])["y"].tolist() == [[3, 6]]
    with pytest.raises(ValueError, match="is a class"):
        netc.register_python_layer("nowhere.Mine", Gain())
