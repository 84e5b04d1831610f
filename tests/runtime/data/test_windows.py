"""WindowData layers: windows drawn from images, with their surroundings."""

from __future__ import annotations

import numpy as np
import pytest
from small_data_sets import pixels, write_mean

from netc.ir.diagnostics import NetcError
from netc.runtime.data.resize import resize

Image = pytest.importorskip("PIL.Image")

HEIGHT, WIDTH = 20, 30
# class, overlap, x1, y1, x2, y2
OBJECTS = [(3, 0.9, 2, 3, 9, 10), (5, 0.5, 10, 5, 24, 19)]
BACKGROUND = [(3, 0.2, 0, 0, 5, 5), (0, 0.0, 12, 2, 20, 18)]
BETWEEN = [(4, 0.4, 1, 1, 4, 4)]


def block(index: int, name: str, windows, size=(3, HEIGHT, WIDTH)) -> str:
    lines = [f"# {index}", name, *map(str, size), len(windows), *(" ".join(map(str, w)) for w in windows)]
    return "".join(f"{line}\n" for line in lines)


@pytest.fixture
def images(tmp_path):
    """Two images (channels, height, width): the first has the objects, the second the background."""
    made = pixels(2, (HEIGHT, WIDTH, 3))
    for index, image in enumerate(made):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    text = block(0, "0.png", OBJECTS + BETWEEN) + block(1, "1.png", BACKGROUND)
    (tmp_path / "windows.txt").write_text(text)
    return made[..., ::-1].transpose(0, 3, 1, 2)


def layer(settings: str = "", transform: str = "", source: str = "windows.txt", crop: int = 8) -> str:
    return (
        "type: 'WindowData' top: 'data' top: 'label' "
        f"transform_param {{ crop_size: {crop} {transform} }} "
        f"window_data_param {{ source: '{source}' batch_size: 8 bg_threshold: 0.3 {settings} }}"
    )


def warped(images, windows) -> dict[float, np.ndarray]:
    """Each window in the size of the crop, by its class, or 0 and -1 for the background ones."""
    found = {}
    for number, (kind, overlap, x1, y1, x2, y2) in enumerate(windows):
        is_object = overlap >= 0.5
        patch = images[0 if is_object else 1][:, y1 : y2 + 1, x1 : x2 + 1]
        found[kind if is_object else -number] = resize(patch, 8, 8).astype(np.float32)
    return found


def test_a_batch_has_background_first_and_its_share_of_objects(open_layer, images):
    source = open_layer(layer("fg_fraction: 0.3"))
    assert source.tops == {"data": (8, 3, 8, 8), "label": (8,)}
    expected = warped(images, OBJECTS)
    background = list(warped(images, BACKGROUND).values())
    labels = set()
    for index in range(6):
        batch = source.batch(index)
        assert batch["label"][:6].tolist() == [0] * 6
        labels |= set(batch["label"][6:].tolist())
        for crop, label in zip(batch["data"], batch["label"], strict=True):
            candidates = [expected[label]] if label else background
            assert any(np.array_equal(crop, each) for each in candidates)
    assert labels == {3, 5}


def test_a_batch_is_a_function_of_its_number(open_layer, images):
    text = layer("context_pad: 1", "mirror: true")
    forward = [open_layer(text).batch(index) for index in range(5)]
    other = open_layer(text)
    for index in (4, 0, 3):
        np.testing.assert_array_equal(other.batch(index)["data"], forward[index]["data"])
    assert not np.array_equal(forward[0]["data"], forward[1]["data"])


def test_windows_are_mirrored_by_chance(open_layer, images):
    plain = open_layer(layer())
    mirrored = open_layer(layer(transform="mirror: true"))
    seen = set()
    for index in range(3):
        for one, other in zip(plain.batch(index)["data"], mirrored.batch(index)["data"], strict=True):
            is_mirrored = np.array_equal(one[:, :, ::-1], other)
            assert is_mirrored or np.array_equal(one, other)
            seen.add(is_mirrored)
    assert seen == {False, True}


def test_the_mean_is_cut_from_the_middle_and_the_scale_applies(open_layer, images, tmp_path):
    mean = np.random.default_rng(1).random((3, 12, 12)).astype(np.float32)
    write_mean(tmp_path / "mean.binaryproto", mean)
    plain = open_layer(layer()).batch(0)["data"]
    found = open_layer(layer("scale: 0.5", "mean_file: 'mean.binaryproto'")).batch(0)["data"]
    np.testing.assert_array_equal(found, (plain - mean[:, 2:10, 2:10]) * np.float32(0.5))
    values = open_layer(layer(transform="mean_value: 9 scale: 0.5")).batch(0)["data"]
    np.testing.assert_array_equal(values, (plain - 9) * np.float32(0.5))


def test_context_is_added_so_that_the_window_fills_the_rest_of_the_crop(open_layer, images, tmp_path):
    # 4x4 inside of 8x8 with 2 of context: the window grows by half of its size on every side
    window = (1, 1.0, 8, 6, 15, 13)
    (tmp_path / "one.txt").write_text(block(0, "0.png", [window]) + block(1, "1.png", BACKGROUND))
    found = open_layer(layer("context_pad: 2 fg_fraction: 1", source="one.txt")).batch(0)["data"]
    # 8 pixels around the centre (12, 10) on either side, and one more as the corners are inclusive
    expected = resize(images[0][:, 2:19, 4:21], 8, 8)
    np.testing.assert_array_equal(found[0], expected.astype(np.float32))


@pytest.mark.parametrize("mirror", [False, True])
def test_context_beyond_the_image_is_zero_and_mirrored_with_it(open_layer, images, tmp_path, mirror):
    window = (1, 1.0, 0, 0, 7, 7)
    (tmp_path / "one.txt").write_text(block(0, "0.png", [window]) + block(1, "1.png", BACKGROUND))
    transform = f"mean_value: 300 mirror: {str(mirror).lower()}"
    source = open_layer(layer("context_pad: 2 fg_fraction: 1", transform, source="one.txt"))
    crops = np.concatenate([source.batch(index)["data"] for index in range(3)])
    # from -4 to 12 of both axes: 17 pixels, of which 4 lie outside: round(4 * 8 / 17) = 2 of the crop
    inside = resize(images[0][:, :13, :13], 6, 6).astype(np.float32) - 300
    expected = np.zeros((3, 8, 8), np.float32)
    expected[:, 2:, 2:] = inside
    flipped = np.zeros((3, 8, 8), np.float32)
    flipped[:, 2:, :6] = inside[:, :, ::-1]
    found = {np.array_equal(crop, flipped) for crop in crops}
    assert all(np.array_equal(crop, expected) or np.array_equal(crop, flipped) for crop in crops)
    assert found == ({False, True} if mirror else {False})


def test_the_mode_square_takes_the_longer_side_in_both_directions(open_layer, images, tmp_path):
    window = (1, 1.0, 10, 4, 13, 11)  # 4 wide, 8 high
    (tmp_path / "one.txt").write_text(block(0, "0.png", [window]) + block(1, "1.png", BACKGROUND))
    found = open_layer(layer("crop_mode: 'square' fg_fraction: 1", source="one.txt")).batch(0)["data"]
    expected = resize(images[0][:, 4:13, 8:17], 8, 8)
    np.testing.assert_array_equal(found[0], expected.astype(np.float32))


def test_a_file_without_objects_serves_batches_without_them(open_layer, images, tmp_path):
    (tmp_path / "background.txt").write_text(block(0, "1.png", BACKGROUND))
    batch = open_layer(layer("fg_fraction: 0", source="background.txt")).batch(0)
    assert batch["label"].tolist() == [0] * 8
    with pytest.raises(NetcError, match="no window counts as an object"):
        open_layer(layer(source="background.txt"))


def test_images_are_read_once_where_they_are_cached(open_layer, images, tmp_path):
    source = open_layer(layer("cache_images: true"))
    first = source.batch(0)["data"]
    for index in range(2):
        (tmp_path / f"{index}.png").unlink()
    np.testing.assert_array_equal(source.batch(0)["data"], first)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layer(source="none.txt"), "'none.txt' does not exist"),
        (layer(crop=0), "need a crop_size"),
        (layer("context_pad: 4"), "context_pad leaves nothing"),
        (layer("crop_mode: 'round'"), "crop_mode is warp or square, got 'round'"),
        (layer("fg_fraction: 2"), "fg_fraction is from 0 to 1"),
        (layer("fg_threshold: 1.5"), "no window counts as an object"),
        (layer(source="empty.txt"), "the window file is empty"),
        (layer(source="cut.txt"), "image 0: expected 3 lines"),
        (layer(source="head.txt"), "filled line 1: expected '# index'"),
        (layer(source="order.txt"), "image 5 where image 0 was expected"),
        (layer(source="class.txt"), "a window of class 0 counts as an object"),
        (layer(source="out.txt"), "does not lie in its image 0.png, 20x30"),
        (layer(source="gone.txt"), "gone.png: No such file"),
        (
            layer(transform="mean_file: 'mean.binaryproto'", crop=13),
            "the mean is 3x12x12, and the crops are 3x13x13",
        ),
    ],
)
def test_windows_that_do_not_fit_are_refused_at_the_layer(open_layer, images, tmp_path, text, message):
    background = block(1, "1.png", BACKGROUND)
    whole = block(0, "0.png", OBJECTS + BETWEEN)
    for name, content in {
        "empty": "",
        "cut": whole[:-16],
        "head": "0\n0.png\n",
        "order": block(5, "0.png", OBJECTS),
        "class": block(0, "0.png", [(0, 1.0, 1, 1, 2, 2)]) + background,
        "out": block(0, "0.png", [(1, 1.0, 1, 1, 30, 2)]) + background,
        "gone": block(0, "gone.png", OBJECTS) + background,
    }.items():
        (tmp_path / f"{name}.txt").write_text(content)
    write_mean(tmp_path / "mean.binaryproto", np.zeros((3, 12, 12), np.float32))
    with pytest.raises(NetcError) as caught:
        open_layer(text).batch(0)
    assert message in caught.value.message
    assert caught.value.layer == "source"
    assert caught.value.location is not None
