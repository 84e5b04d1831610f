"""What prototxt says, the language says too: nets go there and back unchanged."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc.frontend.dsl.read import parse_dsl
from netc.frontend.dsl.write import to_dsl
from netc.frontend.message import Message, UnknownField
from netc.frontend.net_file import read_net
from netc.frontend.schema import INTEGER_RANGES, FieldType, schema
from netc.frontend.text_format import parse_text
from netc.frontend.text_print import to_text
from netc.frontend.text_values import nearest_float32
from netc.frontend.upgrade import upgrade_net
from netc.ir.diagnostics import NetcError
from netc.ir.location import Source

ROOT = Path(__file__).parents[3]
ZOO = ROOT.parent / "shared" / "zoo"
BROKEN = {"test_net__InitForcePropNet__proto.prototxt", "test_net__InitSkipPropNet__proto.prototxt"}


def there_and_back(net: Message) -> Message:
    return parse_dsl(Source("x.net", to_dsl(net)))


def definitions(*folders: Path) -> list[Path]:
    found = (path for folder in folders for suffix in ("*.prototxt", "*.pt") for path in folder.rglob(suffix))
    return sorted(path for path in found if "solver" not in path.name and path.name not in BROKEN)


def lost(paths: list[Path]) -> list[str]:
    """The files that do not come back as they were."""
    wrong = []
    for path in paths:
        net = read_net(path)
        again = there_and_back(net)
        if again != net or parse_text(Source("x", to_text(again))) != net:
            wrong.append(str(path))
    return wrong


@pytest.mark.skipif(not ZOO.is_dir(), reason="the collection of models is not beside the project")
def test_every_net_of_the_collection_comes_back_unchanged():
    paths = definitions(ZOO)
    assert len(paths) > 250
    assert lost(paths) == []


def test_every_net_of_the_project_comes_back_unchanged():
    paths = definitions(ROOT / "tests", ROOT / "examples")
    assert len(paths) > 50
    assert lost(paths) == []


def test_a_net_is_written_a_line_a_layer():
    net = parse_text(
        Source(
            "x",
            """
            name: "n"
            layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }
            layer { name: "a/b" type: "ReLU" bottom: "data" top: "a/b" }
            layer { name: "relu" type: "ReLU" bottom: "a/b" top: "a/b" }
            layer { name: "s" type: "Slice" bottom: "a/b" top: "s" top: "t" }
            layer { name: "q" type: "Silence" bottom: "s" }
            layer { name: "e" type: "Eltwise" bottom: "s" bottom: "lost" top: "MAX" }
            """,
        )
    )
    assert to_dsl(net) == (
        'net(name="n")\n'
        "data = Input(shape={dim: [1, 3]})\n"
        'a_b = ReLU(data, name="a/b")\n'
        "relu = ReLU!(a_b)\n"
        "s, t = Slice(a_b)\n"
        'Silence(s, name="q")\n'
        'MAX_ = Eltwise(s, "lost", name="e", top="MAX")\n'
    )
    assert there_and_back(net) == net


@pytest.mark.parametrize(
    "text",
    [
        "layer { type: 'ReLU' bottom: 'a' top: 'b' }",
        "layer { name: '' type: '' }",
        "layer { name: 'x' }",
        "layer { name: 'x' type: 'Nobody Knows' bottom: 'a' top: 'a' }",
        "layer { name: 'a' type: 'ReLU' top: 'a' } layer { name: 'a' type: 'ReLU' bottom: 'a' top: 'b' }",
        "layer { name: 'a' type: 'Slice' top: 'x' top: 'x' }",
        "layer { name: 'c' type: 'Convolution' engine: 'CAFFE' convolution_param { engine: CUDNN } }",
        "layer { name: 'd' type: 'Data' resize_param { } transform_param { resize_param { } } data_param { scale: 2 } }",
        "layer { name: 'p' type: 'Python' python_param { param_str: \"{'a': \\\"}\\\"}\\n\" } }",
        "layer { name: 'r' type: 'ReLU' relu_param { } top: 'true' }",
        "layer { name: 'r' type: 'ReLU' in: 1 def { for: x } [a.b]: 2 x: .5 x: 'q' y: 1 x: \"z\" }",
        "layer { name: 'r' type: 'ReLU' relu_param { negative_slope: 1e-07 zz: 1 } }",
        "layer { name: 'pow' type: 'Power' power_param { power: inf scale: -inf shift: -0.0 } }",
        "layer { name: '{x}' type: 'ReLU' bottom: '}}' top: \"it's {\" }",
        "input: 'data' input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4",
        "name: '\\001' nobody: { a: 1 }",
        "layer { name: 'relu' type: 'ReLU' bottom: 'x' top: 'relu' } layer { name: 'x' type: 'ReLU' bottom: 'relu' top: 'relu' }",
    ],
)
def test_odd_nets_come_back_unchanged(text):
    net = parse_text(Source("x", text))
    assert there_and_back(net) == upgrade_net(net) or there_and_back(net) == net


def test_nets_of_older_generations_are_upgraded_first():
    net = parse_text(Source("x", "layers { name: 'a' type: RELU }"))
    with pytest.raises(NetcError, match="older generation"):
        to_dsl(net)
    assert there_and_back(upgrade_net(net)) == upgrade_net(net)


def _values(field: FieldType) -> st.SearchStrategy[object]:
    if field.message is not None:
        return messages(field.message.name)
    if field.enum is not None:
        return st.sampled_from(sorted(field.enum.values))
    if field.kind in INTEGER_RANGES:
        low, high = INTEGER_RANGES[field.kind]
        return st.integers(low, high)
    if field.kind == "float":
        return st.floats(width=32, allow_nan=False).map(nearest_float32)
    text = st.text(st.characters(exclude_categories=("Cs",)), max_size=6) | st.text("{}'\"\\ab/#", max_size=6)
    return {"double": st.floats(allow_nan=False), "bool": st.booleans(), "string": text}[field.kind]


UNKNOWN = st.builds(
    UnknownField,
    st.sampled_from(["foo", "in", "é", "[a.b]"]),
    st.sampled_from(["1", "x", '"{"', "'y'", "0x2", "1e-5", "true"]),
)


@st.composite
def messages(draw: st.DrawFn, name: str) -> Message:
    kind = schema().messages[name]
    made = Message(kind)
    chosen = draw(st.lists(st.sampled_from(sorted(kind.fields)), unique=True, max_size=5))
    for each in {*chosen, *kind.required} - {"layers"}:
        field = kind.fields[each]
        if field.repeated:
            for one in draw(st.lists(_values(field), min_size=1, max_size=3)):
                made.add(each, one)
        else:
            made.set(each, draw(_values(field)))
    made.unknown = draw(st.lists(UNKNOWN, max_size=2)) if draw(st.booleans()) else []
    return made


TYPES = st.sampled_from(
    ["Convolution", "Data", "SoftmaxWithLoss", "Pooling", "Silence", "nobody", "Python", "PriorBox"]
)
BLOBS = st.lists(st.sampled_from(["a", "b", "a/b", "MAX", "in", "1x", "{", ""]), max_size=3)


def test_a_negative_zero_keeps_its_sign():
    net = parse_text(Source("x", 'layer { type: "Power" power_param { shift: -0 scale: 0 } }'))
    assert to_text(there_and_back(net)) == to_text(net)
    assert "shift: -0\n" in to_text(net)


@st.composite
def nets(draw: st.DrawFn) -> Message:
    net = draw(messages("NetParameter"))
    for layer in net.messages("layer"):
        if draw(st.booleans()):
            layer.set("type", draw(TYPES))
        for name in ("bottom", "top"):
            layer.clear(name)
            for blob in draw(BLOBS):
                layer.add(name, blob)
    return net


@settings(max_examples=200, deadline=None)
@given(nets())
def test_any_net_comes_back_unchanged(net):
    net.clear("input")  # legacy inputs become layers
    text = to_dsl(net)
    assert parse_dsl(Source("x.net", text)) == net, text
