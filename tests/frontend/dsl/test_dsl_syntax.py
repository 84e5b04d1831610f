import pytest

from netc.frontend.dsl.read import looks_like_dsl, parse_dsl
from netc.ir.diagnostics import NetcError
from netc.ir.location import Source


def error(text: str) -> NetcError:
    with pytest.raises(NetcError) as caught:
        parse_dsl(Source("x.net", text))
    assert caught.value.location is not None
    return caught.value


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a = \n", 1, 4, "expected a value, and the line ends"),
        ("a = f(1,,2)", 1, 9, "expected a value, got ','"),
        ("a = [1, 2", 1, 5, "the text ends before the ']' of this"),
        ("a = )", 1, 5, "this ')' closes nothing"),
        ("a = [1, 2)", 1, 10, "expected ']' for the '[' of line 1, got ')'"),
        ("def f(a)\n  return a", 1, 9, "expected ':', and the line ends"),
        ("for i in 1..3:\na = 1", 2, 1, "expected an indented block, got 'a'"),
        ("if x:\n    # nothing\n  ", 1, 6, "expected an indented block, and the line ends"),
        (" a = 1", 1, 2, "the first line is indented"),
        ("a = 1\n  b = 2", 2, 3, "this line is indented, and no block begins before it"),
        ("if true:\n    a = 1\n  b = 1\n", 3, 3, "this line is indented like no block before it"),
        ("if true:\n\ta = 1\n", 2, 1, "a tab in the indentation"),
        ('a = "abc', 1, 5, "this string has no closing quote on its line"),
        ("a = 3 4", 1, 7, "expected an operator or the end of the line, got '4'"),
        ("a = $", 1, 5, "unexpected character '$'"),
        ('b = 2\na = "x{b + }"', 2, 11, "expected a value, and the line ends"),
        ('a = "x{"', 1, 7, "a '{' without its '}' in a string"),
        ('a = "x}"', 1, 7, "a '}' without its '{' in a string"),
        ('a = "{ }"', 1, 7, "nothing between the braces of a string"),
        ('a = "\\q"', 1, 5, "unknown escape '\\q' in a string"),
        ("a = (1 +\n", 1, 5, "the text ends before the ')' of this"),
    ],
)
def test_an_error_of_the_syntax_says_what_is_missing_and_where(text, line, column, message):
    found = error(text)
    assert found.message == message
    assert (found.location.line, found.location.column) == (line, column)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("a = Input({shape=3})", "in a message a field is given by ':'"),
        ("a = Input(shape: 3)", "in a call a field is given by '=': shape=..."),
        ("a = Input(shape {dim: 3})", "a message is a value: shape={ ... }"),
        ("deff f(x):\n  return x", "did you mean 'def'?"),
        ("a = 1; b = 2", "a line holds one statement"),
    ],
)
def test_an_error_of_the_syntax_names_the_way_out_where_one_is_near(text, remedy):
    assert error(text).remedy == remedy


def test_an_error_inside_an_open_bracket_names_the_bracket():
    found = error("a = Input(top='x'\nb = 3\n")
    assert found.message == "expected ',' or ')', got 'b'"
    assert found.notes == ("inside the '(' of line 1, which is still open",)


def test_the_source_line_is_shown_with_a_caret():
    assert error("x = 'd'\ny = Convolution(x, num_ouput=3)").render() == (
        "x.net:2:20: error: Convolution has no field 'num_ouput'\n"
        "    2 | y = Convolution(x, num_ouput=3)\n"
        "      |                    ^^^^^^^^^\n"
        "help: did you mean 'num_output'?"
    )


@pytest.mark.parametrize(
    "text",
    [
        "a=" + "(" * 1000 + ")" * 1000,
        "a = " + "-" * 5000 + "3",
        "a = " + "not " * 5000 + "true",
        "a = " + "1 ** " * 1000 + "1",
        "a = " + "1 if false else " * 1000 + "1",
        "a = " + "[" * 1000,
        "a = " + "x[" * 40 + "0" + "]" * 40,
        "".join(f"{' ' * i}if true:\n" for i in range(100)) + " " * 100 + "a = 1",
    ],
)
def test_deep_nesting_is_refused_with_a_place(text):
    error(text)


def test_long_chains_of_operators_are_no_nesting():
    net = parse_dsl(Source("x", "a = 1" + " + 1" * 5000 + '\nnet(name="{a}")'))
    assert net.text("name") == "5001"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# a comment\n\nnet(name='x')\n", True),
        ("data = Input()\n", True),
        ("a, b = Slice(x)\n", True),
        ("def f(x):\n  return x\n", True),
        ("for i in 1..3:\n  f(i)\n", True),
        ("ReLU!(x)\n", True),
        ('name: "x"\n', False),
        ("layer { name: 'x' }\n", False),
        ("layer {\n", False),
        ("# only this\n", False),
        ("input: 'data'\ninput_dim: 1\n", False),
    ],
)
def test_the_first_statement_tells_the_language(text, expected):
    assert looks_like_dsl(text) is expected
