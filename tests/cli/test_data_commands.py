"""``netc data``, ``netc convert-imageset`` and ``netc compute-mean``."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile

import numpy as np
import pytest

from netc.cli import main
from netc.frontend.binary import message_class
from netc.frontend.net_file import load_net
from netc.frontend.weights import load_blob
from netc.runtime.data.datum import Datum, parse_datum, write_datum
from netc.runtime.data.open_source import data_shapes
from netc.runtime.data.resize import resize
from netc.runtime.data.stores import backend_of
from netc.runtime.data.write_database import new_database

Image = pytest.importorskip("PIL.Image")
lmdb = pytest.importorskip("lmdb")
plyvel = pytest.importorskip("plyvel")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def netc(capsys):
    """Runs a command; gives its exit code, what it printed, and its messages."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def stored(path):
    """The keys and values of a database, as its own library reads them."""
    if backend_of(path) == "LMDB":
        with (
            lmdb.open(str(path), readonly=True, lock=False) as environment,
            environment.begin() as transaction,
        ):
            return list(transaction.cursor())
    with plyvel.DB(str(path)) as database:
        return list(database)


def records(path):
    return [(key, parse_datum(value)) for key, value in stored(path)]


def random(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# ---- netc data


@pytest.fixture
def mnist(folder):
    """Small archives of MNIST: 5 and 3 digits of 4x3; one file is unpacked."""
    (folder / "raw").mkdir()
    made = {}
    for stem, count in (("train", 5), ("t10k", 3)):
        images, labels = random((count, 4, 3), count), random((count,), count + 9) % 10
        data = struct.pack(">4I", 2051, *images.shape) + images.tobytes()
        (folder / "raw" / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(data))
        data = struct.pack(">2I", 2049, count) + labels.tobytes()
        if stem == "train":
            (folder / "raw" / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(data))
        else:
            (folder / "raw" / f"{stem}-labels-idx1-ubyte").write_bytes(data)
        made[stem] = images, labels
    return made


@pytest.mark.parametrize("backend", ["lmdb", "leveldb"])
def test_mnist_becomes_the_databases_of_the_originals_example(netc, folder, mnist, backend):
    code, out, err = netc("data", "mnist", "out", "--from", "raw", "--backend", backend, "--json")
    assert code == 0, err
    files = [f"out/mnist_train_{backend}", f"out/mnist_test_{backend}"]
    assert json.loads(out) == {"data_set": "mnist", "files": files}
    assert "ShareAlike" in err
    for file, stem in zip(files, ("train", "t10k"), strict=True):
        found = records(folder / file)
        images, labels = mnist[stem]
        assert [key for key, _ in found] == [b"%08d" % index for index in range(len(images))]
        assert [datum.label for _, datum in found] == labels.tolist()
        np.testing.assert_array_equal([datum.values()[0] for _, datum in found], images)


def test_a_net_trains_on_what_the_command_makes(netc, folder, mnist):
    assert netc("data", "mnist", "examples/mnist", "--from", "raw")[0] == 0
    net = load_net(
        "layer { name: 'mnist' type: 'Data' top: 'data' top: 'label' transform_param { scale: 0.00390625 } "
        "data_param { source: 'examples/mnist/mnist_train_lmdb' batch_size: 4 backend: LMDB } }"
    )
    (source,), shapes = data_shapes(net, phase="TRAIN", seed=0, root=folder)
    assert shapes == {"data": (4, 1, 4, 3), "label": (4,)}
    images, labels = mnist["train"]
    batch = source.batch(0)
    np.testing.assert_array_equal(batch["data"][:, 0], images[:4].astype(np.float32) / 256)
    assert batch["label"].tolist() == labels[:4].tolist()


def test_pairs_of_digits_are_images_of_two_channels_labelled_by_their_equality(netc, folder, mnist):
    assert netc("data", "mnist-siamese", "out", "--from", "raw")[0] == 0
    for part, stem in (("train", "train"), ("test", "t10k")):
        images, labels = mnist[stem]
        found = records(folder / f"out/mnist_siamese_{part}_lmdb")
        assert [key for key, _ in found] == [b"%08d" % index for index in range(len(images))]
        for _, datum in found:
            first, second = (
                next(i for i, image in enumerate(images) if np.array_equal(image, channel))
                for channel in datum.values()
            )
            assert datum.label == (labels[first] == labels[second])
    again = netc("data", "mnist-siamese", "again", "--from", "raw")
    assert again[0] == 0
    assert stored(folder / "again/mnist_siamese_train_lmdb") == stored(
        folder / "out/mnist_siamese_train_lmdb"
    )


def test_what_is_made_already_is_kept(netc, folder, mnist):
    assert netc("data", "mnist", "raw")[0] == 0
    before = (folder / "raw/mnist_train_lmdb/data.mdb").stat().st_mtime_ns
    code, out, err = netc("data", "mnist", "raw")
    assert code == 0
    assert "raw/mnist_train_lmdb: is there already" in err
    assert out.splitlines() == ["raw/mnist_train_lmdb", "raw/mnist_test_lmdb"]
    assert (folder / "raw/mnist_train_lmdb/data.mdb").stat().st_mtime_ns == before


def cifar_file(count, seed):
    return random((count, 3073), seed) % np.array([10] + [256] * 3072)


@pytest.mark.parametrize("packed", [True, False])
def test_cifar10_becomes_databases_and_a_mean(netc, folder, packed):
    files = {f"data_batch_{number}.bin": cifar_file(2, number) for number in range(1, 6)}
    files["test_batch.bin"] = cifar_file(3, 9)
    (folder / "raw").mkdir()
    if packed:
        with tarfile.open(folder / "raw/cifar-10-binary.tar.gz", "w:gz") as archive:
            for name, rows in files.items():
                member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
                member.size = rows.size
                archive.addfile(member, io.BytesIO(rows.astype(np.uint8).tobytes()))
    else:
        (folder / "raw/cifar-10-batches-bin").mkdir()
        for name, rows in files.items():
            (folder / "raw/cifar-10-batches-bin" / name).write_bytes(rows.astype(np.uint8).tobytes())
    code, out, err = netc("data", "cifar10", "out", "--from", "raw")
    assert code == 0, err
    assert out.splitlines() == ["out/cifar10_train_lmdb", "out/cifar10_test_lmdb", "out/mean.binaryproto"]
    assert "Krizhevsky" in err
    rows = np.concatenate([files[f"data_batch_{number}.bin"] for number in range(1, 6)])
    found = records(folder / "out/cifar10_train_lmdb")
    assert [key for key, _ in found] == [b"%05d" % index for index in range(10)]
    assert [datum.label for _, datum in found] == rows[:, 0].tolist()
    images = rows[:, 1:].reshape(-1, 3, 32, 32)
    np.testing.assert_array_equal([datum.values() for _, datum in found], images)
    mean = load_blob(folder / "out/mean.binaryproto")
    np.testing.assert_allclose(mean[0], images.mean(axis=0), rtol=1e-6)
    assert len(records(folder / "out/cifar10_test_lmdb")) == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte.gz", None, "there is no train-images-idx3-ubyte.gz"),
        ("train-images-idx3-ubyte.gz", b"\x1f\x8b junk", "train-images-idx3-ubyte.gz"),
        ("train-images-idx3-ubyte.gz", b"junk", "is not one of MNIST's files"),
        ("train-images-idx3-ubyte.gz", struct.pack(">4I", 2051, 2**31, 2**31, 9), "damaged: 0 bytes"),
        ("train-labels-idx1-ubyte.gz", struct.pack(">2I", 2049, 1) + b"\0", "5 images, and"),
    ],
)
def test_archives_that_are_missing_or_damaged_leave_no_database(netc, folder, mnist, name, content, message):
    (folder / "raw" / name).unlink()
    if content is not None:
        (folder / "raw" / name).write_bytes(content)
    code, _, err = netc("data", "mnist", "out", "--from", "raw")
    assert code == 2
    assert message in err
    assert list(folder.glob("out/*")) == []


# ---- netc convert-imageset


@pytest.fixture
def images(folder):
    """Files of two sizes in a folder, one of them no image, and their list."""
    (folder / "images").mkdir()
    made = {"a.png": random((6, 8, 3)), "b.png": random((7, 5, 3), 1), "c.png": random((6, 8, 3), 2)}
    for name, image in made.items():
        Image.fromarray(image).save(folder / "images" / name)
    (folder / "images/bad.png").write_bytes(b"no image")
    (folder / "list.txt").write_text("a.png 3\nb.png 200\nbad.png 1\nc.png 0\n")
    return made


def bgr(image):
    return image[..., ::-1].transpose(2, 0, 1)


def test_a_list_of_images_becomes_a_database_without_what_cannot_be_read(netc, folder, images):
    code, out, err = netc("convert-imageset", "images/", "list.txt", "db", "--json")
    assert code == 0
    assert json.loads(out)["images"] == 3
    assert "left out: images/bad.png" in err
    found = records(folder / "db")
    assert [key for key, _ in found] == [b"00000000_a.png", b"00000001_b.png", b"00000003_c.png"]
    assert [datum.label for _, datum in found] == [3, 200, 0]
    for (_, datum), image in zip(found, images.values(), strict=True):
        np.testing.assert_array_equal(datum.values(), bgr(image))


def test_images_are_resized_and_made_grey(netc, folder, images):
    flags = ("--resize_width=4", "--resize_height=3", "--gray", "--check_size", "--backend=leveldb")
    assert netc("convert-imageset", *flags, "images/", "list.txt", "db")[0] == 0
    assert backend_of(folder / "db") == "LEVELDB"
    for (_, datum), image in zip(records(folder / "db"), images.values(), strict=True):
        grey = np.asarray(Image.fromarray(image).convert("L"))[np.newaxis]
        np.testing.assert_array_equal(datum.values(), resize(grey, 3, 4))


def test_encoded_files_are_kept_as_they_are(netc, folder, images):
    assert netc("convert-imageset", "--encoded", "images/", "list.txt", "db")[0] == 0
    (key, datum), *_ = records(folder / "db")
    assert key == b"00000000_a.png"
    assert datum.encoded
    assert datum.data == (folder / "images/a.png").read_bytes()
    raw = dict(stored(folder / "db"))[key]
    assert not message_class("Datum").FromString(raw).HasField("channels")


def test_images_are_encoded_anew_where_they_are_resized_or_of_another_type(netc, folder, images):
    flags = ("--encode_type", "png", "--resize_width", "4", "--resize_height", "3")
    assert netc("convert-imageset", *flags, "images/", "list.txt", "db")[0] == 0
    (_, datum), *_ = records(folder / "db")
    decoded = np.asarray(Image.open(io.BytesIO(datum.data)))
    np.testing.assert_array_equal(bgr(decoded), resize(bgr(images["a.png"]), 3, 4))
    assert netc("convert-imageset", "--encode_type", "jpg", "images/", "list.txt", "jpg")[0] == 0
    (_, datum), *_ = records(folder / "jpg")
    assert Image.open(io.BytesIO(datum.data)).format == "JPEG"


def test_shuffling_keeps_labels_with_their_images(netc, folder, images):
    (folder / "many.txt").write_text("".join(f"{'abc'[i % 3]}.png {i}\n" for i in range(30)))
    assert netc("convert-imageset", "--shuffle", "images/", "many.txt", "db")[0] == 0
    found = records(folder / "db")
    labels = [datum.label for _, datum in found]
    assert sorted(labels) == list(range(30))
    assert labels != sorted(labels)
    assert all(key.decode()[9] == "abc"[datum.label % 3] for key, datum in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("images/", "none.txt", "db"), "none.txt: No such file"),
        (("nowhere/", "list.txt", "db"), "none of the 4 images can be read"),
        (("images/", "list.txt", "images"), "images: exists already"),
        (("--check_size", "images/", "list.txt", "db"), "images/b.png: 105 bytes of data"),
        (("--resize_width=4", "images/", "list.txt", "db"), "must be given together"),
        (("--resize_width=65000", "--resize_height=65000", "images/", "list.txt", "db"), "too large"),
        (("--encode_type=mp3", "images/", "list.txt", "db"), "cannot be encoded as 'mp3'"),
        (("--encode_type=pdf", "images/", "list.txt", "db"), "cannot be encoded as 'pdf'"),
        (("--encode_type=blp", "images/", "list.txt", "db"), "cannot be encoded as 'blp'"),
    ],
)
def test_a_conversion_that_fails_leaves_nothing_behind(netc, folder, images, arguments, message):
    before = set(folder.iterdir())
    code, _, err = netc("convert-imageset", *arguments)
    assert code == 2
    assert message in err
    assert set(folder.iterdir()) == before


def test_an_image_beyond_the_limit_of_its_encoding_is_left_out_with_the_reason(netc, folder, images):
    Image.fromarray(np.zeros((1, 16384, 3), np.uint8)).save(folder / "images/wide.png")
    (folder / "wide.txt").write_text("a.png 1\nwide.png 2\n")
    code, _, err = netc("convert-imageset", "--encode_type=webp", "images/", "wide.txt", "db")
    assert code == 0
    assert "left out: images/wide.png: an image of 16384 x 1 cannot be encoded as 'webp'" in err
    assert [datum.label for _, datum in records(folder / "db")] == [1]


# ---- netc compute-mean


def test_the_mean_of_a_database_is_printed_and_written_as_the_original_writes_it(netc, folder):
    images = random((600, 2, 3, 4))
    with new_database(folder / "db", "lmdb") as put:
        for index, image in enumerate(images):
            put(b"%08d" % index, write_datum(Datum(2, 3, 4, image.tobytes(), index)))
    code, out, _ = netc("compute-mean", "db", "mean.binaryproto", "--json")
    assert code == 0
    printed = json.loads(out)
    assert (printed["images"], printed["shape"]) == (600, [2, 3, 4])
    np.testing.assert_allclose(printed["mean_value"], images.mean(axis=(0, 2, 3)), rtol=1e-6)
    blob = message_class("BlobProto").FromString((folder / "mean.binaryproto").read_bytes())
    assert (blob.num, blob.channels, blob.height, blob.width) == (1, 2, 3, 4)
    expected = images.sum(axis=0).astype(np.float32) / np.float32(600)
    np.testing.assert_array_equal(np.array(blob.data, np.float32), expected.ravel())
    _, out, _ = netc("compute-mean", "--backend", "lmdb", "db")
    assert out.startswith("600 images\nmean_value channel [0]: ")


def test_the_mean_counts_encoded_images_and_floats(netc, folder, images):
    assert netc("convert-imageset", "--encoded", "images/", "list.txt", "encoded")[0] == 0
    code, _, err = netc("compute-mean", "encoded")
    assert code == 2
    assert "3x7x5 among others of 3x6x8" in err
    floats = np.random.default_rng(0).random((3, 4)).astype(np.float32)
    with new_database(folder / "db", "lmdb") as put:
        for index, row in enumerate(floats):
            put(b"%d" % index, write_datum(Datum(1, 2, 2, b"", 0, row)))
    assert netc("compute-mean", "db", "mean.binaryproto")[0] == 0
    np.testing.assert_allclose(load_blob(folder / "mean.binaryproto").ravel(), floats.mean(axis=0), rtol=1e-6)


def test_a_database_that_is_none_has_no_mean(netc, folder):
    (folder / "empty").mkdir()
    for name, message in (("none", "does not exist"), ("empty", "there is no LMDB or LevelDB database")):
        code, _, err = netc("compute-mean", name)
        assert code == 2
        assert message in err
