from pathlib import Path

import pytest

from netc.frontend.message import Message, UnknownField
from netc.frontend.net_file import read_net
from netc.frontend.schema import message_type
from netc.frontend.text_format import parse_text
from netc.frontend.upgrade import upgrade_net, upgrade_solver
from netc.frontend.upgrade_v0 import V1_TYPES, merge_padding, upgrade_v0_net
from netc.frontend.upgrade_v1 import V2_TYPES
from netc.ir.diagnostics import NetcError
from netc.ir.location import Location, Source

DATA = Path(__file__).parent / "data" / "bvlc_caffe_tests"


def parse(text: str, kind: str = "NetParameter") -> Message:
    return parse_text(Source("net.prototxt", text), kind)


def golden(name: str) -> Message:
    return parse((DATA / f"{name}.prototxt").read_text())


# ---- the original's own pairs


@pytest.mark.parametrize("case", ["Simple", "ImageNet"])
def test_v0_nets_become_the_v1_and_v2_nets_of_the_original(case):
    v0 = golden(f"NetUpgradeTest.Test{case}__v0_proto")
    v1 = golden(f"NetUpgradeTest.Test{case}__expected_v1_proto")
    v2 = golden(f"NetUpgradeTest.Test{case}__expected_v2_proto")
    assert upgrade_v0_net(v0) == v1
    assert upgrade_net(v1) == v2
    assert upgrade_net(v0) == v2
    assert upgrade_net(v2) == v2


def test_every_v0_setting_finds_its_place_in_v1():
    expected = golden("NetUpgradeTest.TestAllParams__expected_output_proto")
    assert upgrade_v0_net(golden("NetUpgradeTest.TestAllParams__input_proto")) == expected


@pytest.mark.parametrize("case", ["Simple", "TwoTops", "ImageNet"])
def test_padding_layers_merge_as_in_the_original(case):
    net = golden(f"PaddingLayerUpgradeTest.Test{case}__input_proto")
    assert merge_padding(net) == golden(f"PaddingLayerUpgradeTest.Test{case}__expected_output_proto")


# ---- V0


def test_every_v0_type_is_a_v1_type_and_every_v1_type_a_v2_type():
    names = message_type("V1LayerParameter").enums["LayerType"].values
    assert set(V1_TYPES.values()) <= set(names)
    assert set(V2_TYPES) == set(names)


def test_an_upgraded_field_keeps_its_location():
    net = upgrade_net(
        parse("input: 'x'\nlayers {\n layer { name: 'c' type: 'conv'\n  kernelsize: 3 }\n bottom: 'x'\n}")
    )
    layer = net.messages("layer")[1]
    assert layer.location == Location("net.prototxt", 2, 1)
    assert layer.where("name") == Location("net.prototxt", 3, 16)
    assert layer.message("convolution_param").where("kernel_size") == Location("net.prototxt", 4, 15)


def test_a_v0_setting_its_layer_does_not_have_is_kept_as_unknown():
    net = upgrade_net(parse("layers { layer { name: 'r' type: 'relu' num_output: 3 foo: 1 } }"))
    assert net.messages("layer")[0].unknown == [UnknownField("foo", "1"), UnknownField("num_output", "3")]


def test_an_unknown_v0_type_is_answered_with_the_nearest():
    with pytest.raises(NetcError) as caught:
        upgrade_net(parse("layers { layer { name: 'c' type: 'convv' } }"))
    assert caught.value.location == Location("net.prototxt", 1, 34)
    assert caught.value.layer == "c"
    assert caught.value.remedy == "did you mean 'conv'?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layers { layer { name: 'c' type: 'conv' } bottom: 'y' }", "unknown blob 'y'"),
        (
            "input: 'x' layers { layer { name: 'p' type: 'padding' pad: 1 } bottom: 'x' top: 'p' }"
            "layers { layer { name: 'r' type: 'relu' } bottom: 'p' top: 'r' }",
            "a padding layer can only feed conv or pool, not 'relu'",
        ),
        (
            "input: 'x' layers { layer { name: 'p' type: 'padding' pad: 1 } bottom: 'x' top: 'p' top: 'q' }"
            "layers { layer { name: 'c' type: 'conv' } bottom: 'p' top: 'r' }",
            "a padding layer takes one bottom and one top",
        ),
    ],
)
def test_padding_that_cannot_be_merged_is_an_error(text, message):
    with pytest.raises(NetcError) as caught:
        upgrade_net(parse(text))
    assert caught.value.message == message
    assert caught.value.location is not None


# ---- V1


def test_v1_parallel_lists_become_params():
    net = upgrade_net(
        parse(
            "layers { name: 'c' type: CONVOLUTION blobs_lr: 1 blobs_lr: 2 weight_decay: 0 param: 'w' "
            "blob_share_mode: STRICT blob_share_mode: PERMISSIVE loss_weight: 3 foo: 1 }"
        )
    )
    assert net == parse(
        "layer { name: 'c' type: 'Convolution' param { lr_mult: 1 decay_mult: 0 name: 'w' share_mode: STRICT } "
        "param { lr_mult: 2 share_mode: PERMISSIVE } loss_weight: 3 foo: 1 }"
    )


@pytest.mark.parametrize(
    ("kind", "param"),
    [("DATA", "data_param"), ("IMAGE_DATA", "image_data_param"), ("WINDOW_DATA", "window_data_param")],
)
def test_image_settings_of_v1_data_layers_move_to_transform_param(kind, param):
    text = f"layers {{ type: {kind} {param} {{ source: 's' scale: 0.5 mean_file: 'm' crop_size: 3 mirror: true }} }}"
    layer = upgrade_net(parse(text)).messages("layer")[0]
    transform = parse("scale: 0.5 mean_file: 'm' crop_size: 3 mirror: true", "TransformationParameter")
    assert layer.message("transform_param") == transform
    assert [name for name, _ in layer.message(param).fields()] == ["source"]


def test_a_net_with_both_generations_of_layers_is_refused():
    with pytest.raises(NetcError) as caught:
        upgrade_net(parse("layer { name: 'a' }\nlayers { name: 'b' }"))
    assert caught.value.location == Location("net.prototxt", 2, 1)


# ---- inputs


def test_input_dims_by_fours_become_an_input_layer():
    net = upgrade_net(
        parse("input: 'a' input_dim: 1 input: 'b' input_dim: [2, 3, 4, 5, 6, 7, 8] layer { name: 'l' }")
    )
    assert net == parse(
        "layer { name: 'input' type: 'Input' top: 'a' top: 'b' "
        "input_param { shape { dim: [1, 2, 3, 4] } shape { dim: [5, 6, 7, 8] } } } layer { name: 'l' }"
    )


def test_input_shapes_become_an_input_layer_with_their_locations():
    net = upgrade_net(parse("input: 'a'\ninput_shape { dim: 1 dim: 10 }\nlayers { name: 'l' type: RELU }"))
    layer = net.messages("layer")[0]
    assert layer == parse(
        "name: 'input' type: 'Input' top: 'a' input_param { shape { dim: [1, 10] } }", "LayerParameter"
    )
    assert layer.location == Location("net.prototxt", 1, 8)
    assert layer.message("input_param").messages("shape")[0].where("dim", 1) == Location(
        "net.prototxt", 2, 27
    )


def test_an_input_without_any_shape_becomes_a_layer_that_waits_for_one():
    net = upgrade_net(parse("input: 'a' input: 'b'"))
    assert net == parse("layer { name: 'input' type: 'Input' top: 'a' top: 'b' }")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("input: 'a' input_dim: 1 input_dim: 2", "1 'input' need 4 'input_dim' (4 each), got 2"),
        (
            "input: 'a' input: 'b' input_shape { dim: 1 }",
            "2 'input' and 1 'input_shape': each input needs one",
        ),
    ],
)
def test_inputs_and_shapes_must_agree_in_number(text, message):
    with pytest.raises(NetcError) as caught:
        upgrade_net(parse(text))
    assert caught.value.message == message


# ---- batch norms and solvers


def test_three_params_of_a_batch_norm_are_frozen_and_other_numbers_are_not():
    net = upgrade_net(
        parse(
            "layer { type: 'BatchNorm' param { lr_mult: 1 name: 'm' } param {} param {} } layer { type: 'BatchNorm' param {} }"
        )
    )
    frozen = "param { lr_mult: 0 decay_mult: 0 }"
    assert net == parse(
        f"layer {{ type: 'BatchNorm' param {{ lr_mult: 0 decay_mult: 0 name: 'm' }} {frozen} {frozen} }}"
        "layer { type: 'BatchNorm' param {} }"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SGD", "SGD"),
        ("NESTEROV", "Nesterov"),
        ("2", "AdaGrad"),
        ("RMSPROP", "RMSProp"),
        ("ADADELTA", "AdaDelta"),
        ("ADAM", "Adam"),
    ],
)
def test_a_solver_type_becomes_a_type(old, new):
    assert upgrade_solver(parse(f"solver_type: {old}", "SolverParameter")) == parse(
        f"type: '{new}'", "SolverParameter"
    )


def test_a_solver_with_both_types_is_refused():
    with pytest.raises(NetcError, match="has both"):
        upgrade_solver(parse("solver_type: SGD type: 'SGD'", "SolverParameter"))


def test_nets_inside_a_solver_are_upgraded():
    solver = upgrade_solver(
        parse("train_net_param { layers { type: RELU } } test_net_param { input: 'x' }", "SolverParameter")
    )
    assert solver.message("train_net_param").messages("layer")[0].get("type") == "ReLU"
    assert solver.messages("test_net_param")[0].messages("layer")[0].get("type") == "Input"


def test_upgrading_leaves_its_argument_as_it_is():
    net = golden("NetUpgradeTest.TestImageNet__v0_proto")
    upgrade_net(net)
    assert net == golden("NetUpgradeTest.TestImageNet__v0_proto")


def test_layers_of_forks_in_the_second_generation_become_their_own_types():
    net = read_net(
        'layers { name: "b" type: BN bottom: "x" top: "y" bn_param { scale_filler { value: 1 } } }\n'
        'layers { name: "u" type: UNPOOLING bottom: "y" bottom: "m" top: "z" unpooling_param { unpool_size: 4 } }\n'
        'layers { name: "d" type: WINDOW_SEG_DATA top: "x" }'
    )
    assert [layer.text("type") for layer in net.messages("layer")] == ["BN", "Unpooling", "WindowSegData"]
    assert net.messages("layer")[1].message("unpooling_param").integer("unpool_size") == 4
