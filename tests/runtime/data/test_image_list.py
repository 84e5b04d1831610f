"""ImageData layers: files that a list names with their labels."""

from __future__ import annotations

import numpy as np
import pytest
from small_data_sets import pixels

from netc.ir.diagnostics import NetcError
from netc.runtime.data.resize import resize

Image = pytest.importorskip("PIL.Image")

COUNT = 6


@pytest.fixture
def images(tmp_path):
    """Six images of 5x6 in a folder and their list; a path holds a blank."""
    made = pixels(COUNT, (5, 6, 3))
    (tmp_path / "some images").mkdir()
    names = [f"some images/{index}.png" for index in range(COUNT)]
    for name, image in zip(names, made, strict=True):
        Image.fromarray(image).save(tmp_path / name)
    (tmp_path / "list.txt").write_text("".join(f"{name} {index}\n" for index, name in enumerate(names)))
    return made[..., ::-1].transpose(0, 3, 1, 2)


def listed(settings: str = "", extra: str = "", source: str = "list.txt", batch: int = 4) -> str:
    param = f"image_data_param {{ source: '{source}' batch_size: {batch} {settings} }}"
    return f"type: 'ImageData' top: 'data' top: 'label' {param} {extra}"


def test_files_are_read_in_the_order_of_the_list_again_and_again(open_layer, images):
    source = open_layer(listed())
    assert source.tops == {"data": (4, 3, 5, 6), "label": (4,)}
    for index in (3, 0, 1, 2):
        places = [(index * 4 + i) % COUNT for i in range(4)]
        batch = source.batch(index)
        assert batch["label"].tolist() == places
        np.testing.assert_array_equal(batch["data"], images[places].astype(np.float32))


def test_every_epoch_is_shuffled_in_its_own_way(open_layer, images):
    text = listed("shuffle: true", batch=3)
    source = open_layer(text)
    epochs = [
        [int(label) for index in (2 * epoch, 2 * epoch + 1) for label in source.batch(index)["label"]]
        for epoch in range(4)
    ]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    again = open_layer(text)
    assert again.batch(5)["label"].tolist() == epochs[2][3:]
    assert open_layer(text, seed=2).batch(0)["label"].tolist() != epochs[0][:3]


def test_labels_stay_with_their_images_when_shuffled(open_layer, images):
    batch = open_layer(listed("shuffle: true")).batch(7)
    expected = images[batch["label"].astype(int)].astype(np.float32)
    np.testing.assert_array_equal(batch["data"], expected)


def test_images_are_resized_before_they_are_transformed(open_layer, images):
    source = open_layer(
        listed("new_height: 8 new_width: 4", "transform_param { crop_size: 2 }"), phase="TEST"
    )
    expected = np.stack([resize(image, 8, 4)[:, 3:5, 1:3] for image in images[:4]])
    np.testing.assert_array_equal(source.batch(0)["data"], expected.astype(np.float32))


def test_images_are_read_in_grey(open_layer, images):
    found = open_layer(listed("is_color: false")).batch(0)["data"]
    assert found.shape == (4, 1, 5, 6)
    weights = np.array([0.114, 0.587, 0.299]).reshape(3, 1, 1)
    np.testing.assert_allclose(found, (images[:4] * weights).sum(1, keepdims=True), atol=0.51)


def test_the_root_folder_is_put_in_front_of_the_names(open_layer, images, tmp_path):
    (tmp_path / "short.txt").write_text("2.png 7\n")
    found = open_layer(listed("root_folder: 'some images/'", source="short.txt", batch=1)).batch(0)
    np.testing.assert_array_equal(found["data"], images[2:3].astype(np.float32))
    assert found["label"].tolist() == [7]


def test_rand_skip_starts_within_the_list(open_layer, images):
    first = {open_layer(listed("rand_skip: 4"), seed=seed).batch(0)["label"][0] for seed in range(20)}
    assert first <= {0, 1, 2, 3}
    assert len(first) > 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (listed(source="none.txt"), "'none.txt' does not exist"),
        (listed("new_height: 4"), "must be given together"),
        (listed("new_height: 4000000000 new_width: 4000000000"), "GiB"),
        (listed("min_height: 4 min_width: 4"), "'min_height' changes the data"),
        (listed(source="bad.txt"), "bad.txt:2: expected a path and a label, got 'no_label'"),
        (listed(source="empty.txt"), "the list is empty"),
        (listed(source="gone.txt"), "gone.png: No such file"),
        (listed(source="junk.txt"), "junk.png: cannot be read as an image"),
        (listed(source="cut.txt"), "cut.png: "),
        (listed(source="sizes.txt"), "an image of 3x2x2 among others of 3x5x6"),
    ],
)
def test_what_cannot_be_read_is_named_at_the_layer(open_layer, images, tmp_path, text, message):
    (tmp_path / "bad.txt").write_text("some images/0.png 1\nno_label\n")
    (tmp_path / "empty.txt").write_text("\n\n")
    for name in ("gone", "junk", "cut"):
        (tmp_path / f"{name}.txt").write_text(f"{name}.png 0\n")
    (tmp_path / "junk.png").write_bytes(b"no image")
    whole = (tmp_path / "some images/0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(pixels(1, (2, 2, 3))[0]).save(tmp_path / "small.png")
    (tmp_path / "sizes.txt").write_text("some images/0.png 1\nsmall.png 0\n")
    with pytest.raises(NetcError) as caught:
        open_layer(text).batch(0)
    assert message in caught.value.message
    assert caught.value.layer == "source"
    assert caught.value.location is not None
