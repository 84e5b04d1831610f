"""Upgrades nets of the second generation (V1, ``layers { type: CONVOLUTION }``) to the current one (V2)."""

from __future__ import annotations

from collections.abc import Mapping

from netc.frontend.message import Message
from netc.ir.diagnostics import NetcError

V2_TYPES: Mapping[str, str] = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ACCURACY": "Accuracy",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss",
    "CONVOLUTION": "Convolution",
    "DATA": "Data",
    "DECONVOLUTION": "Deconvolution",
    "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData",
    "EUCLIDEAN_LOSS": "EuclideanLoss",
    "ELTWISE": "Eltwise",
    "EXP": "Exp",
    "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss",
    "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN",
    "POOLING": "Pooling",
    "POWER": "Power",
    "RELU": "ReLU",
    "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence",
    "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split",
    "SLICE": "Slice",
    "TANH": "TanH",
    "WINDOW_DATA": "WindowData",
    "THRESHOLD": "Threshold",
    "BN": "BN",
    "BATCH_NORM": "BatchNorm",
    "CROP": "AlignedCrop",
    "DENSE_IMAGE_DATA": "DenseImageData",
    "IMAGE_SEG_DATA": "ImageSegData",
    "INTERP": "Interp",
    "PRELU": "PReLU",
    "RESHAPE": "Reshape",
    "ROI_POOLING": "ROIPooling",
    "SCALE": "Scale",
    "SEG_ACCURACY": "SegAccuracy",
    "SMOOTH_L1_LOSS": "SmoothL1Loss",
    "UNPOOLING": "Unpooling",
    "UPSAMPLE": "Upsample",
    "WINDOW_SEG_DATA": "WindowSegData",
}
"""V1's type names with V2's."""

_DATA_PARAMS = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}
_TRANSFORMS = ("scale", "mean_file", "crop_size", "mirror")

# V1's parallel lists, one element per parameter blob: the field of ParamSpec each becomes
_PARAM_LISTS = {
    "param": "name",
    "blob_share_mode": "share_mode",
    "blobs_lr": "lr_mult",
    "weight_decay": "decay_mult",
}


def move_data_transforms(net: Message) -> Message:
    """The net with the image settings of its V1 data layers in ``transform_param``."""
    made = net.copy()
    for layer in made.messages("layers"):
        param = _DATA_PARAMS.get(layer.text("type"))
        if param is None or not layer.has(param):
            continue
        settings = layer.message(param)
        for name in _TRANSFORMS:
            if settings.has(name):
                transform = layer.ensure("transform_param", settings.where(name))
                transform.set(name, settings.get(name), settings.where(name))
                settings.clear(name)
    return made


def upgrade_v1_net(net: Message) -> Message:
    """The net with V2 layers; the argument is left as it is."""
    if net.has("layer"):
        raise NetcError(
            "a net has 'layer' or 'layers', and this one has both",
            location=net.where("layers"),
            notes=(f"the first 'layer' is at {net.where('layer')}",),
            remedy="write every layer as 'layer { }', with its type in quotes",
        )
    made = net.copy()
    made.clear("layers")
    for layer in net.messages("layers"):
        made.add("layer", upgrade_v1_layer(layer), layer.location)
    return made


def upgrade_v1_layer(old: Message) -> Message:
    """A V2 layer that means the same."""
    made = Message("LayerParameter", old.location)
    made.unknown += old.unknown
    for name, values in old.fields():
        if name == "type":
            made.set("type", V2_TYPES[old.text("type")], old.where("type"))
        elif name in _PARAM_LISTS:
            for index, value in enumerate(values):
                location = old.where(name, index)
                while len(made.list("param")) <= index:
                    made.add("param", Message("ParamSpec", location), location)
                made.messages("param")[index].set(_PARAM_LISTS[name], value, location)
        elif name != "layer":
            made.take(name, old)
    return made
