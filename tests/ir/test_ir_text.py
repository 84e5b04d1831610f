"""IR text: what is printed reads back as the same module, and bad text is refused with its place."""

from __future__ import annotations

import pytest
from generated_modules import modules
from hypothesis import given, settings
from hypothesis import strategies as st

from netc.ir.core import Func, Module, Op, Value
from netc.ir.diagnostics import NetcError
from netc.ir.dim import symbol
from netc.ir.layout import Blocked
from netc.ir.location import Location
from netc.ir.ops.conv import ConvAttrs
from netc.ir.ops.pool import PoolAttrs
from netc.ir.ops.shape import ReshapeAttrs
from netc.ir.parser import parse_module
from netc.ir.printer import print_module, print_op
from netc.ir.types import TensorType
from netc.ir.verify import verify

TENSOR = """\
module net tensor {
func @main(%data: f32[N,3,8,8], %w: param f32[16,3,3,3]{0:16}) -> (prob = %prob) {
  %conv1: f32[N,16,6,6]{1:16} = nn.conv %data, %w {stride = [1, 1], pad = [[0, 0], [0, 0]], dilation = [1, 1], group = 1} @"lenet.prototxt":3:1
  %f: f32[N,16,6,6]{1:16} = fusion %conv1 {anchor = map} (%x: f32[N,16,6,6]{1:16}) {
    %r: f32[N,16,6,6]{1:16} = math.relu %x {slope = 0.1}
    yield %r
  }
  %flat: f32[N,16,6,6] = layout.convert %f {axis = none, size = 1}
  %rows: f32[N,576] = tensor.reshape %flat {shape = [<N>, 576]}
  %zero: f32[1,576] = tensor.fill {tensor = <f32[1,576]>, value = 0.0}
  %sum: f32[N,576] = math.add %rows, %zero
  %prob: f32[N,576] = nn.softmax %sum {axis = 1}
}
}
"""
BUFFER = """\
module net buffer {
func @main(%data: buffer f32[N,16], %out: output buffer f32[N,4]) -> () {
  %arena: buffer f32[N,16] = buffer.alloc {tensor = <f32[N,16]>, offset = 0}
  %part: buffer f32[N,4] strides(16,1) = buffer.view %arena {start = [0, 4], shape = [<N>, 4]}
  buffer.launch %data, %arena {writes = 1, kernel = none, schedule = none} (%x: f32[N,16]) {
    %y: f32[N,16] = math.tanh %x
    yield %y
  }
  buffer.launch %part, %out {writes = 1, kernel = none, schedule = none} (%x.1: f32[N,4]) {
    yield %x.1
  }
}
}
"""
LOOP = """\
module kernel loop {
func @kernel(%x: ptr<f32>, %n: i64) -> () {
  %zero: i64 = loop.const {value = 0, type = i64}
  %one: i64 = loop.const {value = 1, type = i64}
  loop.for %zero, %n, %one (%i: i64) {
    %v: f32 = loop.load %x, %i {lanes = 0}
    loop.store %v, %x, %i
    yield
  }
}
}
"""


def outcome(action, argument):
    """What the action returns, or the error it raises."""
    try:
        return action(argument)
    except NetcError as error:
        return error


@pytest.mark.parametrize("text", [TENSOR, BUFFER, LOOP], ids=["tensor", "buffer", "loop"])
def test_valid_text_is_verified_and_printed_as_it_was(text):
    module = parse_module(text)
    verify(module)
    assert print_module(module) == text


@given(modules())
def test_what_is_printed_reads_back_as_the_same_module(module):
    text = print_module(module)
    again = parse_module(text)
    assert again == module
    assert print_module(again) == text


@given(modules())
def test_a_module_of_unfitting_ops_is_refused_with_a_netc_error(module):
    refused = outcome(verify, module)
    assert refused is None or refused.render()


def test_locations_can_be_left_out():
    assert "lenet" not in print_module(parse_module(TENSOR), locations=False)


def test_an_op_is_printed_with_its_attributes_and_place():
    x = Value("a b", TensorType("f32", (symbol("N"), 3, 8, 8), Blocked(1, 4)))
    y = Value("pool1", TensorType("f32", (symbol("N"), 3, 4, 4), Blocked(1, 4)))
    attrs = PoolAttrs("max", (2, 2), (2, 2), ((0, 0), (0, 0)))
    op = Op("nn.pool", (x,), attrs, (y,), location=Location("n.prototxt", 3, 1))
    assert print_op(op) == (
        '%pool1: f32[N,3,4,4]{1:4} = nn.pool %"a b" {kind = max, kernel = [2, 2], stride = [2, 2], '
        'pad = [[0, 0], [0, 0]], round = ceil, count_padding = true} @"n.prototxt":3:1'
    )


def test_an_attribute_of_an_unprintable_type_is_a_bug_of_the_declaration():
    op = Op("nn.conv", (), ConvAttrs((1,), (), (1,), object()), ())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="object"):
        print_op(op)


def test_whole_numbers_are_read_as_floats_where_the_attribute_is_one():
    text = print_module(parse_module(TENSOR.replace("slope = 0.1", "slope = 1")))
    assert "slope = 1.0" in text


def test_extents_of_one_symbol_keep_their_angle_brackets():
    attrs = ReshapeAttrs((symbol("N") * 2, 3))
    value = Value("x", TensorType("f32", (symbol("N"), 6)))
    op = Op("tensor.reshape", (value,), attrs, (Value("y", TensorType("f32", attrs.shape)),))
    module = Module("m", "tensor", (Func("f", (value,), ("input",), (op,), op.results, ("y",)),))
    assert "shape = [<2*N>, 3]" in print_module(module)
    assert parse_module(print_module(module)) == module


@pytest.mark.parametrize(
    ("old", "new", "line", "at", "message"),
    [
        ("module", "modul", 1, "modul net", "expected 'module', got 'modul'"),
        ("net tensor", "net middle", 1, "middle", "expected one of tensor, buffer, loop, got 'middle'"),
        ("tensor {", "tensor", 2, "func", "expected '{', got 'func'"),
        ("{axis = 1}\n}\n}\n", "{axis = 1}", 12, "", "got 'the end of the text'"),
        ("nn.conv", "nn.convolve", 3, "nn.convolve", "unknown op 'nn.convolve'"),
        ("%data, %w {", "%data, %v {", 3, "%v {", "%v is used before it is defined"),
        ("%flat:", "%w:", 8, "%w:", "%w is defined twice"),
        ("%r: f32", "%w: f32", 5, "%w:", "%w is defined twice"),
        ("= %prob)", "= %nobody)", 2, "%nobody", "returns %nobody, which nobody defines"),
        ("slope = 0.1", "slop = 0.1", 5, "slop", "math.relu has no attribute 'slop'; it has slope"),
        ("slope = 0.1", "slope = 1, slope = 2", 5, "slope = 2", "the attribute 'slope' is given twice"),
        ("slope = 0.1", "slope = steep", 5, "steep", "attribute 'slope' of math.relu: expected a number"),
        ("axis = 1", "axis = 1.5", 12, "1.5", "attribute 'axis' of nn.softmax: expected a whole number"),
        ("axis = 1", "axis = true", 12, "true", "attribute 'axis' of nn.softmax: expected a whole number"),
        ("axis = 1", "axis = 1 size", 12, "size", "expected ','"),
        (" {axis = 1}", "", 12, "nn.softmax", "nn.softmax needs the attribute 'axis'"),
        ("axis = none", "axis = <N>", 8, "<N>", "expected a whole number or none"),
        (
            "[[0, 0], [0, 0]]",
            "[0, 0]",
            3,
            "[0, 0]",
            "expected a list (each a list of 2 (each a whole number))",
        ),
        ("[<N>, 576]", "[<N+>, 576]", 9, "<N+>", "expected a number or a name at column 3"),
        ("<f32[1,576]>", "<f32[1,0]>", 10, "<f32[1,0]>", "extents must be >= 1, got f32[1,0]"),
        (": f32[N,576] = tensor", ": f33[N,576] = tensor", 9, "f33", "'f33[N,576]' is not a type"),
        ("f32[N,3,8,8]", "f32[N,3,0,8]", 2, "f32[N,3,0,8]", "extents must be >= 1"),
        ("{0:16}", "{4:16}", 2, "f32[16", "a layout blocks one of the axes by 2 or more"),
        ("{0:16}", "{0:1}", 2, "f32[16", "a layout blocks one of the axes by 2 or more"),
        ("{0:16}", "{0:", 2, ") ->", "expected the size of a block, got ')'"),
        ('prototxt":3:1', 'prototxt":3.5:1', 3, "3.5", "expected a whole number, got '3.5'"),
        ('prototxt":3:1', f'prototxt":{"9" * 30}:1', 3, "999", "more than 18 digits"),
        ('"lenet.prototxt"', '"\\q"', 3, '"\\q"', "bad string"),
        ("slope = 0.1", "slope = " + "[" * 70, 5, "[[[", "nesting deeper than 60"),
        ("-> (prob", "→ (prob", 2, "→", "unexpected character '→'"),
    ],
)
def test_bad_text_is_refused_where_it_is_bad(old, new, line, at, message):
    assert old in TENSOR
    text = TENSOR.replace(old, new, 1)
    with pytest.raises(NetcError) as caught:
        parse_module(text, "net.ir")
    error = caught.value
    assert message in error.message
    assert error.location is not None
    assert (error.location.file, error.location.line) == ("net.ir", line)
    assert text.splitlines()[line - 1][error.location.column - 1 :].startswith(at)
    assert error.render().startswith(f"net.ir:{line}:{error.location.column}: error: ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("buffer f32[N,16], %out", "buffer buffer f32[N,16], %out", "a buffer holds a tensor"),
        ("buffer f32[N,16], %out", "buffer i64, %out", "a buffer holds a tensor, not i64"),
        ("strides(16,1)", "strides(16)", "2 strides expected"),
        ("strides(16,1)", "strides(16,1", "expected ')'"),
        ("strides(16,1)", "strides(16,)", "expected a number or a name"),
    ],
)
def test_bad_buffer_types_are_refused(old, new, message):
    assert old in BUFFER
    with pytest.raises(NetcError) as caught:
        parse_module(BUFFER.replace(old, new, 1))
    assert message in caught.value.message
    assert caught.value.location is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "module",
        "module a tensor { func @",
        "module a tensor { func @f(%x: f32[",
        "module a tensor { func @f(%x: buffer " + "buffer " * 5000,
        "module a tensor { func @f() -> () { nn.lrn {size = <" + "(" * 5000 + ">} } }",
        "module a tensor { func @f() -> () {" + " fusion {anchor = x} () {" * 5000,
        "module a tensor { func @f() -> () { nn.softmax {axis = " + "9" * 5000 + "} } }",
        "module a tensor { func @f(%x: f32[3]{1:" + "9" * 5000 + "}) -> () { } }",
        "module a tensor { func @f(%x: f32x" + "9" * 5000 + ") -> () { } }",
        "module a tensor { } trailing",
        "\x00",
        '"',
        "%" * 100,
        "<" * 100,
        "<" + "a" * 300_000,  # in no more than linear time
    ],
)
def test_hopeless_text_is_refused_with_a_place(text):
    with pytest.raises(NetcError) as caught:
        parse_module(text)
    assert caught.value.location is not None


def edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    for at, length, new in edits:
        at %= len(text) + 1
        text = text[:at] + new + text[at + length :]
    return text


WORDS = ["99", "1.5", "none", "true", "inf", "f32", "[N]", "{1:16}", "%x", "%data", "->", "yield", "fusion"]
PIECES = st.sampled_from([*'{}()[]<>,:=%@-0"', *WORDS]) | st.text(max_size=3)


@settings(max_examples=400)
@given(
    st.sampled_from([TENSOR, BUFFER, LOOP]),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 12), PIECES), min_size=1, max_size=4),
)
def test_edited_text_gives_a_module_or_a_located_error(text, edits):
    module = outcome(parse_module, edited(text, edits))
    if isinstance(module, NetcError):
        assert module.location is not None
        assert module.render()
        return
    assert parse_module(print_module(module)) == module
    refused = outcome(verify, module)
    assert refused is None or refused.render()
