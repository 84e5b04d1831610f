import pytest

from netc.frontend.message import Message
from netc.frontend.protobuf_messages import from_protobuf, to_protobuf
from netc.frontend.text_format import parse_text
from netc.ir.location import Location, Source

TEXT = """
name: "n"
state { phase: TRAIN level: -3 stage: "a" }
layer {
  name: "c" type: "Convolution" bottom: "x" top: "y" phase: TEST loss_weight: 0.1
  convolution_param { kernel_size: 3 kernel_size: 5 weight_filler { type: "xavier" std: 0.01 } engine: CUDNN }
}
layers { type: POOLING pooling_param {} }
"""


def net() -> Message:
    return parse_text(Source("x", TEXT))


def test_equality_ignores_locations_and_the_order_of_fields():
    one = parse_text(Source("a", "name: 'n' input: 'i'"))
    other = parse_text(Source("b", "\n\ninput: 'i'   name: 'n'"))
    assert one == other
    assert one != parse_text(Source("a", "name: 'n' input: 'j'"))
    assert one != parse_text(Source("a", "name: 'n' input: 'i' foo: 1"))
    assert one != "name"


def test_a_copy_shares_nothing_that_could_change():
    original = net()
    copy = original.copy()
    assert copy == original
    copy.messages("layer")[0].message("convolution_param").add("kernel_size", 7)
    copy.set("name", "m")
    assert original == net()
    assert copy != original


def test_a_wrong_field_name_is_a_mistake_of_the_caller():
    for call in (net().get, net().has, net().list, net().where, net().clear):
        with pytest.raises(KeyError, match="NetParameter has no field 'nme'"):
            call("nme")
    with pytest.raises(KeyError, match="repeated: use list"):
        net().get("layer")
    with pytest.raises(KeyError, match="repeated: use add"):
        net().set("input", "x")
    with pytest.raises(KeyError, match="not repeated: use set"):
        net().add("name", "x")


def test_fields_can_be_set_and_unset():
    message = Message("LayerParameter", Location("x", 1, 1))
    message.add("bottom", "a", Location("x", 2, 2))
    message.ensure("convolution_param", Location("x", 3, 3)).add("pad", 1)
    assert message.ensure("convolution_param").integers("pad") == (1,)
    assert message.where("bottom") == Location("x", 2, 2)
    message.replace("bottom", 0, "b")
    assert message.texts("bottom") == ("b",)
    assert message.where("bottom") == Location("x", 1, 1)
    message.clear("bottom")
    assert not message.has("bottom")
    assert [name for name, _ in message.fields()] == ["convolution_param"]


def test_the_protobuf_library_and_back_is_the_same():
    assert from_protobuf(to_protobuf(net())) == net()


def test_floats_of_binary_files_equal_those_of_texts():
    binary = to_protobuf(net())
    layer = from_protobuf(type(binary).FromString(binary.SerializeToString())).messages("layer")[0]
    assert layer.list("loss_weight") == (0.1,)


def test_blobs_are_left_out_of_a_definition():
    binary = to_protobuf(net())
    binary.layer[0].blobs.add().data.extend([1, 2, 3])
    assert from_protobuf(binary) == net()
