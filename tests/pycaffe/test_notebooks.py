"""Scripts as they were written for the original, on small nets; only the import differs."""

from pathlib import Path

import numpy as np
import pytest
from small_nets import CONV_NET, FULL_CONV_NET, close, expected_blobs

import netc.pycaffe as caffe
from netc.frontend.weights import load_weights
from netc.ir.diagnostics import NetcError
from netc.runtime.api import compile_net

LENET = Path(__file__).parents[2] / "examples" / "lenet"


@pytest.fixture
def photo(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    image_module.fromarray(pixels).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def test_classification_of_digits():
    pytest.importorskip("PIL.Image")
    model_def, model_weights = str(LENET / "lenet.prototxt"), str(LENET / "lenet_iter_10000.caffemodel")
    caffe.set_mode_cpu()
    net = caffe.Net(model_def, model_weights, caffe.TEST)
    transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
    transformer.set_transpose("data", (2, 0, 1))
    digits = sorted((LENET / "digits").glob("*.png"))
    net.blobs["data"].reshape(len(digits), 1, 28, 28)
    for row, path in enumerate(digits):
        image = caffe.io.load_image(str(path), color=False)
        net.blobs["data"].data[row] = transformer.preprocess("data", image)
    output = net.forward()
    best = output["prob"].argmax(1)
    assert len({int(b) for b in best}) > 5

    # the same by the reference, and all blobs
    weights = load_weights(model_weights)
    names = [n for n in net.blobs if n != "data"]
    reference = compile_net(
        model_def, weights, target="numpy", keep=names, input_shapes={"data": (len(digits), 1, 28, 28)}
    )
    reference.run(data=net.blobs["data"].data)
    for name, blob in net.blobs.items():
        if name != "data":
            np.testing.assert_allclose(blob.data, reference.blob(name), rtol=1e-3, atol=1e-4)
    for name, param in net.params.items():
        assert [p.data.size for p in param] == [w.size for w in weights[name]]

    # a classifier does all that at once
    classifier = caffe.Classifier(model_def, model_weights, image_dims=(28, 28))
    images = [caffe.io.load_image(str(path), color=False) for path in digits]
    close(classifier.predict(images, oversample=False), output["prob"])


def test_the_classifier_averages_over_crops(write, photo):
    image = caffe.io.load_image(photo)
    options = dict(mean=np.array([100.0, 110, 120]), raw_scale=255, channel_swap=(2, 1, 0), input_scale=0.01)
    path = write(CONV_NET)
    caffe.set_random_seed(0)
    classifier = caffe.Classifier(path, None, image_dims=(12, 12), **options)
    predictions = classifier.predict([image, image[::-1]])
    resized = caffe.io.resize_image(image, (12, 12))
    rows = [
        classifier.transformer.preprocess("data", crop) for crop in caffe.io.oversample([resized], (8, 8))
    ]
    wanted = expected_blobs(classifier, np.stack(rows))["prob"].mean(0)
    assert predictions.shape == (2, 5)
    close(predictions[0], wanted)
    centre = classifier.transformer.preprocess("data", resized[2:10, 2:10])
    wanted = expected_blobs(classifier, centre[np.newaxis])["prob"]
    close(classifier.predict([image], oversample=False), wanted)
    with pytest.raises(NetcError, match="no images"):
        classifier.predict([])
    with pytest.raises(NetcError, match="smaller than the net's input"):
        caffe.Classifier(path, None, image_dims=(4, 4))


def test_net_surgery_edits_filters(write):
    net = caffe.Net(
        write(
            """input: "data" input_dim: 1 input_dim: 1 input_dim: 9 input_dim: 9
            layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
                    convolution_param { num_output: 3 kernel_size: 5
                    weight_filler { type: "gaussian" std: 0.01 } bias_filler { type: "constant" value: 0 } } }"""
        ),
        caffe.TEST,
    )
    im = np.random.default_rng(0).random((30, 20), np.float32)
    im_input = im[np.newaxis, np.newaxis, :, :]
    net.blobs["data"].reshape(*im_input.shape)
    net.blobs["data"].data[...] = im_input
    net.forward()
    # pick first filter output
    conv0 = net.blobs["conv"].data[0, 0]
    before = conv0.mean()
    net.params["conv"][1].data[0] = 1.0
    net.forward()
    assert conv0.mean() == pytest.approx(before + 1, abs=1e-4)
    ksize = net.params["conv"][0].data.shape[2:]
    y, x = np.mgrid[-ksize[0] // 2 + 1 : ksize[0] // 2 + 1, -ksize[1] // 2 + 1 : ksize[1] // 2 + 1]
    g = np.exp(-((x**2 + y**2) / 2.0))
    gaussian = (g / g.sum()).astype(np.float32)
    net.params["conv"][0].data[0] = gaussian
    net.params["conv"][0].data[1:] = 0.0
    sobel = np.array((-1, -2, -1, 0, 0, 0, 1, 2, 1), dtype=np.float32).reshape((3, 3))
    net.params["conv"][0].data[1, 0, 1:-1, 1:-1] = sobel
    net.params["conv"][0].data[2, 0, 1:-1, 1:-1] = sobel.T
    net.forward()
    windows = np.lib.stride_tricks.sliding_window_view(im, (5, 5))
    close(net.blobs["conv"].data[0, 0], np.einsum("hwij,ij->hw", windows, gaussian) + 1)
    inner = windows[:, :, 1:-1, 1:-1]
    close(net.blobs["conv"].data[0, 1], np.einsum("hwij,ij->hw", inner, sobel))


def test_net_surgery_makes_a_classifier_convolutional(write, tmp_path, batch):
    net = caffe.Net(write(CONV_NET), caffe.TEST)
    net.save(str(tmp_path / "small.caffemodel"))
    net = caffe.Net(write(CONV_NET), str(tmp_path / "small.caffemodel"), caffe.TEST)
    params = ["fc"]
    fc_params = {pr: (net.params[pr][0].data, net.params[pr][1].data) for pr in params}
    with pytest.warns(UserWarning, match="no weights for 1 layer, which keep their fillers: fc-conv"):
        net_full_conv = caffe.Net(write(FULL_CONV_NET), str(tmp_path / "small.caffemodel"), caffe.TEST)
    params_full_conv = ["fc-conv"]
    conv_params = {
        pr: (net_full_conv.params[pr][0].data, net_full_conv.params[pr][1].data) for pr in params_full_conv
    }
    for pr, pr_conv in zip(params, params_full_conv, strict=True):
        conv_params[pr_conv][0].flat = fc_params[pr][0].flat  # flat unrolls the arrays
        conv_params[pr_conv][1][...] = fc_params[pr][1]
    net_full_conv.save(str(tmp_path / "full.caffemodel"))

    again = caffe.Net(write(FULL_CONV_NET), caffe.TEST, weights=str(tmp_path / "full.caffemodel"))
    wanted = net.forward_all(data=batch)["prob"]
    close(again.forward_all(data=batch)["prob"][:, :, 0, 0], wanted)
    # a larger image gives a map
    large = np.random.default_rng(0).normal(0, 1, (1, 3, 12, 12)).astype("f4")
    again.blobs["data"].reshape(*large.shape)
    out = again.forward_all(data=np.asarray([large[0]]))
    assert out["prob"].shape == (1, 5, 3, 3)
    crops = np.stack([large[0, :, y : y + 8, x : x + 8] for y in (0, 2, 4) for x in (0, 2, 4)])
    close(out["prob"][0].reshape(5, 9).T, net.forward_all(data=crops)["prob"])


def test_features_and_filters_are_viewed(net, batch):
    def vis_square(data):
        data = (data - data.min()) / (data.max() - data.min())
        n = int(np.ceil(np.sqrt(data.shape[0])))
        padding = ((0, n**2 - data.shape[0]), (0, 1), (0, 1)) + ((0, 0),) * (data.ndim - 3)
        data = np.pad(data, padding, mode="constant", constant_values=1)
        data = data.reshape((n, n, *data.shape[1:])).transpose((0, 2, 1, 3, *range(4, data.ndim + 1)))
        return data.reshape((n * data.shape[1], n * data.shape[3], *data.shape[4:]))

    net.forward(data=batch)
    wanted = expected_blobs(net, batch)
    assert {name: blob.data.shape for name, blob in net.blobs.items()}["pool"] == (2, 4, 3, 3)
    filters = net.params["conv"][0].data
    assert vis_square(filters.transpose(0, 2, 3, 1)).shape == (8, 8, 3)
    close(vis_square(net.blobs["conv"].data[0, :36]), vis_square(wanted["conv"][0]))
    feat = net.blobs["fc"].data[0]
    close(np.sort(feat.flat), np.sort(wanted["fc"][0]))
    close(net.blobs["prob"].data[0].flat[:], wanted["prob"][0])


def test_objectives_on_a_blob_are_read_with_end(net, batch):
    """As scripts do that ascend an objective, here by differences: gradients are not there yet."""
    src = net.blobs["data"]
    src.data[...] = batch

    def objective():
        return float(net.forward(end="pool")["pool"].sum())

    before = objective()
    src.data[0, 0, 3, 3] += 1
    wanted = expected_blobs(net, src.data)["pool"].sum()
    assert objective() == pytest.approx(wanted, rel=1e-4)
    assert objective() != before


def test_detection_of_windows(write, photo):
    mean = np.array([104.0, 117, 123])
    caffe.set_random_seed(0)
    detector = caffe.Detector(
        write(CONV_NET), None, mean=mean, raw_scale=255, input_scale=0.01, channel_swap=(2, 1, 0)
    )
    windows = [np.array([2, 3, 20, 25]), np.array([5, 10, 13, 18]), np.array([0, 0, 30, 40])]
    detections = detector.detect_windows([(photo, windows)])
    image = caffe.io.load_image(photo)
    assert [list(d["window"]) for d in detections] == [list(w) for w in windows]
    for detection in detections:
        top, left, bottom, right = detection["window"]
        row = detector.transformer.preprocess("data", image[top:bottom, left:right])
        close(detection["prediction"], expected_blobs(detector, row[np.newaxis])["prob"][0])
        assert detection["filename"] == photo
    assert detector.detect_windows([(photo, [])]) == []
    with pytest.raises(NetcError, match="is empty"):
        detector.detect_windows([(photo, [np.array([5, 5, 5, 9])])])
    with pytest.raises(NetcError, match="selective_search"):
        detector.detect_selective_search([photo])


def test_windows_show_their_surroundings(write):
    mean = np.array([51.0, 102, 153])
    detector = caffe.Detector(
        write(CONV_NET), None, mean=mean, raw_scale=255, channel_swap=(2, 1, 0), context_pad=2
    )
    image = np.random.default_rng(0).random((40, 40, 3), np.float32)
    # a window of 4 pixels fills the input (8) less its borders (2): its surroundings are copied 1:1
    crop = detector.crop(image, np.array([10, 20, 13, 23]))
    assert crop.shape == (8, 8, 3)
    np.testing.assert_allclose(crop, caffe.io.resize_image(image[8:16, 18:26], (8, 8)), atol=1e-6)
    # beyond the image is the mean, as a color of the image
    crop = detector.crop(image, np.array([0, 20, 3, 23]))
    np.testing.assert_allclose(
        crop[:2], np.broadcast_to(np.array([153, 102, 51]) / 255, (2, 8, 3)), atol=1e-6
    )
    assert np.ptp(crop[2:]) > 0.5
    with pytest.raises(NetcError, match="lies outside"):
        detector.crop(image, np.array([90, 90, 95, 95]))
    with pytest.raises(NetcError, match="context_pad"):
        detector.configure_crop(4)
