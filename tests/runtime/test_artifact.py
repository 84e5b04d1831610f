import json
import zipfile

import numpy as np
import pytest

import netc
from netc.runtime import read_artifact as reader


@pytest.fixture(params=["numpy", "cpu"])
def saved(request, tmp_path, tiny, tiny_weights):
    module = netc.compile(tiny, tiny_weights, target=request.param, keep=["pool"])
    path = tmp_path / "tiny.netc"
    module.save(path)
    return module, path


def _rewrite(path, change):
    """Write the file anew with ``change(name, data)`` for each member; None leaves it out."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            changed = change(name, data)
            if changed is not None:
                archive.writestr(name, changed)


def _edit_manifest(path, edit):
    def change(name, data):
        if name != "manifest.json":
            return data
        manifest = json.loads(data)
        edit(manifest)
        return json.dumps(manifest)

    _rewrite(path, change)


def test_a_saved_module_runs_as_before(saved, images):
    module, path = saved
    loaded = netc.load(path)
    assert loaded.inputs == module.inputs
    assert loaded.outputs == module.outputs
    np.testing.assert_array_equal(loaded.run(data=images)["prob"], module.run(data=images)["prob"])
    np.testing.assert_array_equal(loaded.blob("pool"), module.blob("pool"))


def test_loading_compiles_nothing(saved, images, monkeypatch):
    _, path = saved
    monkeypatch.setattr("netc.runtime.compiler.compile_launches", None)
    monkeypatch.setattr("netc.runtime.compiler.lower_net", None)
    netc.load(path).run(data=images)


def test_a_loaded_module_still_takes_other_shapes(saved, images):
    module, path = saved
    loaded = netc.load(path)
    np.testing.assert_array_equal(loaded.run(data=images[:1])["prob"], module.run(data=images[:1])["prob"])


def test_edited_parameters_are_saved(saved, images):
    module, path = saved
    module.params["fc"][1][...] = np.arange(5)
    expected = module.run(data=images)["prob"]
    module.save(path)
    loaded = netc.load(path)
    np.testing.assert_array_equal(loaded.params["fc"][1], np.arange(5))
    np.testing.assert_array_equal(loaded.run(data=images)["prob"], expected)


def test_symbolic_and_fully_convolutional_modules_survive(tmp_path, tiny, tiny_weights):
    image = np.random.default_rng(0).random((1, 3, 12, 10), np.float32)
    for target in ("numpy", "cpu"):
        module = netc.compile(
            tiny,
            tiny_weights,
            target=target,
            input_shapes={"data": ("N", 3, "H", "W")},
            fully_convolutional=True,
        )
        module.save(tmp_path / "m.netc")
        loaded = netc.load(tmp_path / "m.netc")
        assert loaded.inputs == {"data": ("N", 3, "H", "W")}
        np.testing.assert_array_equal(loaded.run(data=image)["prob"], module.run(data=image)["prob"])


def test_equal_modules_give_equal_files(tmp_path, tiny, tiny_weights):
    for name in ("a", "b"):
        netc.compile(tiny, tiny_weights).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_code_for_another_machine_is_compiled_again(saved, images, monkeypatch):
    module, path = saved
    expected = module.run(data=images)["prob"]
    compiled = []
    real = reader.compile_message
    monkeypatch.setattr(reader, "compile_message", lambda *a: compiled.append(a) or real(*a))

    def other_machine(manifest):
        if manifest["machine"]:
            manifest["machine"]["cpu"] = "z80"

    _edit_manifest(path, other_machine)
    np.testing.assert_array_equal(netc.load(path).run(data=images)["prob"], expected)
    assert len(compiled) == (module.compiled.machine is not None)


def test_the_number_of_threads_can_be_changed_when_loading(saved, images):
    module, path = saved
    loaded = netc.load(path, threads=1)
    np.testing.assert_array_equal(loaded.run(data=images)["prob"], module.run(data=images)["prob"])


def test_every_truncation_is_an_error(saved):
    _, path = saved
    data = path.read_bytes()
    for size in [*range(0, 64), *np.linspace(64, len(data) - 1, 60, dtype=int).tolist()]:
        path.write_bytes(data[:size])
        with pytest.raises(netc.NetcError, match=r"tiny\.netc"):
            netc.load(path)


def test_a_changed_byte_is_an_error_or_changes_nothing(saved, images):
    module, path = saved
    expected = module.run(data=images)["prob"]
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    messages: list[str] = []
    for position in rng.integers(0, len(data), 250).tolist():
        damaged = bytearray(data)
        damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            loaded = netc.load(path)
        except netc.NetcError as error:
            messages.append(str(error))
        else:  # bytes that mean nothing, such as the time of a member
            np.testing.assert_array_equal(loaded.run(data=images)["prob"], expected)
    assert len(messages) > 200
    assert all("tiny.netc" in message for message in messages)


def test_a_file_that_is_no_artefact_says_so(tmp_path):
    path = tmp_path / "x.netc"
    with pytest.raises(netc.NetcError, match="No such file"):
        netc.load(path)
    path.write_text("name: 'net'")
    with pytest.raises(netc.NetcError, match="not a compiled net"):
        netc.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(netc.NetcError, match=r"has no manifest\.json"):
        netc.load(path)
    with pytest.raises(netc.NetcError, match="Is a directory"):
        netc.load(tmp_path)


def test_compressed_members_are_refused(saved):
    _, path = saved
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["params/0.npy"] += bytes(50 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(netc.NetcError, match="is compressed"):
        netc.load(path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m.update(format=1), "format 1; this netc reads format 5"),
        (lambda m: m.pop("members"), "members is missing"),
        (lambda m: m["options"].pop("keep"), "the options are"),
        (lambda m: m["options"].update(opt_level="3"), "opt_level is missing or no int"),
        (lambda m: m["options"].update(phase="X"), "phase is TRAIN or TEST"),
        (lambda m: m["options"].update(input_shapes={"data": ["("]}), "expected a number or a name"),
        (lambda m: m["members"]["net.prototxt"].update(bytes=1), r"net\.prototxt has \d+ bytes, not 1"),
        (lambda m: m["members"]["tensor.ir"].update(sha256="0"), r"content of tensor\.ir has changed"),
        (lambda m: m["places"].pop(), "places are not those of its layers"),
        (lambda m: m["places"].__setitem__(0, ["a", 1]), "is no place in a text"),
        (lambda m: m["params"].pop(), "parameters are not those of its net"),
        (lambda m: m["params"][0].update(shape=[20, 3, 9, 1]), "parameters are not those of its net"),
        (lambda m: m.update(machine={"name": "cpu"}), "the machine is not described"),
    ],
)
def test_wrong_manifests_are_named(saved, edit, message):
    _, path = saved
    _edit_manifest(path, edit)
    with pytest.raises(netc.NetcError, match=message):
        netc.load(path)


@pytest.mark.parametrize(
    ("member", "data", "message"),
    [
        ("manifest.json", b"{", "damaged"),
        ("manifest.json", b"[" * 100_000, "nests too deep"),
        ("manifest.json", b"\xff\xfe", "damaged"),
        ("params/0.npy", None, r"params/0\.npy is missing"),
        ("params/0.npy", b"", "damaged"),
        (
            "params/0.npy",
            b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
            "damaged",
        ),
    ],
)
def test_wrong_members_are_named(saved, member, data, message):
    _, path = saved
    _rewrite(path, lambda name, old: data if name == member else old)
    with pytest.raises(netc.NetcError, match=message):
        netc.load(path)


def test_a_kernel_that_is_missing_is_noticed(tmp_path, tiny, tiny_weights):
    path = tmp_path / "tiny.netc"
    netc.compile(tiny, tiny_weights).save(path)
    _rewrite(path, lambda name, data: None if name.startswith("kernels/") else data)
    with pytest.raises(netc.NetcError, match="is missing"):
        netc.load(path)


def test_saving_never_leaves_half_a_file(tmp_path, tiny, monkeypatch):
    module = netc.compile(tiny, target="numpy")
    path = tmp_path / "tiny.netc"
    module.save(path)
    before = path.read_bytes()

    def fail(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.lib.format.write_array", fail)
    with pytest.raises(netc.NetcError, match="No space left"):
        module.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.netc"]
    with pytest.raises(netc.NetcError, match="No such file or directory"):
        module.save(tmp_path / "no" / "x.netc")
