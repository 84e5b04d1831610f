"""Poolings, normalisations, dropout and their gradients in whole nets: compiled as the reference."""

from __future__ import annotations

import numpy as np
import pytest

import netc

HEAD = """
name: "net"
layer { name: "in" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 3 dim: 3 dim: 17 dim: 15 } shape { dim: 3 } } }
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1"
  convolution_param { num_output: 20 kernel_size: 3 weight_filler { type: "msra" } } }
"""
TAIL = """
layer { name: "score" type: "InnerProduct" bottom: "top" top: "score"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""
NETS = {
    "batch_norm": """
layer { name: "bn1" type: "BatchNorm" bottom: "c1" top: "b1" }
layer { name: "sc1" type: "Scale" bottom: "b1" top: "b1" scale_param { bias_term: true } }
layer { name: "r1" type: "ReLU" bottom: "b1" top: "b1" }
layer { name: "p1" type: "Pooling" bottom: "b1" top: "p1" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "c2" type: "Convolution" bottom: "p1" top: "c2"
  convolution_param { num_output: 20 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "bn2" type: "BatchNorm" bottom: "c2" top: "c2" }
layer { name: "sum" type: "Eltwise" bottom: "p1" bottom: "c2" top: "sum" }
layer { name: "r2" type: "ReLU" bottom: "sum" top: "sum" }
layer { name: "top" type: "Pooling" bottom: "sum" top: "top" pooling_param { pool: AVE global_pooling: true } }
""",
    "lrn": """
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "n1" type: "LRN" bottom: "c1" top: "n1" lrn_param { alpha: 2 } }
layer { name: "p1" type: "Pooling" bottom: "n1" top: "p1" pooling_param { kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "a1" type: "Pooling" bottom: "n1" top: "a1"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "both" type: "Concat" bottom: "p1" bottom: "a1" top: "both" }
layer { name: "drop" type: "Dropout" bottom: "both" top: "both" }
layer { name: "c2" type: "Convolution" bottom: "both" top: "c2"
  convolution_param { num_output: 20 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "r2" type: "ReLU" bottom: "c2" top: "c2" }
layer { name: "top" type: "Pooling" bottom: "c2" top: "top" pooling_param { global_pooling: true } }
""",
}
RNG = np.random.default_rng(5)
DATA = RNG.standard_normal((3, 3, 17, 15)).astype(np.float32)
LABEL = np.array([0, 4, 2], np.float32)


@pytest.mark.parametrize("net", sorted(NETS))
@pytest.mark.parametrize("opt_level", [0, 2, 3])
def test_compiled_gradients_are_those_of_the_reference(net: str, opt_level: int) -> None:
    found = {}
    for target in ("numpy", "cpu"):
        module = netc.compile(
            HEAD + NETS[net] + TAIL, phase="TRAIN", training=True, target=target, opt_level=opt_level
        )
        outputs = module.forward(data=DATA, label=LABEL)
        gradients = [g for layer in module.param_grads.values() for g in layer] if module.backward() else []
        found[target] = [outputs["loss"], *(g for g in gradients if g is not None)]
    assert len(found["cpu"]) > 4
    for expected, got in zip(found["numpy"], found["cpu"], strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-4 * np.abs(expected).max() + 1e-7)
