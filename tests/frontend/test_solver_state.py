import h5py
import numpy as np
import pytest

from netc.frontend.binary import parse_binary
from netc.frontend.solver_state import ResumeState, SolverState, load_solver_state, write_solver_state
from netc.ir.diagnostics import NetcError

RESUME = ResumeState(
    5, 70, (3, 4), 1.25, (1.0, 1.5), {"random": np.array([5, 70]), "h": np.ones((2, 3), np.float32)}
)
HISTORY = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.zeros((), np.float32),
    np.zeros((0, 4), np.float32),
]
STATE = SolverState(300, "net_iter_300.caffemodel", HISTORY, 2, RESUME)
SUFFIXES = ["", ".h5"]


def check_same(found, wanted):
    assert (found.iteration, found.learned_net, found.current_step) == (
        wanted.iteration, wanted.learned_net, wanted.current_step,
    )  # fmt: skip
    for a, b in zip(found.history, wanted.history, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.shape == b.shape


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_state_is_read_as_it_was_written(tmp_path, suffix):
    path = tmp_path / f"x.solverstate{suffix}"
    write_solver_state(path, STATE)
    found = load_solver_state(path)
    check_same(found, STATE)
    resume = found.resume
    assert (resume.seed, resume.train_batches, resume.test_batches) == (5, 70, (3, 4))
    assert (resume.smoothed_loss, resume.losses) == (1.25, (1.0, 1.5))
    assert resume.states["random"].dtype == np.int64
    for name, array in RESUME.states.items():
        np.testing.assert_array_equal(resume.states[name], array)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_state_without_our_part_is_read(tmp_path, suffix):
    path = tmp_path / f"x.solverstate{suffix}"
    plain = SolverState(7, "", HISTORY[:1])
    write_solver_state(path, plain)
    found = load_solver_state(path)
    check_same(found, plain)
    assert found.resume is None


def test_the_protobuf_library_reads_a_binary_state(tmp_path):
    path = tmp_path / "x.solverstate"
    write_solver_state(path, STATE)
    message = parse_binary("SolverState", path.read_bytes())
    assert (message.iter, message.learned_net, message.current_step) == (300, STATE.learned_net, 2)
    assert list(message.history[0].shape.dim) == [2, 3]
    assert list(message.history[0].data) == list(range(6))


def test_an_hdf5_state_has_the_data_sets_of_the_original(tmp_path):
    path = tmp_path / "x.solverstate.h5"
    write_solver_state(path, STATE)
    with h5py.File(path) as file:
        assert file["iter"][()].tolist() == [300]
        assert file["current_step"].dtype == np.int32
        kind = file["learned_net"].id.get_type()
        # the original reads a string of fixed length, with a zero at its end
        assert not kind.is_variable_str()
        assert kind.get_size() == len(STATE.learned_net) + 1
        assert kind.get_strpad() == h5py.h5t.STR_NULLTERM
        assert sorted(file["history"]) == ["0", "1", "2"]


def test_damaged_states_are_refused(tmp_path):
    path = tmp_path / "x.solverstate"
    write_solver_state(path, STATE)
    whole = path.read_bytes()
    for length in range(0, 50, 5):  # never between two fields
        path.write_bytes(whole[:length])
        with pytest.raises(NetcError, match=r"x\.solverstate"):
            load_solver_state(path)
    path.write_bytes(b"\x12\x03abc")
    with pytest.raises(NetcError, match="no iteration in it"):
        load_solver_state(path)
    with pytest.raises(NetcError, match="No such file"):
        load_solver_state(tmp_path / "gone.solverstate")


def test_damaged_hdf5_states_are_refused(tmp_path):
    path = tmp_path / "x.solverstate.h5"
    for wrong in (
        {"iter": "text"},
        {"iter": np.array([1, 2])},
        {"learned_net": np.array([1.0])},
        {"netc_resume": np.frombuffer(b"\xff\xff\xff", np.uint8)},
        {"history/5": np.zeros(2)},
    ):
        write_solver_state(path, SolverState(1, "x", HISTORY[:1], 0))
        with h5py.File(path, "a") as file:
            for name, value in wrong.items():
                if name in file:
                    del file[name]
                file[name] = value
        with pytest.raises(NetcError):
            load_solver_state(path)
    with h5py.File(path, "w") as file:
        file["other"] = 1
    with pytest.raises(NetcError, match="not an HDF5 file of a solver's state"):
        load_solver_state(path)


def test_a_negative_position_is_damage(tmp_path):
    path = tmp_path / "x.solverstate.h5"
    write_solver_state(path, SolverState(-1, "x", HISTORY[:1]))
    with pytest.raises(NetcError, match="negative"):
        load_solver_state(path)
