import numpy as np
import pytest

from netc.ir.diagnostics import NetcError
from netc.runtime.images import Preprocessing, load_image, merge_crops, preprocess, read_mean, resize

Image = pytest.importorskip("PIL.Image")


def rand(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


def test_a_colour_image_becomes_floats_from_0_to_1(tmp_path):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14
    Image.fromarray(pixels).save(tmp_path / "x.png")
    np.testing.assert_allclose(load_image(tmp_path / "x.png", color=True), pixels / 255, rtol=1e-6)


def test_grey_and_colour_turn_into_each_other(tmp_path):
    Image.fromarray(np.full((2, 2), 51, np.uint8)).save(tmp_path / "grey.png")
    assert load_image(tmp_path / "grey.png", color=True).shape == (2, 2, 3)
    Image.fromarray(np.full((2, 2, 3), [255, 0, 0], np.uint8)).save(tmp_path / "red.png")
    grey = load_image(tmp_path / "red.png", color=False)
    assert grey.shape == (2, 2, 1)
    np.testing.assert_allclose(grey, 0.2125, rtol=1e-6)


def test_transparency_is_dropped_and_palettes_are_looked_up(tmp_path):
    Image.new("RGBA", (2, 2), (255, 0, 51, 0)).save(tmp_path / "a.png")
    Image.new("RGB", (2, 2), (255, 0, 51)).quantize(4).save(tmp_path / "p.png")
    for name in ("a.png", "p.png"):
        np.testing.assert_allclose(load_image(tmp_path / name, color=True)[0, 0], [1, 0, 0.2], atol=1e-6)


def test_deep_grey_images_keep_their_depth(tmp_path):
    Image.fromarray(np.full((2, 2), 13107, np.uint16)).save(tmp_path / "deep.png")
    np.testing.assert_allclose(load_image(tmp_path / "deep.png", color=False), 0.2, rtol=1e-6)


def test_floating_point_images_are_taken_as_they_are(tmp_path):
    Image.fromarray(np.full((2, 2), 0.3, np.float32)).save(tmp_path / "x.tiff")
    np.testing.assert_allclose(load_image(tmp_path / "x.tiff", color=False), 0.3, rtol=1e-6)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_files_that_are_no_images_are_named(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(NetcError, match=r"x\.png: "):
        load_image(tmp_path / "x.png", color=True)
    with pytest.raises(NetcError) as error:
        load_image(tmp_path / "y.png", color=True)
    assert error.value.message == f"{tmp_path / 'y.png'}: No such file or directory"


def test_the_steps_have_the_order_of_the_original():
    image = rand(4, 5, 3)
    how = Preprocessing(mean=np.array([1, 2, 3], "f4"), raw_scale=100, input_scale=0.5)
    (row,) = preprocess([image], (3, 4, 5), how)
    expected = (image.transpose(2, 0, 1)[::-1] * 100 - np.array([1, 2, 3]).reshape(3, 1, 1)) * 0.5
    np.testing.assert_allclose(row, expected, rtol=1e-5)


def test_channels_stay_in_order_on_request():
    image = rand(2, 2, 3)
    (row,) = preprocess([image], (3, 2, 2), Preprocessing(raw_scale=1, channel_order="rgb"))
    np.testing.assert_array_equal(row, image.transpose(2, 0, 1))


def test_a_grey_net_takes_one_channel():
    image = rand(2, 2, 1)
    (row,) = preprocess([image], (1, 2, 2), Preprocessing())
    np.testing.assert_allclose(row[0], image[..., 0] * 255, rtol=1e-6)


def test_resizing_interpolates_between_pixel_centres():
    ramp = np.arange(8, dtype=np.float32).reshape(1, 8, 1)
    np.testing.assert_allclose(resize(ramp, (1, 4))[0, :, 0], [0.5, 2.5, 4.5, 6.5])
    np.testing.assert_allclose(resize(ramp, (1, 16))[0, :4, 0], [0, 0.25, 0.75, 1.25])
    np.testing.assert_array_equal(resize(ramp, (1, 8)), ramp)
    assert resize(ramp, (5, 3)).shape == (5, 3, 1)


def test_images_are_cropped_at_the_centre():
    image = rand(6, 8, 1)
    (row,) = preprocess([image], (1, 4, 4), Preprocessing(raw_scale=1, image_dims=(6, 8)))
    np.testing.assert_array_equal(row[0], image[1:5, 2:6, 0])


def test_oversampling_takes_corners_centre_and_mirrors():
    image = rand(6, 6, 1)
    how = Preprocessing(raw_scale=1, image_dims=(6, 6), oversample=True)
    rows = preprocess([image, image * 2], (1, 4, 4), how)[:, 0]
    plane = image[..., 0]
    assert rows.shape == (20, 4, 4)
    np.testing.assert_array_equal(rows[0], plane[:4, :4])
    np.testing.assert_array_equal(rows[3], plane[2:, 2:])
    np.testing.assert_array_equal(rows[4], plane[1:5, 1:5])
    np.testing.assert_array_equal(rows[5], plane[:4, :4][:, ::-1])
    np.testing.assert_allclose(merge_crops(rows, how)[1], rows[10:].mean(axis=0), rtol=1e-6)


def test_a_larger_mean_image_is_cropped_like_the_images():
    mean = rand(3, 8, 8)
    (row,) = preprocess([np.zeros((4, 4, 3), "f4")], (3, 4, 4), Preprocessing(mean=mean))
    np.testing.assert_array_equal(row, -mean[:, 2:6, 2:6])


def test_means_that_do_not_fit_are_refused():
    wrong = (rand(2), "the mean has 2 values"), (rand(3, 2, 2), "the mean is"), (rand(1, 4, 4), "the mean is")
    for mean, message in wrong:
        with pytest.raises(NetcError, match=message):
            preprocess([rand(4, 4, 3)], (3, 4, 4), Preprocessing(mean=mean))


def test_inputs_that_no_image_fits_are_refused():
    with pytest.raises(NetcError, match="5 channels"):
        preprocess([rand(4, 4, 3)], (5, 4, 4), Preprocessing())
    with pytest.raises(NetcError, match="smaller than the input"):
        preprocess([rand(4, 4, 3)], (3, 4, 4), Preprocessing(image_dims=(3, 4)))


def test_means_are_read_from_values_and_files(tmp_path):
    np.testing.assert_array_equal(read_mean("104,117.5,123"), np.array([104, 117.5, 123], "f4"))
    np.save(tmp_path / "m.npy", rand(1, 3, 2, 2))
    np.testing.assert_array_equal(read_mean(str(tmp_path / "m.npy")), rand(3, 2, 2))
    with pytest.raises(NetcError, match="nowhere"):
        read_mean("nowhere.npy")
    with pytest.raises(NetcError, match=r"104;117"):
        read_mean("104;117")
    np.save(tmp_path / "m.npy", rand(2, 2))
    with pytest.raises(NetcError, match="2x2; expected channels"):
        read_mean(str(tmp_path / "m.npy"))
