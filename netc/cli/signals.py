"""What signals ask of a running solver."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from netc.runtime.solver.action import Action


@contextmanager
def actions_of_signals(sigint: Action, sighup: Action) -> Iterator[SignalActions]:
    """Turns SIGINT and SIGHUP into actions inside of the block; a signal with the action none is ignored."""
    actions = SignalActions()
    numbers = {signal.SIGINT: sigint}
    if hasattr(signal, "SIGHUP"):
        numbers[signal.SIGHUP] = sighup
    before = {}
    if threading.current_thread() is threading.main_thread():  # others may not set handlers
        for number, action in numbers.items():
            before[number] = signal.signal(number, actions.handler(action))
    try:
        yield actions
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class SignalActions:
    """The actions that signals asked for and nobody has taken yet."""

    def __init__(self) -> None:
        self._asked: list[Action] = []

    def take(self) -> Action:
        """The next action, once."""
        return self._asked.pop(0) if self._asked else Action.NONE

    def handler(self, action: Action) -> Callable[[int, FrameType | None], None]:
        """What a signal calls. Somebody who asks twice to stop does not want to wait for the iteration."""

        def ask(number: int, frame: FrameType | None) -> None:
            del number, frame
            if action is Action.STOP and Action.STOP in self._asked:
                raise KeyboardInterrupt
            if action is not Action.NONE:
                self._asked.append(action)

        return ask
