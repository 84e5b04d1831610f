"""``variance_norm``: what the fillers xavier and msra take the variance from."""

from __future__ import annotations

import math

from netc.frontend.message import Message


def fan(shape: tuple[int, ...], filler: Message) -> float:
    """n of the variance rules: numbers per output (FAN_IN), per input (FAN_OUT), or their mean."""
    count = math.prod(shape)
    fan_in = count / shape[0] if shape else 1.0
    fan_out = count / shape[1] if len(shape) > 1 else float(count)
    norm = filler.text("variance_norm")
    return {"FAN_IN": fan_in, "FAN_OUT": fan_out, "AVERAGE": (fan_in + fan_out) / 2}[norm]
