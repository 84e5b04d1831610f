"""Upgrades nets of the first generation (V0, ``layers { layer { type: "conv" } }``) to the second (V1)."""

from __future__ import annotations

from collections.abc import Mapping

from netc.frontend.message import Message, UnknownField
from netc.frontend.suggest import did_you_mean
from netc.ir.diagnostics import NetcError

V1_TYPES: Mapping[str, str] = {
    "accuracy": "ACCURACY",
    "bnll": "BNLL",
    "concat": "CONCAT",
    "conv": "CONVOLUTION",
    "data": "DATA",
    "dropout": "DROPOUT",
    "euclidean_loss": "EUCLIDEAN_LOSS",
    "flatten": "FLATTEN",
    "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT",
    "im2col": "IM2COL",
    "images": "IMAGE_DATA",
    "infogain_loss": "INFOGAIN_LOSS",
    "innerproduct": "INNER_PRODUCT",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "pool": "POOLING",
    "relu": "RELU",
    "sigmoid": "SIGMOID",
    "softmax": "SOFTMAX",
    "softmax_loss": "SOFTMAX_LOSS",
    "split": "SPLIT",
    "tanh": "TANH",
    "window_data": "WINDOW_DATA",
}
"""V0's type names with V1's. ``padding`` has none: it is merged into the layer that reads it."""

PADDING = "padding"
PADDED = ("conv", "pool")

_DATA = {"data": "data_param", "images": "image_data_param", "window_data": "window_data_param"}
_CONV_OR_INNER = {"conv": "convolution_param", "innerproduct": "inner_product_param"}
_CONV_OR_POOL = {"conv": "convolution_param", "pool": "pooling_param"}
_LRN = {"lrn": "lrn_param"}
_WINDOW = {"window_data": "window_data_param"}
_IMAGES = {"images": "image_data_param"}

# V0's field: its name in V1, and the message it moves to by V0's type
_MOVES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "num_output": ("num_output", _CONV_OR_INNER),
    "biasterm": ("bias_term", _CONV_OR_INNER),
    "weight_filler": ("weight_filler", _CONV_OR_INNER),
    "bias_filler": ("bias_filler", _CONV_OR_INNER),
    "pad": ("pad", _CONV_OR_POOL),
    "kernelsize": ("kernel_size", _CONV_OR_POOL),
    "group": ("group", {"conv": "convolution_param"}),
    "stride": ("stride", _CONV_OR_POOL),
    "pool": ("pool", {"pool": "pooling_param"}),
    "dropout_ratio": ("dropout_ratio", {"dropout": "dropout_param"}),
    "local_size": ("local_size", _LRN),
    "alpha": ("alpha", _LRN),
    "beta": ("beta", _LRN),
    "k": ("k", _LRN),
    "source": ("source", _DATA | {"hdf5_data": "hdf5_data_param", "infogain_loss": "infogain_loss_param"}),
    "batchsize": ("batch_size", _DATA | {"hdf5_data": "hdf5_data_param"}),
    "rand_skip": ("rand_skip", {"data": "data_param", "images": "image_data_param"}),
    "shuffle_images": ("shuffle", _IMAGES),
    "new_height": ("new_height", _IMAGES),
    "new_width": ("new_width", _IMAGES),
    "concat_dim": ("concat_dim", {"concat": "concat_param"}),
    "det_fg_threshold": ("fg_threshold", _WINDOW),
    "det_bg_threshold": ("bg_threshold", _WINDOW),
    "det_fg_fraction": ("fg_fraction", _WINDOW),
    "det_context_pad": ("context_pad", _WINDOW),
    "det_crop_mode": ("crop_mode", _WINDOW),
}

_TRANSFORMS = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}
_SAME = ("name", "blobs", "blobs_lr", "weight_decay")


def is_v0(net: Message) -> bool:
    """Whether some layer of the net is of the first generation."""
    return any(layer.has("layer") for layer in net.messages("layers"))


def upgrade_v0_net(net: Message) -> Message:
    """The net with V1 layers; the argument is left as it is."""
    made = merge_padding(net)
    layers = made.messages("layers")
    made.clear("layers")
    for layer in layers:
        made.add("layers", _upgrade_layer(layer), layer.location)
    return made


def merge_padding(net: Message) -> Message:
    """The net without its padding layers: their padding goes to the layers that read them."""
    made = net.copy()
    made.clear("layers")
    producers: dict[str, Message | None] = {name: None for name in net.texts("input")}
    for layer in net.messages("layers"):
        kept = layer.copy()
        for index, bottom in enumerate(layer.texts("bottom")):
            if bottom not in producers:
                raise NetcError(
                    f"unknown blob '{bottom}'",
                    location=layer.where("bottom", index),
                    layer=_name(layer),
                    remedy=did_you_mean(bottom, producers),
                )
            producer = producers[bottom]
            if producer is not None and _type(producer) == PADDING:
                _merge(kept, producer, index)
        if _type(layer) != PADDING:
            made.add("layers", kept, kept.location)
        for top in layer.texts("top"):
            producers[top] = layer
    return made


def _merge(layer: Message, padding: Message, index: int) -> None:
    """Let a layer read what the padding layer reads, and pad by itself."""
    location = layer.where("bottom", index)
    if _type(layer) not in PADDED:
        message = f"a padding layer can only feed {' or '.join(PADDED)}, not '{_type(layer)}'"
        raise NetcError(message, location=location, layer=_name(layer))
    if len(layer.list("bottom")) != 1:
        raise NetcError("a padded layer takes one bottom", location=location, layer=_name(layer))
    if len(padding.list("bottom")) != 1 or len(padding.list("top")) != 1:
        raise NetcError(
            "a padding layer takes one bottom and one top", location=padding.location, layer=_name(padding)
        )
    settings = padding.message("layer")
    layer.ensure("layer").set("pad", settings.get("pad"), settings.where("pad"))
    layer.replace("bottom", index, padding.texts("bottom")[0], padding.where("bottom"))


def _upgrade_layer(old: Message) -> Message:
    if not old.has("layer"):
        return old
    made = Message("V1LayerParameter", old.location)
    made.take("bottom", old)
    made.take("top", old)
    made.unknown += old.unknown
    settings = old.message("layer")
    made.unknown += settings.unknown
    kind = settings.text("type")
    for name, _ in settings.fields():
        location = settings.where(name)
        if name in _SAME:
            made.take(name, settings)
        elif name == "type":
            made.set("type", _v1_type(settings), location)
        elif name in _TRANSFORMS:
            made.ensure("transform_param", location).take(_TRANSFORMS[name], settings, name)
        elif name == "hdf5_output_param" and kind == "hdf5_output":
            made.take(name, settings)
        elif name in _MOVES and kind in _MOVES[name][1]:
            new_name, targets = _MOVES[name]
            made.ensure(targets[kind], location).take(new_name, settings, name)
        else:
            # the layer has no such setting: it is told of with the fields that the schema lacks
            made.unknown.append(UnknownField(name, str(settings.list(name)[0]), location))
    return made


def _v1_type(settings: Message) -> str:
    kind = settings.text("type")
    if kind not in V1_TYPES:
        raise NetcError(
            f"unknown layer type '{kind}' in a net of the first generation (V0)",
            location=settings.where("type"),
            layer=settings.text("name"),
            remedy=did_you_mean(kind, V1_TYPES),
        )
    return V1_TYPES[kind]


def _type(layer: Message) -> str:
    return layer.message("layer").text("type")


def _name(layer: Message) -> str:
    return layer.message("layer").text("name")
