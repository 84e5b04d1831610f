"""Archives of the shipped subset of MNIST, as the data set is published."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def mnist_archives(tmp_path_factory):
    """A folder with archives of 700 images to train on and 300 to test."""
    folder = tmp_path_factory.mktemp("mnist")
    with np.load(ROOT / "tests" / "data" / "mnist_subset.npz") as subset:
        images, labels = subset["images"], subset["labels"]
    for stem, part in (("train", slice(0, 700)), ("t10k", slice(700, 1000))):
        data = struct.pack(">4I", 2051, *images[part].shape) + images[part].astype(np.uint8).tobytes()
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(data))
        data = struct.pack(">2I", 2049, len(labels[part])) + labels[part].astype(np.uint8).tobytes()
        (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(data))
    return folder
