"""The classes of Caffe's messages, as generated code would hold them: ``caffe_pb2.NetParameter()``.

They are made from the schema that the front end reads, by the protobuf library, so
``google.protobuf.text_format`` and all else of the library work on them.
"""

from __future__ import annotations

from typing import Any

from netc.frontend.binary import descriptor, enum_wrapper, message_class
from netc.frontend.schema import schema

DESCRIPTOR: Any = descriptor("NetParameter").file
TRAIN, TEST = 0, 1


def __getattr__(name: str) -> Any:
    if name in schema().messages:
        found = message_class(name)
    elif name in schema().enums:
        found = enum_wrapper(name)
    else:
        raise AttributeError(f"module 'caffe_pb2' has no attribute '{name}'")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *schema().messages, *schema().enums])
