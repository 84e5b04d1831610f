"""Small nets, and a slow forward pass to compare with."""

import numpy as np

import netc.pycaffe as caffe

CONV_NET = """name: "small"
input: "data" input_dim: 2 input_dim: 3 input_dim: 8 input_dim: 8
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.3 }
                            bias_filler { type: "gaussian" std: 0.3 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
        inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 0.3 }
                              bias_filler { type: "gaussian" std: 0.3 } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
# the same net with its inner product as a convolution
FULL_CONV_NET = CONV_NET.replace('"fc"', '"fc-conv"').replace(
    """type: "InnerProduct" bottom: "pool" top: "fc-conv"
        inner_product_param { num_output: 5""",
    """type: "Convolution" bottom: "pool" top: "fc-conv"
        convolution_param { num_output: 5 kernel_size: 3""",
)


def expected_blobs(net: caffe.Net, data: np.ndarray) -> dict[str, np.ndarray]:
    """The blobs of ``CONV_NET``, by loops; ``conv.raw`` is before the ReLU."""
    w, b = (blob.data.copy() for blob in net.params["conv"])
    windows = np.lib.stride_tricks.sliding_window_view(data, (3, 3), (2, 3))
    raw = np.einsum("nchwij,ocij->nohw", windows, w) + b[:, None, None]
    conv = np.maximum(raw, 0)
    pool = conv.reshape(*conv.shape[:2], conv.shape[2] // 2, 2, conv.shape[3] // 2, 2).max((3, 5))
    w, b = (blob.data.copy() for blob in net.params["fc"])
    fc = pool.reshape(len(pool), -1) @ w.T + b
    e = np.exp(fc - fc.max(1, keepdims=True))
    return {"conv.raw": raw, "conv": conv, "pool": pool, "fc": fc, "prob": e / e.sum(1, keepdims=True)}


def close(actual, wanted) -> None:
    np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-5)
