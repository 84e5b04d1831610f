"""Scripts around nets as people write them: images with a mean file, messages, databases, pictures."""

import numpy as np
import pytest
from google.protobuf import text_format
from small_nets import CONV_NET, close, expected_blobs

import netc.pycaffe as caffe
from netc.pycaffe.proto import caffe_pb2


def test_an_image_is_classified_with_a_mean_file(write, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image_module.fromarray(pixels).save(tmp_path / "cat.png")
    np.save(tmp_path / "mean.npy", np.random.default_rng(1).uniform(90, 130, (3, 16, 16)))
    (tmp_path / "words.txt").write_text("".join(f"n{i} class {i}\n" for i in range(5)))

    caffe.set_device(0)
    caffe.set_mode_cpu()
    net = caffe.Net(write(CONV_NET), caffe.TEST)
    mu = np.load(tmp_path / "mean.npy")
    mu = mu.mean(1).mean(1)  # average over pixels to obtain the mean (BGR) pixel values
    transformer = caffe.io.Transformer({"data": net.blobs["data"].data.shape})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_mean("data", mu)
    transformer.set_raw_scale("data", 255)
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_input_scale("data", 1 / 64)
    net.blobs["data"].reshape(50, 3, 8, 8)
    image = caffe.io.load_image(str(tmp_path / "cat.png"))
    transformed_image = transformer.preprocess("data", image)
    net.blobs["data"].data[...] = transformed_image
    output_prob = net.forward()["prob"][0]
    labels = np.loadtxt(tmp_path / "words.txt", str, delimiter="\t")
    top_inds = output_prob.argsort()[::-1][:5]

    row = (pixels[:, :, ::-1].transpose(2, 0, 1) - mu[:, None, None]) / 64
    close(output_prob, expected_blobs(net, row[np.newaxis].astype("f4"))["prob"][0])
    assert len(list(zip(output_prob[top_inds], labels[top_inds], strict=True))) == 5
    close(transformer.deprocess("data", net.blobs["data"].data[0]), pixels / 255)


def test_a_mean_in_a_binaryproto_becomes_an_array(tmp_path):
    mean = np.random.default_rng(0).uniform(90, 130, (1, 3, 4, 4))
    blob = caffe_pb2.BlobProto(num=1, channels=3, height=4, width=4, data=mean.ravel())
    (tmp_path / "mean.binaryproto").write_bytes(blob.SerializeToString())

    blob = caffe.proto.caffe_pb2.BlobProto()
    with open(tmp_path / "mean.binaryproto", "rb") as file:
        blob.ParseFromString(file.read())
    np.save(tmp_path / "mean.npy", np.array(caffe.io.blobproto_to_array(blob))[0])
    close(np.load(tmp_path / "mean.npy"), mean[0])


def test_images_are_written_to_a_database_and_read_back(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 4, 5), dtype=np.uint8)
    env = lmdb.open(str(tmp_path / "train_lmdb"), map_size=2**24)
    with env.begin(write=True) as txn:
        for i, image in enumerate(images):
            datum = caffe.proto.caffe_pb2.Datum()
            datum.channels, datum.height, datum.width = image.shape
            datum.data = image.tobytes()
            datum.label = i
            txn.put(f"{i:08}".encode("ascii"), datum.SerializeToString())
    with env.begin() as txn:
        for i, (_, value) in enumerate(txn.cursor()):
            datum = caffe.proto.caffe_pb2.Datum()
            datum.ParseFromString(value)
            assert datum.label == i
            assert (caffe.io.datum_to_array(datum) == images[i]).all()
    env.close()


def test_a_definition_is_read_edited_and_written_by_its_message(write, tmp_path):
    net_param = caffe_pb2.NetParameter()
    with open(write(CONV_NET)) as file:
        text_format.Merge(file.read(), net_param)
    convolutions = [layer for layer in net_param.layer if layer.type == "Convolution"]
    assert [(c.name, c.convolution_param.kernel_size[0]) for c in convolutions] == [("conv", 3)]
    assert list(net_param.input_dim) == [2, 3, 8, 8]
    convolutions[0].convolution_param.num_output = 6
    added = net_param.layer.add(name="top", type="ArgMax", bottom=["prob"], top=["top"])
    added.argmax_param.top_k = 2
    (tmp_path / "edited.prototxt").write_text(text_format.MessageToString(net_param))
    net = caffe.Net(str(tmp_path / "edited.prototxt"), caffe.TEST)
    assert net.params["conv"][0].data.shape == (6, 3, 3, 3)
    assert net.outputs == ["top"]
    caffe.draw.draw_net_to_file(net_param, str(tmp_path / "net.dot"), "TB")
    assert "(ArgMax)" in (tmp_path / "net.dot").read_text()


def test_a_solver_is_written_by_its_message(tmp_path):
    s = caffe_pb2.SolverParameter()
    s.random_seed = 0xCAFFE
    s.train_net = "train.prototxt"
    s.test_net.append("test.prototxt")
    s.test_interval = 500
    s.type = "SGD"
    s.base_lr = 0.01
    s.snapshot_format = caffe_pb2.SolverParameter.HDF5
    s.solver_mode = caffe_pb2.SolverParameter.GPU
    (tmp_path / "solver.prototxt").write_text(str(s))
    again = caffe_pb2.SolverParameter()
    text_format.Merge((tmp_path / "solver.prototxt").read_text(), again)
    assert again == s
    assert again.base_lr == pytest.approx(0.01)
    assert "snapshot_format: HDF5" in str(s)


def test_a_net_is_described_layer_by_layer(net):
    blobs = [(name, blob.data.shape) for name, blob in net.blobs.items()]
    params = [(name, param[0].data.shape, param[1].data.shape) for name, param in net.params.items()]
    assert blobs[-1] == ("prob", (2, 5))
    assert params == [("conv", (4, 3, 3, 3), (4,)), ("fc", (5, 36), (5,))]
    lines = []
    for i, (name, layer) in enumerate(zip(net._layer_names, net.layers, strict=True)):
        shapes = [net.blobs[top].data.shape for top in net.top_names[name]]
        lines.append((i, name, layer.type, net.bottom_names[name], shapes, len(layer.blobs)))
    assert lines[1] == (1, "conv", "Convolution", ["data"], [(2, 4, 6, 6)], 2)
    assert sum(np.prod(b.data.shape) for layer in net.layers for b in layer.blobs) == 108 + 4 + 180 + 5
    assert net.layers[1].blobs[0].data.shape == (4, 3, 3, 3)
    assert net.layers[list(net._layer_names).index("fc")].blobs[1].count == 5


def test_windows_of_an_image_are_ranked_by_score(write, tmp_path):
    """As with R-CNN: every window gets scores, the best of each class are kept."""
    image_module = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    image_module.fromarray(pixels).save(tmp_path / "fish.png")
    np.save(tmp_path / "mean.npy", np.full((3, 8, 8), 110.0))
    detector = caffe.Detector(
        write(CONV_NET),
        None,
        mean=np.load(tmp_path / "mean.npy"),
        input_scale=1 / 64,
        raw_scale=255,
        channel_swap=(2, 1, 0),
        context_pad=1,
    )
    windows = np.array([[2, 3, 20, 25], [5, 10, 30, 48], [0, 0, 40, 60], [11, 5, 39, 22]])
    found = detector.detect_windows([(str(tmp_path / "fish.png"), windows)])
    predictions = np.stack([each["prediction"] for each in found])
    assert predictions.shape == (4, 5)
    close(predictions.sum(1), 1)
    crop = detector.crop(caffe.io.load_image(str(tmp_path / "fish.png")), windows[1])
    row = detector.transformer.preprocess("data", crop)
    close(predictions[1], expected_blobs(detector, row[np.newaxis])["prob"][0])
