"""Which message a layer's own settings are in: ``num_output`` of a Convolution in ``convolution_param``.

Shared by those who write settings without naming the message: the ``.net`` language and NetSpec.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from netc.frontend.layers.registry import layer_type_names
from netc.frontend.schema import FieldType, message_type
from netc.frontend.upgrade_v1 import V2_TYPES

LAYER = "LayerParameter"
_SUFFIX = "Parameter"

_WITHOUT_SETTINGS = ("BatchReindex", "Filter", "LSTMUnit", "Split", "AbsVal", "BNLL", "Silence")
_DATA = ("AnnotatedData", "Data", "ImageData", "MemoryData", "VideoData", "WindowData", "HDF5Data")

# types whose settings are in a message of another name, or in more than one
_OTHER_MESSAGES: Mapping[str, tuple[str, ...]] = {
    "ConvolutionDepthwise": ("convolution_param",),
    "Deconvolution": ("convolution_param",),
    "DepthwiseConvolution": ("convolution_param",),
    "Im2col": ("convolution_param",),
    "Correlation1D": ("correlation_param",),
    "Padding": ("pad_param",),
    "ReLU6": ("relu_param",),
    "ResizeNearest": ("resize_nearest_neighbor_param",),
    "SeLU": ("selu_param",),
    "SeLu": ("selu_param",),
    "Selu": ("selu_param",),
    "SeLuDropout": ("selu_dropout_param",),
    "SpatialDropout": ("dropout_param",),
    "LSTM": ("recurrent_param",),
    "RNN": ("recurrent_param",),
    "ContrastiveLoss": ("contrastive_loss_param", "loss_param"),
    "EuclideanLoss": ("loss_param",),
    "HingeLoss": ("hinge_loss_param", "loss_param"),
    "InfogainLoss": ("infogain_loss_param", "loss_param"),
    "MultinomialLogisticLoss": ("loss_param",),
    "SigmoidCrossEntropyLoss": ("loss_param",),
    "SmoothL1LossOHEM": ("loss_param",),
    "SoftmaxWithLossOHEM": ("loss_param", "softmax_param"),
    "SoftmaxWithLoss": ("loss_param", "softmax_param"),
    **{
        # the deprecated transformations in the data messages have no effect
        kind: ("transform_param", *([own] if own else []))
        for kind, own in zip(
            _DATA,
            ("annotated_data_param", "data_param", "image_data_param", "memory_data_param",
             "video_data_param", "window_data_param", "hdf5_data_param"),
            strict=True,
        )
    },
}  # fmt: skip


def own_messages(layer_type: str) -> tuple[str, ...]:
    """The fields of ``LayerParameter`` that hold the settings of a type, the first in doubt."""
    found = _OTHER_MESSAGES.get(layer_type)
    if found is not None:
        return found
    name = _messages_by_type().get(layer_type)
    return (name,) if name is not None else ()


def find_field(layer_type: str, name: str) -> tuple[str | None, FieldType] | None:
    """Where a setting of a layer belongs: the message (None: the layer itself) and the field in it."""
    layer = message_type(LAYER)
    for own in own_messages(layer_type):
        message = layer.fields[own].message
        assert message is not None
        if name in message.fields:
            return own, message.fields[name]
    return (None, layer.fields[name]) if name in layer.fields else None


def setting_names(layer_type: str) -> tuple[str, ...]:
    """Every name that ``find_field`` finds for a type."""
    layer = message_type(LAYER)
    names: dict[str, None] = {}
    for own in own_messages(layer_type):
        message = layer.fields[own].message
        assert message is not None
        names.update(dict.fromkeys(message.fields))
    return tuple({**names, **dict.fromkeys(layer.fields)})


def known_types() -> frozenset[str]:
    """The layer types that have a rule, or are known to exist."""
    return frozenset(layer_type_names()) | _other_types()


@cache
def _other_types() -> frozenset[str]:
    return frozenset({*_messages_by_type(), *_OTHER_MESSAGES, *V2_TYPES.values(), *_WITHOUT_SETTINGS})


@cache
def _messages_by_type() -> Mapping[str, str]:
    """``{"Convolution": "convolution_param", ...}``: a type's message is called after it."""
    fields = message_type(LAYER).fields.values()
    messages = {field.name: field.message.name for field in fields if field.message is not None}
    del messages["transform_param"]  # no layer is called Transformation
    return {
        message.removesuffix(_SUFFIX): name for name, message in messages.items() if message.endswith(_SUFFIX)
    }
