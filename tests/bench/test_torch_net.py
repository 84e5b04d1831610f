"""The PyTorch oracle against what the original Caffe computed. Runs where PyTorch is installed."""

from pathlib import Path

import numpy as np
import pytest

from netc.bench.prototext import parse, read_layers

torch = pytest.importorskip("torch")

from netc.bench.torch_net import OPS, TorchNet  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "golden"
NOT_BUILT = {
    "convolution_nd3",  # three spatial axes
    "pooling_max_mask",  # a second top
}


def cases() -> list[str]:
    found = []
    for path in sorted(GOLDEN.glob("*.prototxt")):
        types = {layer.get("type") for layer in parse(path.read_text()).all("layer")}
        if (
            types <= OPS.keys() | {"Input"}
            and path.stem not in NOT_BUILT
            and not path.stem.endswith("_train")
        ):
            found.append(path.stem)
    return found


@pytest.mark.parametrize("name", cases())
def test_golden(name):
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        weights: dict[str, list[np.ndarray]] = {}
        for key in sorted(k for k in arrays if k.startswith("param/")):
            weights.setdefault(key.split("/", 1)[1].rpartition("/")[0], []).append(arrays[key])
        net = TorchNet(read_layers(GOLDEN / f"{name}.prototxt"), weights)
        with torch.no_grad():
            blobs = net.run(*(torch.from_numpy(arrays[f"in/{blob}"]) for blob in net.inputs))
        for key in (k for k in arrays if k.startswith("out/")):
            scale = max(np.abs(arrays[key]).max(), 1e-30)
            np.testing.assert_allclose(blobs[key[4:]].numpy() / scale, arrays[key] / scale, atol=1e-6)
