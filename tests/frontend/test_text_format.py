import math
import time

import pytest

from netc.frontend.message import Message, UnknownField, collect_unknown
from netc.frontend.text_format import parse_text
from netc.ir.diagnostics import NetcError
from netc.ir.location import Location, Source


def parse(text: str, kind: str = "NetParameter") -> Message:
    return parse_text(Source("net.prototxt", text), kind)


def layer(text: str) -> Message:
    return parse("layer {\n" + text + "\n}").messages("layer")[0]


def error(text: str, kind: str = "NetParameter") -> NetcError:
    with pytest.raises(NetcError) as caught:
        parse(text, kind)
    assert caught.value.location is not None
    return caught.value


def place(caught: NetcError) -> tuple[int, int]:
    assert caught.location is not None
    return caught.location.line, caught.location.column


# ---- what is legal


@pytest.mark.parametrize(
    "text",
    [
        'name: "n" input: "a" input: "b" input_dim: 3 input_dim: 4',
        "name: 'n'; input: 'a', input: 'b'; input_dim: [3, 4];",
        "name:'n'input:['a','b']input_dim:[0x3,04]",
        '# c\nname # c\n : # c\n "n" # c\ninput: "a"\tinput:\n"b" input_dim: 3,input_dim:4#',
        'name: "" "n" input: [ "a" "", \'\' "b" ]\r\ninput_dim: 3\r\ninput_dim: 4\r\n',
        'name: "\\156" input: "\\x61" input: "\\u0062" input_dim: 3 input_dim: [4]',
    ],
)
def test_all_spellings_of_fields_mean_the_same(text):
    net = parse(text)
    assert net.get("name") == "n"
    assert net.list("input") == ("a", "b")
    assert net.list("input_dim") == (3, 4)
    assert net.unknown == []


@pytest.mark.parametrize(
    "text",
    [
        "state { level: 1 } state2 {}",
        "state: { level: 1 } state2: {}",
        "state < level: 1 > state2: <>",
        "state\n{\nlevel: 1\n}\nstate2\n:\n<\n>",
        "state : { level : 1 ; } ; state2 {} ,",
        "state{level:1}state2<>",
    ],
)
def test_all_spellings_of_messages_mean_the_same(text):
    net = parse(text)
    assert net.message("state").get("level") == 1
    assert net.unknown == [UnknownField("state2", ())]


@pytest.mark.parametrize("colon", [":", ""])
def test_a_list_may_hold_messages(colon):
    net = parse(f"layer{colon} [{{ name: 'a' }}, < name: 'b' >] input: []")
    assert [each.get("name") for each in net.messages("layer")] == ["a", "b"]
    assert not net.has("input")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.", 1.0), (".01", 0.01), ("1e-05", 1e-05), ("1E+3", 1000.0), ("-2.5f", -2.5), ("3", 3.0), ("- 4", -4.0),
        ("inf", math.inf), ("-inf", -math.inf), ("Infinity", math.inf), ("1.5F", 1.5), ("0x10", 16.0), ("1e999", math.inf),
        ("1e-99", 0.0), ("0.1", 0.1), ("0.100000001490116", 0.1), ("16777217", 16777216.0),
    ],
)  # fmt: skip
def test_floats_are_read_in_every_spelling(text, value):
    assert layer(f"power_param {{ power: {text} }}").message("power_param").get("power") == value


def test_nan_is_a_float():
    assert math.isnan(layer("power_param { power: -nan }").message("power_param").number("power"))


@pytest.mark.parametrize(("text", "value"), [("true", True), ("True", True), ("t", True), ("1", True)])
def test_booleans_are_read_in_every_spelling(text, value):
    net = parse(f"force_backward: {text} debug_info: {'0' if text == '1' else text.replace('rue', 'rue')}")
    assert net.get("force_backward") is value
    for false in ("false", "False", "f", "0"):
        assert parse(f"force_backward: {false}").get("force_backward") is False


def test_an_enum_is_read_by_name_or_number_and_is_its_name():
    assert layer("pooling_param { pool: AVE }").message("pooling_param").get("pool") == "AVE"
    assert layer("pooling_param { pool: 1 }").message("pooling_param").get("pool") == "AVE"


def test_escapes_give_the_characters_they_name():
    text = r"""name: "\n\r\t\a\b\f\v\\\'\"\?\101\x42\u00e9\U0001F600" "'" '"' """
    assert parse(text).get("name") == "\n\r\t\a\b\f\v\\'\"?AB\u00e9\U0001f600'\""


def test_a_string_keeps_what_it_quotes():
    assert parse('name: "it\'s # no { comment"').get("name") == "it's # no { comment"
    assert parse("name: 'a\tb é'").get("name") == "a\tb é"


def test_a_field_that_is_not_set_has_the_default_of_the_schema():
    made = layer("name: 'x'")
    assert not made.has("pooling_param")
    pooling = made.message("pooling_param")
    assert (pooling.get("stride"), pooling.get("pool"), pooling.get("global_pooling")) == (1, "MAX", False)
    assert pooling.location == made.location
    assert made.list("bottom") == ()


def test_an_empty_text_is_an_empty_message():
    assert list(parse(" # nothing\n").fields()) == []


# ---- locations


def test_every_value_knows_its_line_and_column():
    net = parse("name: 'n'\nlayer {\n  bottom: 'a'  bottom:\n\t'b'\n  convolution_param { pad: [1, 2] }\n}")
    made = net.messages("layer")[0]
    assert made.location == Location("net.prototxt", 2, 1)
    assert net.where("name") == Location("net.prototxt", 1, 7)
    assert made.where("bottom") == Location("net.prototxt", 3, 11)
    assert made.where("bottom", 1) == Location("net.prototxt", 4, 2)
    convolution = made.message("convolution_param")
    assert convolution.location == Location("net.prototxt", 5, 3)
    assert convolution.where("pad", 1) == Location("net.prototxt", 5, 32)
    assert convolution.where("stride") == convolution.location


# ---- fields the schema lacks


def test_unknown_fields_are_kept_with_their_places_and_stop_nothing():
    net = parse(
        "layer { name: 'x' pooling_param { pad: 1 ceiling: true } new_param { a: 1 b { c: [1, 2] } } }"
    )
    assert [(path, str(where)) for path, where in collect_unknown(net)] == [
        ("layer[0].new_param", "net.prototxt:1:58"),
        ("layer[0].pooling_param.ceiling", "net.prototxt:1:42"),
    ]
    inner = (UnknownField("c", "1"), UnknownField("c", "2"))
    assert net.messages("layer")[0].unknown == [
        UnknownField("new_param", (UnknownField("a", "1"), UnknownField("b", inner)))
    ]
    assert net.messages("layer")[0].message("pooling_param").get("pad") == 1


def test_an_extension_is_an_unknown_field():
    net = parse("[some.ext.field]: 3 [type.googleapis.com/a.B] { x: 1 }")
    assert [each.name for each in net.unknown] == ["[some.ext.field]", "[type.googleapis.com/a.B]"]


# ---- what is wrong


def test_a_missing_colon_is_reported_with_a_caret():
    assert str(error('layer {\n  name "conv1"\n}')) == (
        "net.prototxt:2:8: error: expected ':' or '{' after 'name', got '\"conv1\"'\n"
        '    2 |   name "conv1"\n'
        "      |        ^^^^^^^"
    )


def test_a_missing_value_is_reported_behind_the_colon():
    caught = error("layer {\n  convolution_param {\n    pad:\n    stride: 1\n  }\n}")
    assert (caught.message, place(caught)) == ("expected a value for 'pad' after ':'", (3, 8))


def test_a_brace_that_is_never_closed_is_reported_where_it_opens():
    caught = error("layer {\n  name: 'x'\n\nlayer {\n  name: 'y'\n}\n")
    assert (caught.message, place(caught)) == ("the text ends before the '}' of this", (1, 1))


@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        ("layer { } }", "this '}' closes nothing", (1, 11)),
        ("layer { name: 'x' >", "expected '}' for the '{' of line 1, got '>'", (1, 19)),
        ("name: 'x\ninput: 'y'", "this string has no closing quote on its line", (1, 7)),
        ("name = 'x'", "unexpected character '='", (1, 6)),
        ("name: 'a\0b'", "a NUL character in a string", (1, 9)),
        ("name: 'a' \0", "unexpected character '\\x00'", (1, 11)),
        ("name: 'a\\qb'", "unknown escape '\\q' in a string", (1, 7)),
        ("name: '\\xff'", "the string of 'name' is not UTF-8 after its escapes", (1, 7)),
        ("name: '\\ud800'", "\\ud800 is no character", (1, 7)),
        ("name: x", "'name' takes a quoted string, got x", (1, 7)),
        ("name: 3", "'name' takes a quoted string, got 3", (1, 7)),
        ("name: { }", "'name' takes one value, got a message", (1, 1)),
        ("name: ['a']", "'name' takes one value, got a list", (1, 7)),
        ("input: ['a' 'b', 3]", "'input' takes a quoted string, got 3", (1, 18)),
        ("input: ['a'; 'b']", "expected ',' or ']' in this list, got ';'", (1, 12)),
        ("input_dim: 'a'", "'input_dim' takes an integer, got the string 'a'", (1, 12)),
        ("input_dim: 1.5", "'input_dim' takes an integer, got 1.5", (1, 12)),
        ("input_dim: 09", "'input_dim' takes an integer, got 09", (1, 12)),
        ("input_dim: 1_0", "'input_dim' takes an integer, got 1_0", (1, 12)),
        ("input_dim: ٣", "'input_dim' takes an integer, got ٣", (1, 12)),
        ("input_dim: 4294967296", "'input_dim' takes an integer from -2147483648 to 2147483647, got 4294967296", (1, 12)),
        ("force_backward: yes", "'force_backward' takes true or false, got yes", (1, 17)),
        ("state: 3", "'state' takes a message, got 3", (1, 8)),
        ("3: 4", "expected a field's name, got '3'", (1, 1)),
        ("{ }", "expected a field, got '{'", (1, 1)),
        ("name: 'a'\nname: 'b'", "'name' is given twice, and NetParameter takes it once", (2, 7)),
        ("state {}\nstate {}", "'state' is given twice, and NetParameter takes it once", (2, 1)),
        ("layer { power_param { power: 1.2.3 } }", "'power' takes a number, got 1.2.3", (1, 30)),
        ("layer { clip_param { min: 0 } }", "ClipParameter needs the field 'max'", (1, 9)),
        ("layer", "the text ends where a value is expected", (1, 1)),
    ],
)  # fmt: skip
def test_each_mistake_has_its_message_and_its_place(text, message, where):
    caught = error(text)
    assert (caught.message, place(caught)) == (message, where)


def test_a_wrong_enum_value_is_answered_with_the_nearest_right_one():
    caught = error("layers { type: CONVOLUTON }")
    assert caught.message.startswith("'type' takes one of NONE, ABSVAL,")
    assert caught.message.endswith("; got CONVOLUTON")
    assert caught.remedy == "did you mean 'CONVOLUTION'?"


def test_the_types_of_two_generations_mixed_up_are_told_apart():
    assert "'layer { }'" in str(error('layers { type: "Convolution" }').remedy)
    assert error("layer { type: CONVOLUTION }").remedy == 'write type: "CONVOLUTION"'


def test_the_second_value_of_a_field_points_back_to_the_first():
    assert error("name: 'a'\nname: 'b'").notes == ("first given at net.prototxt:1:7",)


# ---- hostile texts


@pytest.mark.parametrize(
    "text",
    [
        "{" * 100_000,
        "a{" * 100_000,
        "layer {\n" * 100_000,
        "a: [" * 100_000,
        "a: " * 100_000,
        '"' + "a" * 10_000_000,
        "a" * 10_000_000,
        "name: '" + "\\" * 9_999_999,
        "name" + " " * 10_000_000,
        "input_dim: " + "9" * 5_000_000,
        "a:1 " * 3_000_000,
        "input_dim: [" + "1," * 3_000_000,
        "#" + "x" * 1_000_000 + "\n\0",
        "-" * 1_000_000,
    ],
    ids=range(14),
)
def test_a_hostile_text_is_one_error_and_soon(text):
    start = time.process_time()
    error(text)
    assert time.process_time() - start < 10  # of CPU time; two on a fast machine


def test_a_nesting_of_a_hundred_is_read_and_one_more_is_not():
    assert len(parse("a {" * 100 + "}" * 100).unknown) == 1
    assert "nested more than 100 deep" in error("a {" * 101 + "}" * 101).message
