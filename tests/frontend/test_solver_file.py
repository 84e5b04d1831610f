import os

import pytest

from netc.frontend.message import Message
from netc.frontend.solver_file import read_solver
from netc.ir.diagnostics import NetcError

NET = """name: "n"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "data" top: "loss" include { phase: TRAIN } }
layer { name: "a" type: "ReLU" bottom: "ip" top: "a" include { phase: TEST stage: "a" } }
layer { name: "b" type: "ReLU" bottom: "ip" top: "b" include { phase: TEST min_level: 2 } }
"""
RATE = 'base_lr: 0.1 lr_policy: "fixed" '


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    return tmp_path


def solver(text):
    return read_solver(f"{text}\n")


def layers(net):
    return [layer.text("name") for layer in net.message.messages("layer")]


def test_one_net_serves_training_and_every_test_in_its_state(folder):
    found = solver(
        f'net: "net.prototxt" {RATE} test_interval: 1 test_iter: 3 test_iter: 4 '
        'test_state { stage: "a" } test_state { level: 2 }'
    )
    assert layers(found.train) == ["data", "ip", "loss"]
    assert [layers(net) for net in found.tests] == [["data", "ip", "a"], ["data", "ip", "b"]]
    assert [net.iterations for net in found.tests] == [3, 4]
    assert [net.source for net in found.tests] == ["net file: net.prototxt"] * 2
    assert (found.train.phase, found.tests[0].phase) == ("TRAIN", "TEST")


def test_nets_of_their_own_come_before_the_shared_one(folder):
    found = solver(
        f'{RATE} test_interval: 1 test_iter: 1 test_iter: 2 test_iter: 3 net: "net.prototxt" '
        'test_net: "net.prototxt" test_net_param { layer { name: "only" type: "Input" top: "x" } }'
    )
    assert [net.source for net in found.tests] == [
        "test_net_param", "test_net file: net.prototxt", "net file: net.prototxt"
    ]  # fmt: skip
    assert layers(found.tests[0]) == ["only"]


def test_the_state_of_the_net_and_then_of_the_solver_and_the_flags_count(folder):
    (folder / "net.prototxt").write_text('state { stage: "s" level: 1 }\n' + NET)
    text = f'net: "net.prototxt" {RATE} train_state {{ stage: "t" }}\n'
    state = read_solver(text, stages=["u"]).train.message.message("state")
    assert (state.texts("stage"), state.integer("level"), state.text("phase")) == (
        ("s", "t", "u"),
        1,
        "TRAIN",
    )
    assert read_solver(text, level=5).train.message.message("state").integer("level") == 5


def test_a_net_is_looked_for_beside_the_solver_where_the_current_folder_lacks_it(folder, monkeypatch):
    (folder / "models").mkdir()
    os.rename("net.prototxt", "models/net.prototxt")
    path = folder / "models" / "solver.prototxt"
    path.write_text(f'{RATE}\nnet: "somewhere/net.prototxt"')
    found = read_solver(path)
    assert layers(found.train) == ["data", "ip", "loss"]
    (note,) = found.warnings
    assert "solver.prototxt:2:6: note: no 'somewhere/net.prototxt' in the current directory" in note
    os.unlink("models/net.prototxt")
    with pytest.raises(
        NetcError, match=r"solver.prototxt:2:6: error: the net 'somewhere/net.prototxt' does not"
    ):
        read_solver(path)


def test_an_old_solver_type_is_upgraded(folder):
    found = solver(f'net: "net.prototxt" {RATE} solver_type: ADAGRAD')
    assert found.param.text("type") == "AdaGrad"
    with pytest.raises(NetcError, match="both"):
        solver(f'net: "net.prototxt" {RATE} solver_type: ADAGRAD type: "Adam"')


def test_snapshots_are_named_after_the_solver_where_it_names_none(folder):
    text = f'net: "net.prototxt" {RATE}'
    path = folder / "my_solver.prototxt"
    path.write_text(text)
    assert read_solver(path).snapshot_prefix == str(folder / "my_solver")
    (folder / "out").mkdir()
    path.write_text(text + ' snapshot_prefix: "out"')
    assert read_solver(path).snapshot_prefix == os.path.join("out", "my_solver")
    path.write_text(text + ' snapshot_prefix: "out/x"')
    assert read_solver(path).snapshot_prefix == "out/x"


def test_a_solver_built_in_python_is_read_too(folder):
    message = Message("SolverParameter")
    message.set("net", "net.prototxt")
    message.set("base_lr", 0.1)
    message.set("lr_policy", "fixed")
    assert layers(read_solver(message, kind="Adam").train) == ["data", "ip", "loss"]
    assert not message.has("type")


def test_what_has_no_effect_is_said(folder):
    found = solver(f'net: "net.prototxt" {RATE} snapshot_diff: true my_field: 3')
    assert len(found.warnings) == 2
    assert "snapshot_diff has no effect" in found.warnings[0]
    assert "ignored unknown field my_field" in found.warnings[1]


TWO = 'test_net: "net.prototxt" test_net: "net.prototxt"'
WRONG = {
    "no net": (RATE, "names the net to train in one of the fields"),
    "two nets": (f'{RATE} net: "net.prototxt" train_net: "net.prototxt"', "this one has net and train_net"),
    "no policy": ('net: "net.prototxt" base_lr: 1', "'lr_policy' is missing"),
    "no rate": ('net: "net.prototxt" lr_policy: "fixed"', "'base_lr' is missing"),
    "unknown policy": ('net: "net.prototxt" base_lr: 1 lr_policy: "stpe"', "did you mean 'step'"),
    "step without size": (
        'net: "net.prototxt" base_lr: 1 lr_policy: "step" gamma: 0.1',
        "the policy 'step' needs 'stepsize'",
    ),
    "step of zero": (
        'net: "net.prototxt" base_lr: 1 lr_policy: "step" gamma: 0.1 stepsize: 0',
        "'stepsize' must be at least 1",
    ),
    "negative gamma": (
        'net: "net.prototxt" base_lr: 1 lr_policy: "exp" gamma: -1',
        "'gamma' must be at least 0",
    ),
    "poly without end": (
        'net: "net.prototxt" base_lr: 1 lr_policy: "poly" power: 1',
        "the policy 'poly' needs 'max_iter'",
    ),
    "unknown type": (f'net: "net.prototxt" {RATE} type: "Adm"', "did you mean 'Adam'"),
    "momentum": (
        f'net: "net.prototxt" {RATE} type: "AdaGrad" momentum: 0.9',
        "momentum cannot be used with AdaGrad",
    ),
    "rms decay": (
        f'net: "net.prototxt" {RATE} type: "RMSProp" rms_decay: 1',
        "'rms_decay' lies in 0 <= x < 1",
    ),
    "regularization": (f'net: "net.prototxt" {RATE} regularization_type: "L3"', "L1 or L2, got 'L3'"),
    "average_loss": (f'net: "net.prototxt" {RATE} average_loss: 0', "'average_loss' must be at least 1"),
    "iter_size": (f'net: "net.prototxt" {RATE} iter_size: 0', "'iter_size' must be at least 1"),
    "too few test_iter": (
        f'{RATE} net: "net.prototxt" {TWO} test_interval: 1 test_iter: 1',
        "there are 2 test nets, 1 test_iter",
    ),
    "too many test_iter": (
        f'{RATE} train_net: "net.prototxt" test_interval: 1 test_iter: 1',
        "there are 0 test nets, 1 test_iter",
    ),
    "test_state": (
        f'{RATE} net: "net.prototxt" test_interval: 1 test_iter: 1 test_state {{ }} test_state {{ }}',
        "there are 1 test nets and 2 test_state",
    ),
    "no test_interval": (f'{RATE} net: "net.prototxt" test_iter: 1', "'test_interval' must be at least 1"),
    "missing net": (f'{RATE} net: "gone.prototxt"', "the net 'gone.prototxt' does not exist"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_solver_that_cannot_be_followed_is_refused_where_it_is_wrong(folder, case):
    text, message = WRONG[case]
    with pytest.raises(NetcError) as error:
        solver(text)
    assert message in error.value.render()
    assert error.value.location is not None
    assert error.value.location.line == 1


def test_a_solver_for_the_gpu_gets_one_note(folder):
    (note,) = solver(f'net: "net.prototxt" {RATE} solver_mode: GPU').warnings
    assert "note: solver_mode: GPU is ignored: the CPU does the work" in note
    assert solver(f'net: "net.prototxt" {RATE} solver_mode: CPU').warnings == ()
    assert solver(f'net: "net.prototxt" {RATE}').warnings == ()
