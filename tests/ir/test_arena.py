"""Facts about memory at the buffer level."""

from netc.ir.arena import span_bytes
from netc.ir.layout import Blocked
from netc.ir.types import BufferType, TensorType


def test_a_view_takes_memory_up_to_its_last_element():
    tensor = TensorType("f32", (2, 20, 3, 3), Blocked(1, 16))
    assert span_bytes(BufferType(tensor)) == 2 * 32 * 9 * 4
    strides = (1000, 144, 48, 16, 1)
    assert span_bytes(BufferType(tensor, strides)) == (1000 + 288) * 4
