"""The plug-in interface: docs/plugins.md is executed, and what it promises is run."""

import re
from pathlib import Path

import numpy as np
import pytest

import netc
from netc.backends.numpy_reference import run_func
from netc.frontend.importer import ImportedNet, import_net
from netc.frontend.layers.registry import layer_type_names
from netc.frontend.net_file import load_net
from netc.plugins import OpError, define_op

DOCS = Path(__file__).parents[1] / "docs" / "plugins.md"
INPUT = 'layer { type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 1 dim: 2 } } }\n'
X = np.array([[[[1.25, -2.5]], [[3.75, 0.5]]]], np.float32)


@pytest.fixture(scope="module")
def layer_text() -> str:
    """Runs the document's Python once; gives the prototxt of its example."""
    text = DOCS.read_text(encoding="utf-8")
    scope: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        exec(block, scope)
    (prototxt,) = re.findall(r"^```\n(layer .*?)^```", text, re.DOTALL | re.MULTILINE)
    return prototxt


def imported(layers: str) -> ImportedNet:
    return import_net(load_net(INPUT + layers))


def test_the_documented_layer_computes_with_its_setting_and_its_parameter(layer_text):
    net = imported(layer_text)
    (param,) = net.params
    outputs = run_func(net.module.func("main"), {"data": X, param.value.name: np.array([10, 20], np.float32)})
    np.testing.assert_allclose(outputs["louder"], 2.5 * X + np.array([10, 20]).reshape(1, 2, 1, 1))
    assert net.warnings == ()


@pytest.mark.usefixtures("layer_text")
def test_the_documented_op_runs_by_its_reference():
    net = imported('layer { name: "r" type: "Round" bottom: "data" top: "r" }')
    np.testing.assert_array_equal(run_func(net.module.func("main"), {"data": X})["r"], np.rint(X))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("gain_param { gain: -1 }", "<string>:2:1: error: layer 'g': gain must be positive, got -1"),
        (
            'gain_param { gain: "much" }',
            "<string>:2:69: error: layer 'g': gain_param.gain: expected a number, got 'much'",
        ),
        (
            "gain_param: 3",
            "<string>:2:56: error: layer 'g': 'gain_param' must be a message: gain_param { … }",
        ),
    ],
)
def test_a_bad_setting_of_a_plug_in_is_a_located_error(layer_text, settings, message):
    with pytest.raises(netc.NetcError) as caught:
        imported(f'layer {{ name: "g" type: "Gain" bottom: "data" top: "g" {settings} }}')
    assert caught.value.render().splitlines()[0] == message


@pytest.mark.parametrize("number", ["inf", "nan", "2.5"])
def test_a_plug_ins_setting_that_is_no_integer_is_a_located_error(number):
    type_name = f"Times{number}"
    netc.register_layer(type_name, lambda ctx: ctx.custom_param("times_param").integer("times", default=1))
    with pytest.raises(
        netc.NetcError, match=f"times_param.times: expected an integer, got {number}"
    ) as caught:
        imported(f'layer {{ type: "{type_name}" bottom: "data" top: "t" times_param {{ times: {number} }} }}')
    assert caught.value.location is not None


def test_an_error_of_a_plug_ins_op_points_at_the_layer():
    def infer(operands, attrs):
        raise OpError("never works")

    define_op(
        "user.never",
        doc="Never works.",
        operands=("x",),
        infer=infer,
        reference=lambda operands, attrs: operands,
    )
    netc.register_layer("Never", lambda ctx: ctx.top(0, ctx.emit("user.never", ctx.bottoms)))
    with pytest.raises(netc.NetcError) as caught:
        imported('layer { name: "n" type: "Never" bottom: "data" top: "n" }')
    assert caught.value.render().splitlines()[0] == "<string>:2:1: error: layer 'n': never works"
    assert caught.value.notes == ("while importing Never as user.never",)


def test_a_rule_that_forgets_a_top_is_an_error_where_the_top_is_read():
    netc.register_layer("Forgetful", lambda ctx: None)
    with pytest.raises(netc.NetcError, match="the rule of layer type 'Forgetful' gave no value for top 'f'"):
        imported(
            'layer { type: "Forgetful" bottom: "data" top: "f" } layer { type: "ReLU" bottom: "f" top: "g" }'
        )


@pytest.mark.parametrize("name", layer_type_names()[:1])
def test_a_name_that_is_taken_is_an_error_of_the_caller(name):
    with pytest.raises(ValueError, match=f"layer type '{name}' is registered twice"):
        netc.register_layer(name, lambda ctx: None)
    with pytest.raises(ValueError, match=r"op 'math\.relu' is declared twice"):
        define_op("math.relu", doc="", operands=(), infer=lambda o, a: (), reference=lambda o, a: ())


def test_the_documented_kernel_computes_what_the_reference_does_and_fuses(layer_text):
    layers = (
        INPUT
        + 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }'
        + 'layer { name: "rounded" type: "RoundFast" bottom: "r" top: "rounded" }'
    )
    module = netc.compile(layers)
    np.testing.assert_array_equal(module.run(data=X)["rounded"], np.rint(np.maximum(X, 0)))
    kernels = [op for op in module.compiled.buffer.func("main").ops if op.name == "buffer.launch"]
    assert [op.name for op in kernels[0].body.ops] == ["math.relu", "user.round_fast"]
    assert len(kernels) == 1


def test_a_plug_ins_settings_are_read_by_the_rules_of_the_text_format():
    seen = {}

    def rule(ctx):
        param = ctx.custom_param("read_param")
        seen.update(
            path=param.text("path", ""), mode=param.text("mode", ""), size=param.integer("size", 0),
            rates=param.numbers("rate"),
        )  # fmt: skip
        ctx.top(0, ctx.bottoms[0])

    netc.register_layer("Read", rule)
    settings = r"""path: "a\tb\\c\"d\344\270\255" 'it''s' mode: FAST size: 0x10 rate: [1.5f, -2, 1e-3]"""
    imported(f'layer {{ type: "Read" bottom: "data" top: "t" read_param {{ {settings} }} }}')
    assert seen == {"path": 'a\tb\\c"d中its', "mode": "FAST", "size": 16, "rates": (1.5, -2.0, 0.001)}


def test_a_plug_ins_string_with_a_wrong_escape_is_a_located_error():
    netc.register_layer("Wrong", lambda ctx: ctx.custom_param("wrong_param").text("s", ""))
    with pytest.raises(netc.NetcError, match=r"wrong_param.s: unknown escape '\\y' in a string") as caught:
        imported(r"""layer { type: "Wrong" bottom: "data" top: "t" wrong_param { s: "x\y" } }""")
    assert caught.value.location is not None
