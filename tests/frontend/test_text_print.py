import math

from hypothesis import given, settings
from hypothesis import strategies as st

from netc.frontend.message import Message, UnknownField
from netc.frontend.schema import INTEGER_RANGES, FieldType, schema
from netc.frontend.text_format import parse_text
from netc.frontend.text_print import to_text
from netc.frontend.text_values import nearest_float32
from netc.ir.location import Source


def test_fields_are_printed_in_the_order_of_their_numbers():
    text = "layer { convolution_param { stride: 2 pad: 1 num_output: 3 } type: 'Convolution' name: 'c' }"
    assert to_text(parse_text(Source("x", text))) == (
        'layer {\n  name: "c"\n  type: "Convolution"\n  convolution_param {\n'
        "    num_output: 3\n    pad: 1\n    stride: 2\n  }\n}\n"
    )


def test_unknown_fields_are_printed_as_they_were_written():
    message = Message("NetParameter")
    message.unknown = [UnknownField("a", "'it'"), UnknownField("b", (UnknownField("c", "0x1"),))]
    text = to_text(message)
    assert text == "a: 'it'\nb {\n  c: 0x1\n}\n"
    assert parse_text(Source("x", text)) == message


def test_numbers_are_printed_short():
    message = Message("TransformationParameter")
    for value in (1.0, 0.1, 1e-05, -0.0, math.inf, -math.inf, 1e20, 104.00699):
        message.add("mean_value", value)
    printed = to_text(message).replace("mean_value: ", "").split()
    assert printed == ["1", "0.1", "1e-05", "-0", "inf", "-inf", "1e+20", "104.00699"]


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
    return {
        "double": st.floats(allow_nan=False),
        "bool": st.booleans(),
        "string": st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
        "bytes": st.binary(max_size=8),
    }[field.kind]


@st.composite
def messages(draw: st.DrawFn, name: str) -> Message:
    kind = schema().messages[name]
    made = Message(kind)
    chosen = draw(st.lists(st.sampled_from(sorted(kind.fields)), unique=True, max_size=4))
    for each in {*chosen, *kind.required}:
        field = kind.fields[each]
        if field.repeated:
            for value in draw(st.lists(_values(field), min_size=1, max_size=2)):
                made.add(each, value)
        else:
            made.set(each, draw(_values(field)))
    return made


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["NetParameter", "LayerParameter", "SolverParameter", "Datum"]).flatmap(messages))
def test_what_is_printed_reads_back_equal(message):
    text = to_text(message)
    again = parse_text(Source("x", text), message.type_name)
    assert again == message
    assert to_text(again) == text
