from pathlib import Path

import pytest

from netc.frontend.message import Message
from netc.frontend.phases import NetState, filter_net, is_included
from netc.frontend.text_format import parse_text
from netc.ir.diagnostics import NetcError
from netc.ir.location import Location, Source

DATA = Path(__file__).parent / "data" / "bvlc_caffe_tests"
CASES = sorted({path.name.split("__")[0] for path in DATA.glob("FilterNetTest.*")})


def golden(name: str) -> Message:
    path = DATA / f"{name}.prototxt"
    return parse_text(Source(path.name, path.read_text()))


def state_of(net: Message) -> NetState:
    """The state that a net of the original's tests gives itself."""
    state = net.message("state")
    return NetState(state.text("phase"), state.integer("level"), frozenset(state.texts("stage")))


# the original's test gives this net its state in C++
OWN_STATE = {"FilterNetTest.TestFilterInByIncludeMultiRule": [NetState("TRAIN", 2), NetState("TEST", 2)]}


def without_state(net: Message) -> Message:
    made = net.copy()
    made.clear("state")
    return made


@pytest.mark.parametrize(
    "case", [case for case in CASES if not (DATA / f"{case}__output_proto_test.prototxt").exists()]
)
def test_the_filter_keeps_what_the_original_keeps(case):
    net = golden(f"{case}__input_proto")
    output = DATA / f"{case}__output_proto.prototxt"
    expected = golden(f"{case}__output_proto") if output.exists() else net
    for state in OWN_STATE.get(case, [state_of(net)]):
        assert without_state(filter_net(net, state)) == without_state(expected)


@pytest.mark.parametrize(
    "case", [case for case in CASES if (DATA / f"{case}__output_proto_test.prototxt").exists()]
)
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_the_filter_keeps_what_the_original_keeps_in_each_phase(case, phase):
    expected = golden(f"{case}__output_proto_{phase.lower()}")
    state = NetState(phase, expected.message("state").integer("level"))
    assert without_state(filter_net(golden(f"{case}__input_proto"), state)) == without_state(expected)


@pytest.mark.parametrize(
    ("rules", "state", "kept"),
    [
        ("", NetState("TRAIN"), True),
        ("include { }", NetState("TRAIN"), True),
        ("exclude { }", NetState("TRAIN"), False),
        ("include { phase: TRAIN }", NetState("TEST"), False),
        ("include { phase: TRAIN } include { stage: 'a' }", NetState("TEST", 0, frozenset("a")), True),
        ("exclude { phase: TRAIN } exclude { stage: 'a' }", NetState("TEST", 0, frozenset("a")), False),
        ("include { min_level: 1 }", NetState("TEST", 0), False),
        ("include { min_level: 1 max_level: 1 }", NetState("TEST", 1), True),
        ("include { max_level: -1 }", NetState("TEST", 0), False),
        ("include { stage: 'a' stage: 'b' }", NetState("TEST", 0, frozenset("a")), False),
        ("include { stage: 'a' stage: 'b' }", NetState("TEST", 0, frozenset("abc")), True),
        ("include { not_stage: 'a' not_stage: 'b' }", NetState("TEST", 0, frozenset("b")), False),
        ("include { phase: TEST stage: 'a' not_stage: 'b' }", NetState("TEST", 0, frozenset("a")), True),
    ],
)
def test_a_rule_holds_when_all_its_conditions_do(rules, state, kept):
    layer = parse_text(Source("x", rules), "LayerParameter")
    assert is_included(layer, state) is kept


def test_a_layer_with_both_kinds_of_rules_is_refused():
    net = parse_text(Source("x", "layer {\n name: 'l'\n include { phase: TEST }\n exclude { stage: 'a' }\n}"))
    with pytest.raises(NetcError) as caught:
        filter_net(net, NetState())
    assert caught.value.location == Location("x", 4, 2)
    assert caught.value.layer == "l"
