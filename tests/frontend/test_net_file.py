from pathlib import Path

import numpy as np
import pytest

from netc.frontend.net_file import load_net, load_solver, read_net
from netc.frontend.protobuf_messages import to_protobuf
from netc.frontend.text_format import parse_text
from netc.frontend.text_print import to_text
from netc.ir.diagnostics import NetcError
from netc.ir.location import Location, Source

NET = """name: "n"
input: "x"
input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 5
layers { name: "c" type: CONVOLUTION bottom: "x" top: "c" convolution_param { num_output: 2 kernel_size: 1 } }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "c" top: "loss" include: { phase: TRAIN } }
layers { name: "s" type: SOFTMAX bottom: "c" top: "s" include { stage: "deploy" } }
"""
ZOO = Path(__file__).parents[2].parent / "shared" / "zoo"
# the original's test appends the closing text of these in C++
CUT_OFF = ("InitForcePropNet", "InitSkipPropNet")


def names(net):
    return [layer.get("name") for layer in net.messages("layer")]


@pytest.fixture
def write(tmp_path):
    def made(content, name="net.prototxt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return made


def test_a_net_is_loaded_upgraded_and_filtered(write):
    path = write(NET)
    assert names(load_net(path)) == ["input", "c"]
    assert names(load_net(str(path), phase="TRAIN")) == ["input", "c", "loss"]
    assert names(load_net(path, stages=["deploy"])) == ["input", "c", "s"]
    assert names(read_net(path)) == ["input", "c", "loss", "s"]


def test_the_state_of_a_loaded_net_is_what_it_was_selected_by():
    net = load_net("state { level: 3 stage: 'a' }", phase="TRAIN", level=1, stages=["b"])
    assert net == parse_text(Source("x", "state { phase: TRAIN level: 1 stage: 'a' stage: 'b' }"))


def test_a_string_with_a_brace_or_a_line_break_is_a_text():
    assert names(load_net("layer { name: 'a' }")) == ["a"]
    with pytest.raises(NetcError, match=r"<string>:2:1: error: "):
        load_net("name: 'n'\n}")


def test_locations_name_the_path(write):
    path = write(NET)
    assert load_net(path).messages("layer")[1].location == Location(str(path), 4, 1)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_alike_for_all_line_ends(write, line_end):
    path = write("\ufeff" + NET.replace("\n", line_end))
    assert load_net(path) == load_net(NET)
    assert load_net(path).messages("layer")[1].location == Location(str(path), 4, 1)


def test_a_binary_net_is_read_without_its_weights(write):
    binary = to_protobuf(parse_text(Source("x", NET)))
    binary.layers[0].blobs.add(num=1, channels=1, height=1, width=1).data.append(3)
    for name in ("net.caffemodel", "net.bin"):
        assert load_net(write(binary.SerializeToString(), name)) == load_net(NET)


def test_bytes_that_are_no_text_are_reported_with_their_place(write):
    path = write(b'name: "a"\nlayer { name: "\xff" }')
    with pytest.raises(NetcError) as caught:
        load_net(path)
    assert caught.value.location == Location(str(path), 2, 16)
    assert caught.value.message == "the byte 0xff is not UTF-8 text"


def test_their_place_is_counted_behind_a_byte_order_mark_and_with_every_kind_of_line_end(write):
    path = write(b'\xef\xbb\xbfname: "a"\r\nlayer {\r} \xff')
    with pytest.raises(NetcError) as caught:
        load_net(path)
    assert caught.value.location == Location(str(path), 3, 3)


def test_what_is_no_file_is_an_error(write, tmp_path):
    for source, message in [
        (tmp_path / "none.prototxt", "No such file or directory"),
        (tmp_path / "none.caffemodel", "No such file or directory"),
        (tmp_path, "is a directory"),
        (write(b""), "the file is empty"),
        (write(b" \n\n"), "the file is empty"),
        ("a\0b", "is no path"),
    ]:
        with pytest.raises(NetcError, match=message):
            load_net(source)


def test_a_huge_file_is_refused_before_it_is_read(write):
    path = write(b"")
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(NetcError, match="too large for a definition"):
        load_net(path)


def test_random_bytes_are_one_error(write):
    generator = np.random.default_rng(0)
    for size in (1, 10, 1000, 100_000):
        with pytest.raises(NetcError):
            load_net(write(generator.bytes(size)))


def test_a_phase_is_train_or_test():
    with pytest.raises(NetcError, match="phase is TRAIN or TEST, got 'test'"):
        load_net("layer {}", phase="test")


def test_a_solver_is_loaded_and_upgraded(write):
    solver = load_solver(
        write("solver_type: ADAM base_lr: 0.01 net: 'a' stepvalue: [1, 2]", "solver.prototxt")
    )
    assert solver.get("type") == "Adam"
    assert solver.get("base_lr") == 0.01
    assert solver.list("stepvalue") == (1, 2)
    assert solver.get("momentum2") == 0.999


def test_a_solver_of_the_original_with_an_inline_net_is_loaded():
    solver = load_solver(
        Path(__file__).parent / "data/bvlc_caffe_tests/SolverTest.TestInitTrainTestNets__proto.prototxt"
    )
    assert solver.list("test_iter") == (10, 10)
    assert [state.list("stage") for state in solver.messages("test_state")] == [("with-softmax",), ()]
    assert names(solver.message("net_param"))[:2] == ["data", "innerprod"]


@pytest.mark.skipif(not ZOO.is_dir(), reason="the model zoo ../shared/zoo is not there")
def test_every_definition_of_the_zoo_is_read_and_prints_back():
    paths = [
        path for path in sorted(ZOO.rglob("*.prototxt")) if not any(each in path.name for each in CUT_OFF)
    ]
    assert len(paths) > 300
    for path in paths:
        if "labelmap" in path.name:
            parse_text(Source(path.name, path.read_text()), "LabelMap")
        elif "solver" in path.name:
            solver = load_solver(path)
            assert load_solver(to_text(solver) + "\n") == solver, path
        else:
            net = read_net(path)
            assert read_net(to_text(net) + "\n") == net, path
            load_net(path, phase="TRAIN")
