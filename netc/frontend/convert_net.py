"""Writes nets as prototxt or in the ``.net`` language."""

from __future__ import annotations

import os

from netc.frontend.atomic_file import atomic_file
from netc.frontend.dsl.read import SUFFIX
from netc.frontend.dsl.write import to_dsl
from netc.frontend.message import Message
from netc.frontend.text_print import to_text
from netc.frontend.upgrade import upgrade_net

PROTOTXT_SUFFIXES = (".prototxt", ".pbtxt", ".pt", ".txt")
NET_SUFFIXES = (*PROTOTXT_SUFFIXES, SUFFIX)


def net_text(net: Message, path: str | os.PathLike[str]) -> str:
    """The text of a net in the format that a path's suffix asks for; prototxt for every other suffix."""
    return to_dsl(upgrade_net(net)) if os.fspath(path).lower().endswith(SUFFIX) else to_text(net)


def write_net(path: str | os.PathLike[str], net: Message) -> None:
    """Write a net to a file in the format of its suffix."""
    text = net_text(net, path)
    with atomic_file(path) as file:
        file.write(text.encode("utf-8"))
