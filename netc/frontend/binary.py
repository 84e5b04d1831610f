"""The schema as classes of the protobuf library, for binary files.

The one place that imports the library, whose classes made at run time have no types to check.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import google.protobuf.descriptor_pb2
import google.protobuf.descriptor_pool
import google.protobuf.internal.enum_type_wrapper
import google.protobuf.message
import google.protobuf.message_factory

from netc.frontend.schema import EnumType, FieldType, MessageType, schema

PACKAGE = "caffe"

ProtobufMessage: TypeAlias = Any
"""A message of the protobuf library."""

_descriptors: Any = google.protobuf.descriptor_pb2
_library: Any = google.protobuf


def message_class(name: str) -> Any:
    """The protobuf class of a message of the schema, for example ``"NetParameter"``."""
    return _library.message_factory.GetMessageClass(descriptor(name))


def enum_wrapper(name: str) -> Any:
    """The names and numbers of an enum of the schema, as generated code wraps them."""
    enum = _pool().FindEnumTypeByName(f"{PACKAGE}.{name}")
    return _library.internal.enum_type_wrapper.EnumTypeWrapper(enum)


def descriptor(name: str) -> Any:
    """The protobuf descriptor of a message of the schema."""
    return _pool().FindMessageTypeByName(f"{PACKAGE}.{name}")


def parse_binary(name: str, data: bytes) -> ProtobufMessage:
    """The message with this name in the schema that the bytes encode; ``ValueError`` if they do not."""
    message = message_class(name)()
    try:
        message.ParseFromString(data)
    except (_library.message.DecodeError, RuntimeError) as error:  # what it raises depends on its version
        raise ValueError(str(error)) from None
    return message


@cache
def _pool() -> Any:
    # a pool of our own: another package's caffe.proto in the default pool would clash
    pool = _library.descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file_descriptor().SerializeToString())
    return pool


def file_descriptor() -> Any:
    """The schema as protobuf describes a .proto file."""
    whole = schema()
    file = _descriptors.FileDescriptorProto(name="netc/caffe.proto", package=PACKAGE, syntax="proto2")
    for enum in whole.enums.values():
        file.enum_type.append(_enum(enum))
    for message in whole.messages.values():
        described = file.message_type.add(name=message.name)
        described.enum_type.extend(_enum(each) for each in message.enums.values())
        described.field.extend(_field(each, message) for each in message.fields.values())
    return file


def _enum(enum: EnumType) -> Any:
    values = [
        _descriptors.EnumValueDescriptorProto(name=name, number=number)
        for name, number in enum.values.items()
    ]
    return _descriptors.EnumDescriptorProto(name=enum.name, value=values)


def _field(field: FieldType, owner: MessageType) -> Any:
    kinds = _descriptors.FieldDescriptorProto
    label = "LABEL_REPEATED" if field.repeated else "LABEL_REQUIRED" if field.required else "LABEL_OPTIONAL"
    made = kinds(
        name=field.name,
        number=field.number,
        label=kinds.Label.Value(label),
        type=kinds.Type.Value(f"TYPE_{field.kind.upper()}"),
    )
    if field.enum is not None:
        scope = f"{owner.name}." if owner.enums.get(field.type_name) is field.enum else ""
        made.type_name = f".{PACKAGE}.{scope}{field.type_name}"
    elif field.message is not None:
        made.type_name = f".{PACKAGE}.{field.type_name}"
    if field.packed:
        made.options.packed = True
    if field.has_declared_default:
        value = field.default
        made.default_value = str(value).lower() if isinstance(value, bool) else str(value)
    return made
