"""What somebody outside may ask of a running solver."""

from __future__ import annotations

from enum import Enum


class Action(Enum):
    """Nothing, to end after the iteration, or to write a snapshot."""

    NONE = "none"
    STOP = "stop"
    SNAPSHOT = "snapshot"
