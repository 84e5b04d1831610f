"""What an error looks like."""

from __future__ import annotations

from netc.ir.diagnostics import NetcError
from netc.ir.location import Location, Source

SOURCE = Source("net.prototxt", 'name: "x"\r\nlayer {\tstride: 0 }\n')


def test_an_error_shows_place_layer_line_caret_notes_and_remedy():
    error = NetcError(
        "stride must be >= 1, got 0",
        location=Location("net.prototxt", 2, 17, SOURCE),
        layer="pool1",
        notes=["while reading"],
        remedy="say stride: 1",
        span=1,
    )
    assert str(error).splitlines() == [
        "net.prototxt:2:17: error: layer 'pool1': stride must be >= 1, got 0",
        "    2 | layer { stride: 0 }",
        "      | " + " " * 16 + "^",
        "note: while reading",
        "help: say stride: 1",
    ]


def test_without_a_place_an_error_is_its_message():
    assert str(NetcError("no")) == "error: no"


def test_a_place_is_filled_in_once():
    first, second = Location("a", 1, 1), Location("b", 2, 2)
    error = NetcError("no").at(first, "one").at(second, "two")
    assert (error.location, error.layer) == (first, "one")


def test_a_long_line_is_cut_around_the_fault():
    text = "x" * 500 + "FAULT" + "y" * 500
    lines = str(NetcError("no", location=Location("a", 1, 501, Source("a", text)), span=5)).splitlines()
    assert len(lines[1]) < 200
    assert lines[1][lines[2].index("^") :].startswith("FAULT")
    assert lines[2].count("^") == 5


def test_control_characters_do_not_reach_the_terminal():
    source = Source("a", "x\x1b[31m\ty")
    shown = str(NetcError("no", location=Location("a", 1, 8, source))).splitlines()
    assert shown[1] == "    1 | x?[31m y"
    assert shown[2] == "      |        ^"


def test_names_with_line_ends_and_commands_are_shown_with_escapes():
    shown = NetcError("no 'a\nb\x1b[2J'", layer="\udc80", notes=["in\nlines\r"], remedy="é\0").render()
    assert shown == "error: layer '\\udc80': no 'a\\nb\\x1b[2J'\nnote: in\nlines\\r\nhelp: é\\x00"


def test_a_line_beyond_the_text_is_not_shown():
    assert str(NetcError("no", location=Location("a", 9, 1, SOURCE))) == "a:9:1: error: no"


def test_sources_take_no_part_in_equality():
    assert Location("a", 1, 2, SOURCE) == Location("a", 1, 2)
    assert Location("a", 1, 2).source_line() is None
