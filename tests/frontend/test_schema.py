import pytest

from netc.frontend.binary import descriptor, file_descriptor, message_class
from netc.frontend.schema import message_type, schema


def test_fields_have_the_numbers_and_defaults_of_the_file_format():
    layer = message_type("LayerParameter").fields
    assert layer["convolution_param"].number == 106
    assert layer["clip_param"].number == 148
    assert layer["param"].repeated
    convolution = message_type("ConvolutionParameter").fields
    assert (convolution["bias_term"].default, convolution["group"].default) == (True, 1)
    assert message_type("LRNParameter").fields["beta"].default == 0.75
    assert message_type("SolverParameter").fields["snapshot_format"].default == "BINARYPROTO"
    assert message_type("BlobProto").fields["data"].packed


def test_an_enum_without_a_declared_default_has_its_first_value():
    assert message_type("NetStateRule").fields["phase"].default == "TRAIN"
    assert message_type("ParamSpec").fields["share_mode"].default == "STRICT"


def test_an_enum_of_another_message_is_found_by_its_scope():
    field = message_type("DetectionOutputParameter").fields["code_type"]
    assert field.enum is message_type("PriorBoxParameter").enums["CodeType"]


def test_no_message_uses_a_number_twice():
    for message in schema().messages.values():
        numbers = [field.number for field in message.fields.values()]
        assert len(numbers) == len(set(numbers)), message.name


def test_the_schema_of_nets_has_bounded_depth():
    # reading and copying recurse along the schema, so a message must not hold its own kind
    def depth(name: str, above: tuple[str, ...]) -> int:
        assert name not in above, f"{name} holds itself"
        inner = [field.message.name for field in message_type(name).fields.values() if field.message]
        return 1 + max((depth(each, (*above, name)) for each in inner), default=0)

    assert max(depth(name, ()) for name in schema().messages) < 10


def test_the_protobuf_library_takes_the_whole_schema():
    assert len(file_descriptor().message_type) == len(schema().messages)
    for name in schema().messages:
        assert descriptor(name).name == name


def test_a_class_of_the_protobuf_library_round_trips_its_bytes():
    net = message_class("NetParameter")()
    net.layer.add(name="x").convolution_param.kernel_size.append(3)
    again = message_class("NetParameter").FromString(net.SerializeToString())
    assert again == net
    assert again.layer[0].pooling_param.pad == 0


def test_an_unknown_message_is_a_mistake_of_the_caller():
    with pytest.raises(KeyError):
        message_type("NoSuchParameter")
