"""A small image classifier, its weights, and a cache of kernels that belongs to the tests."""

from collections.abc import Iterator

import numpy as np
import pytest

TINY = """name: "tiny"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 20 kernel_size: 3 pad: 1 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
        pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""

Weights = dict[str, list[np.ndarray]]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def tiny() -> str:
    return TINY


@pytest.fixture
def tiny_weights() -> Weights:
    rng = np.random.default_rng(1)
    return {
        "conv": [rng.normal(0, 0.3, (20, 3, 3, 3)).astype("f4"), rng.normal(0, 0.3, 20).astype("f4")],
        "fc": [rng.normal(0, 0.1, (5, 320)).astype("f4"), rng.normal(0, 0.1, 5).astype("f4")],
    }


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(2).random((2, 3, 8, 8), np.float32)
