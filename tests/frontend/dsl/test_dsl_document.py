"""The examples of docs/dsl.md are nets."""

import re
from pathlib import Path

import pytest

from netc.frontend.dsl.read import parse_dsl
from netc.ir.location import Source

PAGE = (Path(__file__).parents[3] / "docs" / "dsl.md").read_text(encoding="utf-8")
EXAMPLES = [block for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL) if "error:" not in block]
ROWS = [row for row in re.findall(r"^\| `([^`]*)` \|", PAGE, re.MULTILINE) if "(" in row]


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_of_the_page_is_a_net(text):
    net = parse_dsl(Source("dsl.md", f"data = Input()\nx = data\n{text}" if "Input(" not in text else text))
    assert net.list("layer")


@pytest.mark.parametrize("text", [row for row in ROWS if "…" not in row])
def test_a_row_of_the_table_is_a_statement(text):
    assert parse_dsl(Source("dsl.md", f"x = 'x'\ny = 'y'\nconv1 = 'conv1'\n{text}")).list("layer")
