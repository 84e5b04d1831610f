"""Nets with all that CUDA kernels are for, at sizes that the emulator runs in seconds."""

from __future__ import annotations

RATES = "param { lr_mult: 1 } param { lr_mult: 2 }"


def inputs(batch: int, channels: int, size: int) -> str:
    return f"""
layer {{ name: "in" type: "Input" top: "data" top: "label" input_param {{
  shape {{ dim: {batch} dim: {channels} dim: {size} dim: {size} }} shape {{ dim: {batch} }} }} }}"""


def conv(
    name: str,
    bottom: str,
    outputs: int,
    kernel: int,
    *,
    pad: int = 0,
    stride: int = 1,
    group: int = 1,
    act: str = "ReLU",
) -> str:
    return f"""
layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {RATES} convolution_param {{
  num_output: {outputs} kernel_size: {kernel} pad: {pad} stride: {stride} group: {group}
  weight_filler {{ type: "xavier" }} bias_filler {{ type: "constant" value: 0.1 }} }} }}
layer {{ name: "{name}_act" type: "{act}" bottom: "{name}" top: "{name}" }}"""


def pool(name: str, bottom: str, kind: str, kernel: int, stride: int, pad: int = 0) -> str:
    return f"""
layer {{ name: "{name}" type: "Pooling" bottom: "{bottom}" top: "{name}" pooling_param {{
  pool: {kind} kernel_size: {kernel} stride: {stride} pad: {pad} }} }}"""


def classifier(bottom: str, classes: int) -> str:
    return f"""
layer {{ name: "fc" type: "InnerProduct" bottom: "{bottom}" top: "fc" {RATES} inner_product_param {{
  num_output: {classes} weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }}"""


LENET = f"""
name: "lenet" {inputs(2, 1, 28)}
{conv("conv1", "data", 20, 5)} {pool("pool1", "conv1", "MAX", 2, 2)}
{conv("conv2", "pool1", 50, 5)} {pool("pool2", "conv2", "MAX", 2, 2)}
layer {{ name: "ip1" type: "InnerProduct" bottom: "pool2" top: "ip1" {RATES} inner_product_param {{
  num_output: 100 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }}
layer {{ name: "drop1" type: "Dropout" bottom: "ip1" top: "ip1" dropout_param {{ dropout_ratio: 0.4 }} }}
{classifier("ip1", 10)}
"""

# the first stage of MTCNN, with a loss on each of its heads
DET1 = f"""
name: "det1"
layer {{ name: "in" type: "Input" top: "data" top: "label" top: "box" input_param {{
  shape {{ dim: 2 dim: 3 dim: 12 dim: 14 }} shape {{ dim: 2 dim: 1 dim: 1 dim: 2 }} shape {{ dim: 2 dim: 4 dim: 1 dim: 2 }} }} }}
{conv("conv1", "data", 10, 3, act="PReLU")} {pool("pool1", "conv1", "MAX", 2, 2)}
{conv("conv2", "pool1", 16, 3, act="PReLU")} {conv("conv3", "conv2", 32, 3, act="PReLU")}
layer {{ name: "conv4-1" type: "Convolution" bottom: "conv3" top: "conv4-1" {RATES} convolution_param {{
  num_output: 2 kernel_size: 1 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "conv4-2" type: "Convolution" bottom: "conv3" top: "conv4-2" {RATES} convolution_param {{
  num_output: 4 kernel_size: 1 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "conv4-1" bottom: "label" top: "loss" }}
layer {{ name: "box_loss" type: "EuclideanLoss" bottom: "conv4-2" bottom: "box" top: "box_loss" loss_weight: 0.5 }}
"""

GOOGLENET_LIKE = f"""
name: "inception" {inputs(2, 3, 32)}
{conv("conv1", "data", 16, 7, pad=3, stride=2)} {pool("pool1", "conv1", "MAX", 3, 2)}
layer {{ name: "norm1" type: "LRN" bottom: "pool1" top: "norm1" lrn_param {{ local_size: 5 alpha: 0.5 beta: 0.75 }} }}
{conv("reduce", "norm1", 16, 1)} {conv("conv2", "reduce", 24, 3, pad=1)}
{conv("i1", "conv2", 8, 1)}
{conv("i3r", "conv2", 12, 1)} {conv("i3", "i3r", 16, 3, pad=1)}
{conv("i5r", "conv2", 4, 1)} {conv("i5", "i5r", 8, 5, pad=2)}
{pool("ip", "conv2", "MAX", 3, 1, 1)} {conv("ipp", "ip", 8, 1)}
layer {{ name: "cat" type: "Concat" bottom: "i1" bottom: "i3" bottom: "i5" bottom: "ipp" top: "cat" }}
{conv("depthwise", "cat", 40, 3, pad=1, group=40)}
{pool("ave", "depthwise", "AVE", 3, 2)}
layer {{ name: "drop" type: "Dropout" bottom: "ave" top: "ave" }}
{classifier("ave", 10)}
"""

RESNET_LIKE = f"""
name: "residual" {inputs(3, 4, 12)}
{conv("conv1", "data", 16, 3, pad=1)}
layer {{ name: "bn1" type: "BatchNorm" bottom: "conv1" top: "bn1" }}
layer {{ name: "scale1" type: "Scale" bottom: "bn1" top: "scale1" scale_param {{ bias_term: true }} }}
{conv("conv2", "scale1", 16, 3, pad=1)}
layer {{ name: "sum" type: "Eltwise" bottom: "conv2" bottom: "conv1" top: "sum" }}
layer {{ name: "bn2" type: "BatchNorm" bottom: "sum" top: "bn2" }}
layer {{ name: "relu2" type: "ReLU" bottom: "bn2" top: "bn2" }}
{conv("grouped", "bn2", 24, 3, stride=2, group=2)}
layer {{ name: "up" type: "Deconvolution" bottom: "grouped" top: "up" {RATES} convolution_param {{
  num_output: 8 kernel_size: 4 stride: 2 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "global" type: "Pooling" bottom: "up" top: "global" pooling_param {{ pool: AVE global_pooling: true }} }}
{classifier("global", 6)}
"""

NETS = {"lenet": LENET, "det1": DET1, "googlenet_like": GOOGLENET_LIKE, "resnet_like": RESNET_LIKE}
