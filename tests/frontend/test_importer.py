"""The graph: blobs and values, outputs, parameters and their sharing, errors and warnings."""

import pytest

from netc.frontend.importer import ImportedNet, import_net
from netc.frontend.net_file import load_net
from netc.ir.diagnostics import NetcError
from netc.ir.dim import symbol
from netc.ir.printer import print_func
from netc.ir.verify import verify

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'


def imported(layers: str, **options: object) -> ImportedNet:
    net = import_net(load_net(INPUT + layers), **options)  # type: ignore[arg-type]
    verify(net.module)
    return net


def text(layers: str, **options: object) -> str:
    return print_func(imported(layers, **options).module.func("main"), locations=False)


def error(layers: str, **options: object) -> str:
    with pytest.raises(NetcError) as caught:
        imported(layers, **options)
    return caught.value.render()


def relu(bottom: str, top: str, name: str = "r") -> str:
    return f'layer {{ name: "{name}" type: "ReLU" bottom: "{bottom}" top: "{top}" }}\n'


def inner(name: str, bottom: str, extra: str = "", settings: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {extra} '
        f"inner_product_param {{ num_output: 4 bias_term: false {settings} }} }}\n"
    )


def test_in_place_layers_make_new_values_named_after_their_blob():
    assert text(relu("x", "x") + relu("x", "x") + relu("x", "y")) == (
        "func @main(%x: f32[2,3]) -> (y = %y) {\n"
        "  %x.1: f32[2,3] = math.relu %x {slope = 0.0}\n"
        "  %x.2: f32[2,3] = math.relu %x.1 {slope = 0.0}\n"
        "  %y: f32[2,3] = math.relu %x.2 {slope = 0.0}\n"
        "}"
    )


def test_an_input_keeps_its_name_where_a_value_before_it_would_take_it():
    second = 'layer { type: "Input" top: "x.1" input_param { shape { dim: 2 dim: 3 } } }\n'
    inputs = imported(relu("x", "x") + second).module.func("main").inputs
    assert [a.name for a in inputs] == ["x", "x.1"]
    with pytest.raises(NetcError, match=r"top blob 'x\.1' is produced by multiple sources"):
        imported(second + second)


def test_a_reader_before_an_in_place_layer_sees_the_value_of_its_time():
    assert text(relu("x", "a") + relu("x", "x") + relu("x", "b")) == (
        "func @main(%x: f32[2,3]) -> (a = %a, b = %b) {\n"
        "  %a: f32[2,3] = math.relu %x {slope = 0.0}\n"
        "  %x.1: f32[2,3] = math.relu %x {slope = 0.0}\n"
        "  %b: f32[2,3] = math.relu %x.1 {slope = 0.0}\n"
        "}"
    )


def test_outputs_are_the_blobs_that_nobody_reads_in_the_order_they_are_made():
    net = imported(relu("x", "z") + relu("x", "b") + relu("x", "a") + relu("b", "b"))
    assert net.module.func("main").result_names == ("z", "a", "b")
    assert net.blobs["b"].name == "b.1"


def test_kept_blobs_are_results_as_well():
    net = imported(relu("x", "a") + relu("a", "b"), keep=("a", "x", "b"))
    assert net.module.func("main").result_names == ("b", "a", "x")


def test_an_unknown_blob_to_keep_is_an_error():
    assert error(relu("x", "conv1"), keep=("conv2",)) == (
        "error: the net has no blob 'conv2' to keep\nhelp: the nearest blobs are conv1"
    )


def test_layers_may_share_a_name_or_have_none():
    net = imported(relu("x", "a") + relu("a", "b") + 'layer { type: "TanH" bottom: "b" top: "c" }')
    assert [layer.name for layer in net.layers] == ["in", "r", "r", ""]


def test_a_layer_without_a_name_calls_its_parameters_after_its_top():
    layer = 'layer { type: "InnerProduct" bottom: "x" top: "f" inner_product_param { num_output: 4 } }'
    assert [p.value.name for p in imported(layer).params] == ["f.weight", "f.bias"]


def test_the_imported_net_describes_its_layers_and_parameters():
    net = imported(inner("f", "x"))
    (param,) = net.params
    assert (param.value.name, param.layer, param.index, param.shape) == ("f.weight", "f", 0, (4, 3))
    layer = net.layers[1]
    assert (layer.name, layer.type, str(layer.location)) == ("f", "InnerProduct", "<string>:2:1")
    assert (layer.bottoms, layer.tops) == (("x",), ("f",))
    assert (layer.bottom_shapes, layer.top_shapes) == (((2, 3),), ((2, 4),))
    assert layer.params == (param,)
    assert layer.macs == 2 * 3 * 4


def test_a_blob_nobody_made_is_an_error_with_the_nearest_names():
    assert error(relu("x", "conv1/relu") + relu("conv1/rleu", "y")) == (
        "<string>:3:40: error: layer 'r': bottom 'conv1/rleu' is made by no layer before\n"
        '    3 | layer { name: "r" type: "ReLU" bottom: "conv1/rleu" top: "y" }\n'
        "      |                                        ^\n"
        "help: the nearest blobs are conv1/relu"
    )


@pytest.mark.parametrize(
    "layers",
    [
        relu("x", "a") + relu("x", "a", "s"),
        'layer { name: "s" type: "Split" bottom: "x" top: "a" top: "a" }',
        relu("x", "a")
        + 'layer { name: "s" type: "Eltwise" bottom: "x" bottom: "a" top: "a" }',  # not the first bottom
    ],
)
def test_a_blob_made_twice_is_an_error(layers):
    assert "error: layer 's': top blob 'a' is produced by multiple sources" in error(layers)


def test_an_unknown_layer_type_is_an_error_with_the_nearest_name_or_the_way_to_register_it():
    assert error('layer { name: "c" type: "Convolutoin" bottom: "x" top: "y" }') == (
        "<string>:2:25: error: layer 'c': unknown layer type 'Convolutoin'\n"
        '    2 | layer { name: "c" type: "Convolutoin" bottom: "x" top: "y" }\n'
        "      |                         ^\n"
        "help: did you mean 'Convolution'?"
    )
    assert error('layer { name: "c" type: "Zyx" bottom: "x" top: "y" }').endswith(
        "help: a plug-in can supply it: netc.register_layer('Zyx', rule), see docs/plugins.md"
    )


def test_a_loss_of_a_fork_is_an_error_that_sends_to_the_deploy_prototxt():
    assert error('layer { name: "loss" type: "MultiBoxLoss" bottom: "x" bottom: "x" top: "l" }') == (
        "<string>:2:28: error: layer 'loss': layer type 'MultiBoxLoss' is SSD's loss; "
        "netc reads and prints it, and does not run it\n"
        '    2 | layer { name: "loss" type: "MultiBoxLoss" bottom: "x" bottom: "x" top: "l" }\n'
        "      |                            ^\n"
        "help: use the net's deploy or test prototxt, which does without it"
    )


def test_a_layer_without_a_type_is_an_error():
    assert "error: layer 'c': the layer has no type" in error('layer { name: "c" bottom: "x" top: "y" }')


def test_a_file_without_layers_is_no_net():
    with pytest.raises(NetcError, match="no layers: this is not the definition of a net"):
        import_net(load_net('name: "empty"\n'))


def test_a_shared_parameter_is_one_value_with_an_entry_for_every_layer():
    net = imported(inner("f", "x", 'param { name: "w" }') + inner("g", "x", 'param { name: "w" }'))
    assert [(p.layer, p.value.name, p.owner) for p in net.params] == [
        ("f", "f.weight", 1),
        ("g", "f.weight", 2),
    ]
    assert [v.name for v in net.module.func("main").params] == ["f.weight"]


def test_a_permissively_shared_parameter_may_have_another_shape_of_the_same_size():
    permissive = 'param { name: "w" share_mode: PERMISSIVE }'
    layers = inner("f", "x", 'param { name: "w" }') + inner("g", "x", permissive, "transpose: true")
    assert text(layers) == (
        "func @main(%x: f32[2,3], %f.weight: param f32[4,3]) -> (f = %f, g = %g) {\n"
        "  %f: f32[2,4] = nn.inner_product %x, %f.weight {transpose = false}\n"
        "  %g.weight: f32[3,4] = tensor.reshape %f.weight {shape = [3, 4]}\n"
        "  %g: f32[2,4] = nn.inner_product %x, %g.weight {transpose = true}\n"
        "}"
    )


@pytest.mark.parametrize(
    ("mode", "remedy"),
    [
        ("", "\nhelp: share_mode: PERMISSIVE allows another shape of the same size"),
        ("share_mode: PERMISSIVE", ""),
    ],
)
def test_sharing_between_shapes_that_do_not_fit_is_an_error(mode, remedy):
    layers = inner("f", "x", 'param { name: "w" }') + inner("g", "f", f'param {{ name: "w" {mode} }}')
    message = error(layers)
    assert (
        "error: layer 'g': parameter 'w' is 4x3 in layer 'f', but 4x4 here; they cannot be shared" in message
    )
    assert message.endswith("^" + remedy)


def test_symbols_in_input_shapes_reach_every_shape():
    net = imported(inner("f", "x") + relu("f", "f"), input_shapes={"x": (symbol("N"), 3)})
    assert str(net.blobs["f"].type) == "f32[N,4]"
    assert str(net.layers[1].macs) == "12*N"


def test_a_parameter_whose_size_depends_on_a_symbol_is_an_error():
    assert "error: layer 'f': the size of its weight depends on C, which is not fixed" in error(
        inner("f", "x"), input_shapes={"x": (1, symbol("C"))}
    )


def test_harmless_unknown_fields_are_one_warning_per_layer():
    net = imported(
        'layer { name: "r" type: "ReLU" bottom: "x" top: "y" relu_param { engine: CAFFE frozen: true } '
        "param { lr_policy: 3 } pooling_param { whatever: 2 } }"
    )
    assert net.warnings == (
        "<string>:2:1: warning: layer 'r': ignored unknown fields relu_param.frozen, param.lr_policy, "
        "pooling_param.whatever",
    )


@pytest.mark.parametrize("field", ["relu_param { max: 3 }", "quantization_param { bits: 8 }", "scale: 2"])
def test_an_unknown_field_that_may_change_the_result_is_refused_by_name(field):
    name = "relu_param.max" if field.startswith("relu_param") else field.partition(" ")[0].strip(":")
    message = error(f'layer {{ name: "r" type: "ReLU" bottom: "x" top: "y" {field} }}')
    assert f"error: layer 'r': the field '{name}' is unknown and may change the result" in message
    assert message.endswith("help: remove it if it does not")


def test_unknown_fields_of_the_net_are_warnings():
    net = import_net(load_net("optimize: 1\n" + INPUT))
    assert net.warnings == ("<string>:1:1: warning: ignored unknown field optimize",)


def test_equal_nets_import_equally():
    layers = inner("f", "x") + relu("f", "f")
    assert imported(layers).module == imported(layers).module


def test_a_data_layer_of_a_fork_gives_inputs_whatever_its_settings():
    net = import_net(
        load_net(
            'layer { name: "d" type: "DenseImageData" top: "x" dense_image_data_param { source: "list" } }\n'
            + relu("x", "y")
        ),
        input_shapes={"x": (1, 3)},
    )
    assert [value.name for value in net.inputs] == ["x"]
    assert net.warnings == ("<string>:1:1: warning: layer 'd': ignored unknown field dense_image_data_param",)
