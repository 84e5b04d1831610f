"""The settings ``transform_param``, on raw records, encoded ones and files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from small_data_sets import datums, make_lmdb, pixels, write_mean

from netc.frontend.net_file import load_net
from netc.ir.diagnostics import NetcError
from netc.runtime.data.datum import Datum, write_datum
from netc.runtime.data.open_source import data_shapes

Image = pytest.importorskip("PIL.Image")

SHAPE = (3, 6, 7)
COUNT = 5


@pytest.fixture
def source(open_layer, tmp_path):
    """Opens a database of five images under given settings; a layer of several batches an epoch."""

    def opened(settings: str, phase: str = "TRAIN", images=None, seed: int = 1):
        if not (tmp_path / "db").exists():
            images = pixels(COUNT, SHAPE) if images is None else images
            make_lmdb(tmp_path / "db", datums(images, range(len(images))))
        text = (
            "type: 'Data' top: 'data' top: 'label' data_param { source: 'db' batch_size: 4 backend: LMDB } "
            f"transform_param {{ {settings} }}"
        )
        return open_layer(text, phase=phase, seed=seed)

    return opened


def records(index: int) -> np.ndarray:
    return pixels(COUNT, SHAPE)[[(index * 4 + i) % COUNT for i in range(4)]].astype(np.float32)


def places(images: np.ndarray, crops: np.ndarray, size: int) -> list[tuple[int, int, bool]]:
    """(top, left, mirrored) of each crop in its image; there must be one."""
    found = []
    for image, crop in zip(images, crops, strict=True):
        candidates = [
            (top, left, mirrored)
            for top in range(image.shape[1] - size + 1)
            for left in range(image.shape[2] - size + 1)
            for mirrored in (False, True)
            if np.array_equal(
                image[:, top : top + size, left : left + size][:, :, :: -1 if mirrored else 1], crop
            )
        ]
        assert len(candidates) == 1
        found.append(candidates[0])
    return found


def test_mean_values_and_scale_apply_to_each_channel(source):
    found = source("mean_value: 10 mean_value: 20 mean_value: 30 scale: 0.5").batch(1)["data"]
    mean = np.array([10, 20, 30], np.float32).reshape(3, 1, 1)
    np.testing.assert_array_equal(found, (records(1) - mean) * np.float32(0.5))


def test_one_mean_value_serves_all_channels(source):
    np.testing.assert_array_equal(source("mean_value: 7").batch(0)["data"], records(0) - 7)


def test_the_test_phase_crops_the_middle_and_mirrors_by_chance(source):
    opened = source("crop_size: 3 mirror: true", phase="TEST")
    assert opened.tops["data"] == (4, 3, 3, 3)
    found = [place for index in range(8) for place in places(records(index), opened.batch(index)["data"], 3)]
    assert {place[:2] for place in found} == {(1, 2)}
    assert {place[2] for place in found} == {False, True}


def test_the_training_phase_crops_anywhere(source):
    opened = source("crop_size: 4")
    found = [place for index in range(30) for place in places(records(index), opened.batch(index)["data"], 4)]
    assert {place[:2] for place in found} == {(top, left) for top in range(3) for left in range(4)}
    assert not any(place[2] for place in found)


def test_an_item_is_transformed_anew_in_every_epoch(source):
    opened = source("crop_size: 3 mirror: true")
    of_one_record = {
        places(records(index)[:1], opened.batch(index)["data"][:1], 3)[0] for index in range(0, 50, COUNT)
    }
    assert len(of_one_record) > 3


def test_crops_follow_from_the_seed(source):
    settings = "crop_size: 3 mirror: true"
    one, same, other = (source(settings, seed=seed).batch(2)["data"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_mean_file_is_cropped_with_the_image_and_mirrored_with_it(source, tmp_path):
    mean = np.random.default_rng(3).random(SHAPE).astype(np.float32)
    write_mean(tmp_path / "mean.binaryproto", mean)
    plain = source("crop_size: 3 mirror: true")
    less = source("crop_size: 3 mirror: true mean_file: 'mean.binaryproto' scale: 0.25")
    for index in range(5):
        where = places(records(index), plain.batch(index)["data"], 3)
        expected = [
            (image - mean)[:, top : top + 3, left : left + 3][:, :, :: -1 if mirrored else 1]
            * np.float32(0.25)
            for image, (top, left, mirrored) in zip(records(index), where, strict=True)
        ]
        np.testing.assert_array_equal(less.batch(index)["data"], np.stack(expected))


def test_a_mean_file_without_a_crop_is_subtracted_from_whole_images(source, tmp_path):
    mean = np.full(SHAPE, 1.5, np.float32)
    write_mean(tmp_path / "mean.binaryproto", mean)
    found = source("mean_file: 'mean.binaryproto'").batch(0)["data"]
    np.testing.assert_array_equal(found, records(0) - mean)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("crop_size: 7", "crop_size 7 is larger than the images, 6x7"),
        ("mean_value: 1 mean_value: 2", "one for each of 3 channels, got 2"),
        ("mean_file: 'none'", "the mean 'none' does not exist"),
        ("mean_file: 'none' mean_value: 1", "exclude each other"),
        ("mean_file: 'small.binaryproto'", "the mean is 3x2x2, and the images are 3x6x7"),
        ("mean_file: 'junk.binaryproto'", "junk.binaryproto"),
        ("force_color: true force_gray: true", "exclude each other"),
        ("crop_h: 3 crop_w: 4", "'crop_h' changes the data"),
        ("resize_param { height: 3 width: 3 }", "'resize_param' changes the data"),
    ],
)
def test_settings_that_do_not_fit_are_refused_at_the_layer(source, tmp_path, settings, message):
    write_mean(tmp_path / "small.binaryproto", np.zeros((3, 2, 2), np.float32))
    (tmp_path / "junk.binaryproto").write_bytes(b"\xff" * 100)
    with pytest.raises(NetcError) as caught:
        source(settings)
    assert message in caught.value.message
    assert caught.value.layer == "source"
    assert caught.value.location is not None


# ---- encoded records


def encoded(image: np.ndarray, mode: str = "RGB", kind: str = "png") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image, mode).save(file, kind)
    return write_datum(Datum(0, 0, 0, file.getvalue(), 1, encoded=True))


def rgb(count: int = 4) -> np.ndarray:
    return pixels(count, (6, 7, 3))


def bgr(images: np.ndarray) -> np.ndarray:
    return images[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)


def test_encoded_records_are_decoded_in_the_order_blue_green_red(source, tmp_path):
    make_lmdb(tmp_path / "db", [encoded(image) for image in rgb()])
    batch = source("").batch(0)
    np.testing.assert_array_equal(batch["data"], bgr(rgb()))
    assert batch["label"].tolist() == [1] * 4


def test_encoded_images_of_different_sizes_are_cropped(source, tmp_path):
    images = [pixels(1, (5 + i, 9 - i, 3))[0] for i in range(4)]
    make_lmdb(tmp_path / "db", [encoded(image) for image in images])
    found = source("crop_size: 5", phase="TEST").batch(0)["data"]
    for image, crop in zip(images, found, strict=True):
        top, left = (image.shape[0] - 5) // 2, (image.shape[1] - 5) // 2
        np.testing.assert_array_equal(crop, bgr(image[np.newaxis])[0, :, top : top + 5, left : left + 5])


def test_grey_and_coloured_records_are_forced_to_one_kind(source, tmp_path):
    grey = pixels(1, (6, 7))[0]
    make_lmdb(tmp_path / "db", [encoded(rgb()[0]), encoded(grey, "L")])
    colour = source("force_color: true").batch(0)["data"]
    np.testing.assert_array_equal(colour[1], np.repeat(grey[np.newaxis], 3, 0))
    np.testing.assert_array_equal(colour[:1], bgr(rgb()[:1]))
    plain = source("force_gray: true").batch(0)["data"]
    assert plain.shape == (4, 1, 6, 7)
    np.testing.assert_array_equal(plain[1, 0], grey)
    weighted = rgb()[0] @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(plain[0, 0], weighted, atol=0.51)
    with pytest.raises(NetcError, match="1x6x7 among others of 3x6x7"):
        source("").batch(0)


def test_an_encoded_record_that_is_damaged_is_named_by_its_place(source, tmp_path):
    record = encoded(rgb()[0])
    make_lmdb(tmp_path / "db", [record, write_datum(Datum(0, 0, 0, b"\x89PNG junk", 0, encoded=True))])
    with pytest.raises(NetcError, match="record 1 ") as caught:
        source("").batch(0)
    assert caught.value.layer == "source"


def test_settings_of_old_nets_in_the_data_param_count(tmp_path):
    make_lmdb(tmp_path / "db", datums(pixels(COUNT, SHAPE), range(COUNT)))
    net = load_net(
        "layers { name: 'old' type: DATA top: 'data' top: 'label' "
        "data_param { source: 'db' batch_size: 4 backend: LMDB scale: 0.5 crop_size: 3 } }",
        phase="TEST",
    )
    (opened,), shapes = data_shapes(net, phase="TEST", seed=0, root=tmp_path)
    assert shapes == {"data": (4, 3, 3, 3), "label": (4,)}
    found = opened.batch(0)["data"]
    np.testing.assert_array_equal(found, records(0)[:, :, 1:4, 2:5] * np.float32(0.5))
