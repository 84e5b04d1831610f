import time

import pytest

from netc.frontend.dsl.read import parse_dsl
from netc.frontend.importer import import_net
from netc.frontend.message import Message
from netc.frontend.text_format import parse_text
from netc.ir.diagnostics import NetcError
from netc.ir.location import Source

SECONDS = 10  # of CPU time; less than two on a fast machine


def net(text: str) -> Message:
    return parse_dsl(Source("x.net", text))


def prototxt(text: str) -> Message:
    return parse_text(Source("x.prototxt", text))


def value(expression: str) -> str:
    """What an expression becomes as text."""
    return net(f"v = {expression}\nnet(name='' + str(v))").text("name")


def error(text: str) -> NetcError:
    start = time.process_time()
    with pytest.raises(NetcError) as caught:
        net(text)
    assert caught.value.location is not None
    assert time.process_time() - start < SECONDS
    return caught.value


# ---- layers


def test_a_layer_is_called_after_the_variable_it_is_assigned_to():
    assert net("data = Input(shape={dim: [1, 3]})\nip = InnerProduct(data, num_output=2)") == prototxt(
        "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 3 } } }"
        "layer { name: 'ip' type: 'InnerProduct' bottom: 'data' top: 'ip' "
        "inner_product_param { num_output: 2 } }"
    )


def test_a_given_name_is_also_the_tops_name():
    assert net("x = Input(name='a/b')").messages("layer")[0].texts("top") == ("a/b",)


def test_several_variables_are_the_tops_of_a_layer():
    layer = net("a, b = Slice('x', slice_point=1)").messages("layer")[0]
    assert (layer.text("name"), layer.texts("top")) == ("a", ("a", "b"))


def test_a_layer_with_a_bang_works_in_place():
    layer = net("relu = ReLU!('x')").messages("layer")[0]
    assert (layer.text("name"), layer.texts("bottom"), layer.texts("top")) == ("relu", ("x",), ("x",))


def test_a_layer_without_a_variable_gets_a_number():
    made = net("Silence(ReLU(ReLU('x')))").messages("layer")
    assert [layer.text("name") for layer in made] == ["ReLU1", "ReLU2", "Silence1"]
    assert made[2].texts("top") == ()


def test_tops_can_be_given_apart_from_the_name():
    layer = net("x = Data(name='n', top=['a', 'b'])\ny = ReLU(x)").messages("layer")
    assert layer[0].texts("top") == ("a", "b")
    assert layer[1].texts("bottom") == ("a", "b")


def test_settings_of_the_layer_itself_stand_beside_those_of_its_message():
    layer = net(
        "x = Convolution('d', num_output=3, param=[{lr_mult: 1}, {lr_mult: 2}], include={phase: TEST})"
    ).messages("layer")[0]
    assert [p.number("lr_mult") for p in layer.messages("param")] == [1, 2]
    assert layer.messages("include")[0].text("phase") == "TEST"
    assert layer.message("convolution_param").integer("num_output") == 3


def test_a_loss_finds_both_of_its_messages():
    layer = net("l = SoftmaxWithLoss('x', 'y', ignore_label=255, axis=2)").messages("layer")[0]
    assert layer.message("loss_param").integer("ignore_label") == 255
    assert layer.message("softmax_param").integer("axis") == 2


def test_a_data_layers_transformations_go_where_they_have_an_effect():
    layer = net("d, l = Data(source='x', crop_size=227)").messages("layer")[0]
    assert layer.message("transform_param").integer("crop_size") == 227
    assert layer.message("data_param").text("source") == "x"


def test_none_leaves_a_field_alone():
    assert net("p = Pooling('x', kernel_size=3, stride=none)") == net("p = Pooling('x', kernel_size=3)")


def test_fields_that_the_schema_lacks_are_kept_when_they_are_marked():
    made = net("a = ReLU('x', foo?=3, bar?={b: [true, 'y'], c?: raw('0x1')})\nnet(top?=1.5)")
    wanted = prototxt(
        "top: 1.5 layer { name: 'a' type: 'ReLU' bottom: 'x' top: 'a' foo: 3 bar { b: true b: \"y\" c: 0x1 } }"
    )
    assert made == wanted


def test_layers_of_types_that_nobody_knows_are_made_by_the_function_layer():
    layer = net("a = layer('My-Type', 'x', foo?=3)\nb = layer!('T', a)").messages("layer")
    assert (layer[0].text("type"), layer[0].texts("bottom")) == ("My-Type", ("x",))
    assert layer[1].texts("top") == ("a",)


def test_settings_of_the_whole_net_come_from_the_function_net():
    made = net("net(name='n', force_backward=true, state={phase: TRAIN, stage: ['a', 'b']})")
    assert made == prototxt("name: 'n' force_backward: true state { phase: TRAIN stage: 'a' stage: 'b' }")


def test_values_know_their_places():
    layer = net("n = 3\nc = Convolution(\n    'x', num_output=n,\n    kernel_size=[1, 2])").messages("layer")[
        0
    ]
    param = layer.message("convolution_param")
    assert str(layer.location) == "x.net:2:5"
    assert str(param.where("num_output")) == "x.net:3:21"
    assert str(param.where("kernel_size", 1)) == "x.net:4:21"
    assert str(layer.where("bottom")) == "x.net:3:5"


# ---- functions, loops, arithmetic


def test_layers_inside_a_function_are_called_after_what_its_result_is_assigned_to():
    text = "def block(x):\n    conv = ReLU(x)\n    return Concat(conv, x)\na = block('x')\nb = block('y')"
    names = [layer.text("name") for layer in net(text).messages("layer")]
    assert names == ["a/conv", "a", "b/conv", "b"]


def test_the_name_of_a_function_call_is_the_name_of_what_it_makes():
    text = "def block(x):\n    return ReLU(x)\nfor i in 1..2:\n    x = block('x', name=\"b{i}\")"
    assert [layer.text("name") for layer in net(text).messages("layer")] == ["b1", "b2"]


def test_arguments_without_a_parameter_are_passed_on():
    text = "def f(x, n=2, **more):\n    return Convolution(x, num_output=n, **more)\ny = f('x', pad=1, **{stride: 2})"
    param = net(text).messages("layer")[0].message("convolution_param")
    assert (param.integer("num_output"), param.integers("pad"), param.integers("stride")) == (2, (1,), (2,))


def test_loops_take_lists_apart():
    text = (
        "t = 0\nfor name, n in [['a', 1], ['b', 2]]:\n    t = t + n\n    last = name\nnet(name=\"{last}{t}\")"
    )
    assert net(text).text("name") == "b3"


def test_the_first_arm_whose_test_holds_is_run():
    text = "for i in 1..3:\n    if i == 1:\n        a = 'x'\n    elif i == 2: a = a + 'y'\n    else:\n        a = a + 'z'\nnet(name=a)"
    assert net(text).text("name") == "xyz"


def test_functions_return_several_values():
    assert net('def f():\n    return 1, 2\na, b = f()\nnet(name="{a}{b}")').text("name") == "12"


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("1 + 2 * 3 - 4", "3"),
        ("7 // 2", "3"),
        ("7 / 2", "3.5"),
        ("-7 % 3", "2"),
        ("2 ** 3 * 2", "16"),
        ("-2 ** 2", "-4"),
        ("0x1F", "31"),
        (".5 + 1. + 1e-1", "1.6"),
        ("1 if 2 > 1 and not false else 0", "1"),
        ("2 in 1..3", "true"),
        ("[1, 2] == [1, 2]", "true"),
        ("{a: 1} != {a: 2}", "true"),
        ("1 == true", "false"),
        ("'abc'[1]", "b"),
        ("([1] + [2, 3])[-1]", "3"),
        ("{a: 5}['a']", "5"),
        ("len([1, 2]) + len('abc')", "5"),
        ("max(1, 2) - min([3, 4])", "-1"),
        ("int(2.7)", "2"),
        ("MAX", "MAX"),
        ('"{{{1 + 1}}}"', "{2}"),
        ("'{a}'", "{a}"),
        (r'"a\tb\303\251"', "a\tbé"),
        ("-inf", "-inf"),
        ("true or 1", "true"),
    ],
)
def test_expressions_have_the_usual_values(expression, wanted):
    assert value(expression) == wanted


# ---- errors


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "remedy"),
    [
        ("a = Convolutoin('x')", 1, 5, "unknown layer type 'Convolutoin'", "did you mean 'Convolution'?"),
        ("a = foo(1)", 1, 5, "unknown function 'foo'", 'a type that netc does not know is written layer("foo", ...)'),
        ("dat = 1\na = ReLU(data)", 2, 10, "unknown name 'data'", "did you mean 'dat'?"),
        ("a = Pooling('x', pool=MAXX)", 1, 23, "unknown name 'MAXX'", "did you mean 'MAX'?"),
        ("a = Pooling('x', pool='AVG')", 1, 23, "'pool' takes one of MAX, AVE, STOCHASTIC, AVE_EXC_PAD, AVE_TF; got \"AVG\"", "did you mean 'AVE'?"),
        ("a = Input(shape={dim: [1, 'a']})", 1, 27, "'dim' takes an integer, got \"a\"", None),
        ("a = Convolution('x', num_output=3/1)", 1, 33, "'num_output' takes an integer, got 3.0", "'/' always gives a fraction; '//' divides whole numbers"),
        ("a = Convolution('x', num_output=2**40)", 1, 33, "'num_output' takes an integer from 0 to 4294967295, got 1099511627776", None),
        ("a = Convolution('x', num_output=[1, 2])", 1, 33, "'num_output' takes an integer, got a list", None),
        ("a = Convolution('x', weight_filler=3)", 1, 36, "'weight_filler' takes a message, got 3", "write a message as { field: value, ... }"),
        ("a = Convolution('x', pad=1, pad=2)", 1, 29, "'pad' is given twice", "a field that repeats takes a list"),
        ("a = Input(stride=3)", 1, 11, "Input has no field 'stride'", "'stride' is a field of convolution_param"),
        ("a = ReLU('x', in_place=true)", 1, 15, "ReLU has no field 'in_place'", "write ReLU!(...)"),
        ("a = ReLU('x', name?=1)", 1, 15, "LayerParameter does have a field 'name'", "leave out the '?'"),
        ("a = ReLU('x')\na = ReLU('y')", 2, 5, "there is a layer 'a' already", 'give this one a name of its own: name="..."'),
        ("a = ReLU(1)", 1, 10, "a bottom is a blob or a string, got 1", None),
        ("ReLU('x', name=none)", 1, 1, "a layer without a name needs its tops named", 'write top="..."'),
        ("ReLU!()", 1, 1, "ReLU has no bottom to work on in place", None),
        ("ReLU!('x', top='y')", 1, 12, "a layer that works in place has its bottom as top", None),
        ("max!(1)", 1, 1, "only layers work in place", None),
        ("MAX = 1", 1, 1, "'MAX' is a constant of Caffe's, and no variable", None),
        ("return 1", 1, 1, "'return' stands in no function", None),
        ("a, b = 3", 1, 8, "2 names take 2 values, got 3", None),
        ("a = 1 + 'x'", 1, 7, 'the string "x" and 1 cannot be added', None),
        ("a = true + 1", 1, 10, "'+' takes numbers, got true", None),
        ("a = 1 < 'x'", 1, 7, '1 and the string "x" have no order', None),
        ("a = 1 // 0", 1, 7, "division by zero", None),
        ("a = 1 if 1 else 2", 1, 10, "expected true or false, got 1", None),
        ("a = [1][3]", 1, 9, "index 3 of 1 elements", None),
        ("a = 3[0]", 1, 6, "only a list has elements, got 3", None),
        ("for i in 3: a = i", 1, 10, "a loop takes a list or a range, got 3", None),
        ("a = 1..2.5", 1, 6, "a range goes between integers, got 2.5", None),
        ("def f(a):\n    return a\nb = f()", 3, 5, "f() needs a value for 'a'", None),
        ("def f(a):\n    return a\nb = f(1, 2)", 3, 10, "f() takes 1 values, got 2", None),
        ("def f(width):\n    return width\nb = f(widht=1)", 3, 7, "f() has no parameter 'widht'", "did you mean 'width'?"),
        ("def f(a):\n    return a\nb = f(1, a=1)", 3, 10, "'a' is given twice", None),
        ("def f():\n    return 1\ndef f():\n    return 1", 3, 5, "there is a function 'f' already", None),
        ("def len(x):\n    return 1", 1, 5, "'len' is a builtin function", None),
        ("if true:\n    def f():\n        return 1", 2, 9, "a function is defined outside of blocks and functions", None),
        ("net(foo=1)", 1, 5, "NetParameter has no field 'foo'", "a field that only a fork of Caffe knows is marked: foo?"),
        ("net(layer={name: 'x'})", 1, 5, "layers are made by calls", None),
        ("raw(1)", 1, 1, "raw() takes the text of a scalar, got 1", None),
        ("a = 99999999999999999999", 1, 5, "an integer beyond 64 bits", None),
        ("a = Slice('x', name=3)", 1, 21, "a layer's name is a blob or a string, got 3", None),
    ],
)  # fmt: skip
def test_an_error_says_what_is_wrong_where_and_what_to_do(text, line, column, message, remedy):
    found = error(text)
    if message.startswith("the string"):
        message = found.message  # either operand may be named first
    assert found.message == message
    assert (found.location.line, found.location.column) == (line, column)
    if remedy is not None:
        assert found.remedy == remedy


def test_an_error_inside_a_function_names_the_calls():
    found = error("def f(x):\n    return ReLU(x, foo=1)\ndef g(x):\n    return f(x)\na = g('x')")
    assert str(found.location) == "x.net:2:20"
    assert found.notes == ("in f() called at x.net:4:12", "in g() called at x.net:5:5")


CALLS = """def block(x, n, **more):
    return Convolution(x, num_output=n, **more)
def two(x, **more):
    a = block(x, 3, **more)
    return ReLU!(a)
data = Input(shape={dim: [1, 3, 4, 4]})
y = two(data, kernel_size=K)
z = InnerProduct(y, num_output=2)
"""


def import_error(text: str) -> NetcError:
    with pytest.raises(NetcError) as caught:
        import_net(parse_dsl(Source("x.net", text)), phase="TEST")
    return caught.value


def test_an_error_of_a_layer_that_a_function_made_names_the_calls():
    """Wherever the text at fault stands: in the function, or among the arguments of its call."""
    calls = ("in block() called at x.net:4:9", "in two() called at x.net:7:5")
    found = import_error(CALLS.replace("K", "9"))
    assert str(found.location) == "x.net:7:27"
    assert found.layer == "y/a"
    assert found.notes == calls
    found = import_error(CALLS.replace("K", "1").replace("n, **more)\ndef", "n, pad=-1, **more)\ndef"))
    assert (found.location.line, found.notes) == (2, calls)
    assert found.render().count("called at") == 2


def test_an_error_of_a_layer_outside_of_functions_names_no_calls():
    assert import_error(CALLS.replace("K", "1").replace("num_output=2", "num_output=0")).notes == ()


def test_only_the_innermost_calls_are_named():
    text = "def f(n):\n    if n == 0:\n        return ReLU('x', foo=1)\n    return f(n - 1)\nf(9)"
    assert error(text).notes == ("in f() called at x.net:4:12",)
    functions = "".join(f"def f{i}(x):\n    return f{i + 1}(x)\n" for i in range(6))
    found = error(f"{functions}def f6(x):\n    return ReLU(x, foo=1)\nf0('x')")
    assert found.notes == tuple(f"in f{i}() called at x.net:{2 * i}:12" for i in (6, 5, 4, 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(n):\n  return f(n + 1)\nf(1)", "functions call each other more than 30 deep"),
        ("for i in 1..99999:\n  for j in 1..99999:\n    x = i", "this takes more than 250000 steps"),
        ("x = [1]\nfor i in 1..100:\n  x = [x, x]", "more than 100000 values in one"),
        ("x = []\nfor i in 1..100:\n  x = [x]", "more than 20 levels of values inside each other"),
        ("x = 'aa'\nfor i in 1..100:\n  x = x + x", "a string of more than 100000 characters"),
        ("x = 'aa'\nfor i in 1..100:\n  x = \"{x}{x}\"", "a string of more than 100000 characters"),
        ("a = 9 ** 9 ** 9", "an exponent is at most 64, got 387420489"),
        ("a = 10 ** 60", "an integer beyond 64 bits"),
        ("a = 1..999999999999", "more than 100000 values in one"),
        ("for i in 1..20000:\n  ReLU('x')", "more than 5000 layers"),
        ("x = [1]\nfor i in 1..99999:\n  x = x + [1]", "this takes more than 250000 steps"),
    ],
)
def test_a_text_that_would_never_end_is_stopped(text, message):
    assert error(text).message == message
