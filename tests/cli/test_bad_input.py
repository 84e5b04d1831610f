"""Whatever a user feeds netc, the answer is one located message, soon, in little memory; never a traceback."""

import numpy as np
import pytest

from netc.cli import main

MOST_CPU_S = 2.0
MOST_MEGABYTES = 200


def check_refused(outcome, *parts):
    """The outcome is a good refusal, and its message holds all of ``parts``."""
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert outcome.err.count("error: ") == 1, outcome.err
    assert "Traceback" not in outcome.err
    assert "internal error" not in outcome.err
    for part in parts:
        assert part in outcome.err
    assert outcome.cpu_s < MOST_CPU_S
    assert outcome.megabytes < MOST_MEGABYTES


# what to replace in the net, by what, and what the message must say and point at
WRONG_NETS = {
    "unknown layer": (
        'type: "ReLU"',
        'type: "RelU"',
        ["variant.prototxt:5:28", "unknown layer type 'RelU'", "ReLU"],
    ),
    "unknown enum": ("kernel_size: 3", "kernel_size: 3 engine: TURBO", ["variant.prototxt:4", "TURBO"]),
    "missing bottom": ('bottom: "fc"', 'bottom: "fd"', ["variant.prototxt:7", "'fd'", "fc"]),
    "zero stride": ("kernel_size: 3", "kernel_size: 3 stride: 0", ["variant.prototxt:4", "stride"]),
    "zero kernel": ("kernel_size: 3", "kernel_size: 0", ["variant.prototxt:4", "kernel"]),
    "kernel too large": ("kernel_size: 3", "kernel_size: 9", ["variant.prototxt:", "layer 'conv'"]),
    "negative size": ("dim: 3", "dim: -3", ["variant.prototxt:2", "-3"]),
    "no outputs": ("num_output: 5", "num_output: 0", ["variant.prototxt:6", "num_output"]),
    "absurd input": ("dim: 6 dim: 6", "dim: 999999 dim: 999999", ["variant.prototxt:2", "999999"]),
    "absurd integer": ("dim: 3", "dim: 99999999999999999999", ["variant.prototxt:2", "99999999999999999999"]),
    "absurd outputs": ("num_output: 5", "num_output: 4294967295", ["variant.prototxt:6", "4294967295"]),
    "absurd padding": ("kernel_size: 3", "kernel_size: 3 pad: 4000000000", ["variant.prototxt:"]),
    "axis beyond": (
        'type: "Softmax"',
        'type: "Softmax" softmax_param { axis: 7 }',
        ["variant.prototxt:7", "axis 7"],
    ),
    "wrong type": ("num_output: 5", 'num_output: "five"', ["variant.prototxt:6", "five"]),
    "open brace": ("inner_product_param { num_output: 5 } }", "inner_product_param {", ["variant.prototxt:"]),
    "open string": ('"small"', '"small', ["variant.prototxt:1"]),
    "garbage": ('name: "small"', "\x01\x02\x03", ["variant.prototxt:1"]),
    "blob made twice": ('top: "prob"', 'top: "conv"', ["variant.prototxt:7", "conv"]),
    "unknown filler": (
        "kernel_size: 3",
        'kernel_size: 3 weight_filler { type: "magic" }',
        ["variant.prototxt:4", "unknown filler type 'magic'"],
    ),
}


@pytest.mark.parametrize("name", WRONG_NETS)
def test_a_wrong_net_is_refused_where_it_is_wrong(netc, variant, name):
    old, new, parts = WRONG_NETS[name]
    check_refused(netc("compile", variant(old, new)), *parts)


DEEP = 100_000
TEXTS = {
    "empty": (b"", ["the file is empty"]),
    "blanks": (b" \n\t\n", ["the file is empty"]),
    "not UTF-8": (b'name: "\xe9t\xe9"', ["UTF-8"]),
    "UTF-16": ('name: "x"'.encode("utf-16"), []),
    "binary": (bytes(range(256)) * 8, []),
    "deep nesting": (b"layer { " * DEEP, []),
    "deep message": (b"layer { a " + b"{ a " * DEEP, []),
    "deep list": (b"x: " + b"[" * DEEP, []),
    "one long line": (b"#" + b"x" * 3_000_000 + b"\nname: }", []),
    "an image": (b"\x89PNG\r\n\x1a\n" + bytes(1000), []),
    "a web page": (b"<!DOCTYPE html>\n<html><body>404: Not Found</body></html>", []),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n", []),
    "a solver": (b'net: "x.prototxt"\nbase_lr: 0.01\n', []),
    "json": (b'{"layers": []}', []),
    "no layers": (b'name: "x"', []),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_that_is_no_net_is_refused(netc, tmp_path, name):
    content, parts = TEXTS[name]
    (tmp_path / "x.prototxt").write_bytes(content)
    check_refused(netc("compile", "x.prototxt"), "x.prototxt", *parts)


@pytest.mark.parametrize("command", ["compile", "inspect", "time", "draw"])
def test_a_missing_file_is_named(netc, tmp_path, command):
    check_refused(netc(command, "nowhere.prototxt"), "nowhere.prototxt: No such file or directory")
    check_refused(netc(command, tmp_path), "directory")


WRONG_WEIGHTS = {
    "empty": lambda data: b"",
    "text": lambda data: b"layer { }\n",
    "one byte": lambda data: data[:1],
    "half": lambda data: data[: len(data) // 2],
    "all but one byte": lambda data: data[:-1],
    "zeros": lambda data: bytes(4096),
    "ones": lambda data: b"\xff" * 4096,
    "html": lambda data: b"<html><body>Not Found</body></html>",
    "pickle": lambda data: b"\x80\x04\x95" + data[3:],
    "a length beyond the file": lambda data: b"\xa2\x06\xff\xff\xff\xff\x0f" + data,
    "an endless varint": lambda data: b"\x0a" + b"\xff" * 64,
}


@pytest.mark.parametrize("name", WRONG_WEIGHTS)
def test_damaged_weights_are_refused(netc, net_file, weights_file, name):
    weights_file.write_bytes(WRONG_WEIGHTS[name](weights_file.read_bytes()))
    check_refused(netc("compile", net_file, "-w", weights_file), "small.caffemodel")


def test_weights_of_another_shape_are_refused_at_the_layer(netc, variant, weights_file):
    outcome = netc("compile", variant("kernel_size: 3", "kernel_size: 2"), "-w", weights_file)
    check_refused(outcome, "variant.prototxt:3:1", "layer 'conv'", "4x3x3x3", "4x3x2x2")


def test_weights_without_a_bias_are_refused_at_the_layer(netc, variant, weights_file):
    outcome = netc("compile", variant("num_output: 5", "num_output: 5 bias_term: false"), "-w", weights_file)
    check_refused(outcome, "variant.prototxt:6:1", "layer 'fc'")


def test_flipped_bits_are_refused_or_change_a_number(
    tmp_path, net_file, weights_file, capsys, monkeypatch, cache
):
    monkeypatch.chdir(tmp_path)
    data = weights_file.read_bytes()
    rng = np.random.default_rng(0)
    # the bytes beside the numbers are few, so most flips are put there
    header = [i for i in range(len(data)) if i < 40 or data[i : i + 4] == b"conv" or 440 < i < 520]
    for position in [*header[::2], *rng.integers(0, len(data), 30).tolist()]:
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(rng.integers(0, 8))
        weights_file.write_bytes(damaged)
        code = main(["compile", str(net_file), "-w", str(weights_file), "--target", "numpy"])
        message = capsys.readouterr().err
        assert code in (0, 2), message
        assert "Traceback" not in message


WRONG_ARGUMENTS = {
    "input shape": (["--input-shape", "data"], "is not an input shape"),
    "zero extent": (["--input-shape", "data=0,3,6,6"], "dimension '0'"),
    "other rank": (["--input-shape", "data=6"], "conv"),
    "unknown input": (["--input-shape", "date=1,3,6,6"], "'date'"),
    "threads": (["--threads", "0"], "threads"),
    "target": (["--target", "abacus"], "abacus"),
    "keep": (["--keep", "nothing"], "no blob 'nothing'"),
    "pass": (["--print-after", "magic"], "no pass 'magic' ran"),
    "output folder": (["-o", "no/such/folder.netc"], "No such file or directory"),
    "huge batch": (["--input-shape", "data=2000000000,3,6,6"], "2000000000"),
}


@pytest.mark.parametrize("name", WRONG_ARGUMENTS)
def test_wrong_arguments_are_named(netc, net_file, name):
    arguments, part = WRONG_ARGUMENTS[name]
    check_refused(netc("compile", net_file, *arguments), part)


@pytest.mark.parametrize(
    "arguments",
    [
        ["comp"],
        ["compile"],
        ["compile", "x", "-O9"],
        ["compile", "x", "--emit", "c"],
        ["time", "x", "--repeats", "0"],
    ],
)
def test_wrong_usage_shows_the_usage(netc, arguments):
    outcome = netc(*arguments)
    assert outcome.code == 2
    assert "Usage: netc" in outcome.err
    assert outcome.out == ""


def test_wrong_files_to_run_on_are_named(netc, net_file, tmp_path):
    np.save(tmp_path / "small.npy", np.zeros((1, 3, 6, 6)))
    np.save(tmp_path / "rank.npy", np.zeros((3, 6, 6)))
    np.save(tmp_path / "text.npy", np.array(["a"]))
    np.savez(tmp_path / "other.npz", label=np.zeros(1))
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "object.npy").write_bytes((tmp_path / "small.npy").read_bytes().replace(b"<f8", b"|O8"))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:100])
    (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\xfd")
    check_refused(netc("run", net_file, "nowhere.npy"), "nowhere.npy")
    check_refused(netc("run", net_file, "empty.npy"), "empty.npy")
    check_refused(netc("run", net_file, "object.npy"), "object.npy")
    check_refused(netc("run", net_file, "rank.npy"), "data")
    check_refused(netc("run", net_file, "text.npy"), "data")
    check_refused(netc("run", net_file, "other.npz"), "label")
    check_refused(netc("run", net_file, "cut.npz"), "cut.npz")
    check_refused(netc("run", net_file, "image.png"), "image.png")
    check_refused(netc("run", net_file, "image.png", "small.npy"), "image.png")
    check_refused(netc("run", net_file, "date=small.npy"), "date")
    check_refused(netc("run", net_file, "small.npy", "--labels", "labels.txt"), "labels.txt", "UTF-8")
    check_refused(netc("run", net_file, "image.png", "--mean", "1,2,x"), "1,2,x")
    check_refused(netc("run", net_file, "image.png", "--image-dims", "3"), "'3'")


def test_a_run_that_no_machine_has_memory_for_is_refused(netc, net_file, tmp_path):
    shape = ("--fully-convolutional", "--input-shape", "data=1,3,2000000,2000000")
    assert netc("compile", net_file, *shape, "-o", "huge.netc").code == 0
    check_refused(netc("time", "huge.netc"), "TB", "of memory")
    image_module = pytest.importorskip("PIL.Image")
    image_module.new("RGB", (4, 4)).save(tmp_path / "x.png")
    check_refused(netc("run", "huge.netc", "x.png"), "TB", "of memory")


@pytest.mark.parametrize("damage", ["cut", "flip", "zip"])
def test_damaged_artefacts_are_refused(netc, net_file, tmp_path, damage):
    assert netc("compile", net_file, "-o", "small.netc").code == 0
    path = tmp_path / "small.netc"
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "flip":
        data[data.index(b"module small")] ^= 1
    else:
        data = bytearray(b"PK\x05\x06" + bytes(18))
    path.write_bytes(data)
    np.save(tmp_path / "x.npy", np.zeros((1, 3, 6, 6)))
    check_refused(netc("run", "small.netc", "x.npy"), "small.netc")
