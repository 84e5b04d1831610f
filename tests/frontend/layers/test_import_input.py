"""Input, DummyData, and data layers that become inputs."""

import pytest

from netc.frontend.importer import import_net
from netc.frontend.net_file import load_net
from netc.ir.diagnostics import NetcError
from netc.ir.dim import symbol
from netc.ir.printer import print_func

USE = 'layer { name: "r" type: "ReLU" bottom: "a" top: "b" }'


def signature(text: str, **shapes: tuple[object, ...]) -> list[str]:
    func = import_net(load_net(text + "\n" + USE), input_shapes=shapes).module.func("main")
    return [f"{role} {arg.name}: {arg.type}" for arg, role in zip(func.args, func.roles, strict=True)]


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        ('layer { type: "Input" top: "a" input_param { shape { dim: 1 dim: 2 } } }', ["input a: f32[1,2]"]),
        (
            'layer { type: "Input" top: "a" top: "c" input_param { shape { dim: 1 } } }',
            ["input a: f32[1]", "input c: f32[1]"],
        ),
        (
            'layer { type: "Input" top: "a" top: "c" input_param { shape { dim: 1 } shape { dim: 2 } } }',
            ["input a: f32[1]", "input c: f32[2]"],
        ),
        ('input: "a" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4', ["input a: f32[1,2,3,4]"]),
        ('input: "a" input_shape { dim: 5 }', ["input a: f32[5]"]),
        (
            'layer { type: "MemoryData" top: "a" top: "label" '
            "memory_data_param { batch_size: 2 channels: 3 height: 4 width: 5 } }",
            ["input a: f32[2,3,4,5]", "input label: f32[2]"],
        ),
    ],
)
def test_inputs_have_the_shapes_that_the_net_states(text, inputs):
    assert signature(text) == inputs


def test_the_callers_shape_replaces_the_nets():
    text = 'input: "a" input_dim: 1 input_dim: 3 input_dim: 1 input_dim: 1'
    assert signature(text, a=(symbol("N"), 3, symbol("H"), 20)) == ["input a: f32[N,3,H,20]"]


def test_a_data_layer_becomes_inputs_whose_shapes_the_caller_states():
    text = 'layer { name: "d" type: "Data" top: "a" top: "label" data_param { source: "db" batch_size: 9 } }'
    assert signature(text, a=(2, 3)) == ["input a: f32[2,3]"]
    assert signature(text, a=(2, 3), label=(2,)) == ["input a: f32[2,3]", "input label: f32[2]"]


def test_a_data_layer_without_a_shape_names_the_ways_out():
    with pytest.raises(NetcError) as caught:
        signature('layer { name: "d" type: "Data" top: "a" }')
    assert caught.value.render() == (
        "<string>:1:37: error: layer 'd': the shape of input 'a' is not stated\n"
        '    1 | layer { name: "d" type: "Data" top: "a" }\n'
        "      |                                     ^\n"
        "help: use the net's deploy prototxt, or state it: --input-shape a=N,3,224,224 (a name stands for any size)"
    )


def test_an_input_without_a_shape_is_an_error():
    with pytest.raises(NetcError, match="the shape of input 'a' is not stated"):
        signature('input: "a"')


def test_a_shape_for_no_input_is_an_error():
    with pytest.raises(
        NetcError, match="a shape is given for 'z', which is no input of the net; its inputs are a"
    ):
        signature('input: "a" input_shape { dim: 5 }', z=(1,))


def test_dummy_data_is_a_constant_or_drawn_in_every_run():
    text = (
        'layer { name: "d" type: "DummyData" top: "a" top: "c" dummy_data_param { '
        'shape { dim: 2 } shape { dim: 3 } data_filler { value: 4 } data_filler { type: "uniform" max: 2 } } }'
    )
    net = import_net(load_net(text))
    assert print_func(net.module.func("main"), locations=False) == (
        "func @main(%random.state: i64[2]) -> (a = %a, c = %c.drawn.1, random.state.next = %random.state.next) {\n"
        "  %a: f32[2] = tensor.fill {tensor = <f32[2]>, value = 4.0}\n"
        "  %c.drawn: f32[3] = random.uniform %random.state {tensor = <f32[3]>, stream = 0}\n"
        "  %c.drawn.1: f32[3] = math.affine %c.drawn {scale = 2.0, shift = 0.0}\n"
        "  %random.state.next: i64[2] = random.next %random.state\n"
        "}"
    )
    assert net.params == ()


def test_dummy_data_whose_filler_draws_nothing_is_a_parameter_that_no_file_fills():
    text = (
        'layer { name: "d" type: "DummyData" top: "a" dummy_data_param { '
        'num: 1 channels: 1 height: 3 width: 3 data_filler { type: "bilinear" } } }'
    )
    net = import_net(load_net(text))
    assert [p.learnable for p in net.params] == [False]


def test_dummy_data_may_state_legacy_extents():
    text = 'layer { type: "DummyData" top: "a" dummy_data_param { num: 1 channels: 2 height: 3 width: 4 } }'
    assert import_net(load_net(text)).blobs["a"].type.static_shape == (1, 2, 3, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'layer { name: "l" type: "Input" top: "a" top: "b" top: "c" '
            "input_param { @shape { dim: 1 } shape { dim: 2 } } }",
            "expected no shape, one or 3, got 2",
        ),
        (
            'layer { name: "l" type: "Input" top: "a" input_param { shape { dim: 1 dim: @0 } } }',
            "every extent must be at least 1, got 0",
        ),
        (
            'layer { name: "l" type: "Input" top: "a" input_param { shape { dim: @-3 } } }',
            "every extent must be at least 1, got -3",
        ),
        (
            '@layer { name: "l" type: "Input" top: "a" input_param { shape { dim: 65536 dim: 65536 } } }',
            "input 'a', 65536x65536, would have 4294967296 elements; Caffe's limit is 2147483647",
        ),
        (
            f'@layer {{ name: "l" type: "Input" top: "a" input_param {{ shape {{ {"dim: 1 " * 33} }} }} }}',
            "input 'a' has 33 axes; at most 32 are possible",
        ),
        (
            'layer { name: "l" type: "DummyData" top: "a" @dummy_data_param { num: 2 channels: 3 height: 4 } }',
            "num, channels, height and width must be given equally often",
        ),
        (
            'layer { name: "l" type: "DummyData" top: "a" @dummy_data_param { } }',
            "expected one of shape, got 0",
        ),
        (
            'layer { name: "l" type: "DummyData" top: "a" dummy_data_param '
            '{ shape { } @data_filler { type: "gaussian" sparse: 1 } } }',
            "sparse needs a shape with axes",
        ),
        (
            '@layer { name: "l" type: "DummyData" top: "a" dummy_data_param '
            "{ num: 2 channels: 3 height: 4 width: 0 } }",
            "blob 'a' would have the shape 2x3x4x0; every extent must be at least 1",
        ),
    ],
)
def test_a_bad_source_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text) == message
