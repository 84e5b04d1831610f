"""The least layer of every type that imports: its settings and the shapes of its inputs."""

from __future__ import annotations

import netc.frontend.layers  # noqa: F401  fills the table
from netc.frontend.imported_net import ImportedNet
from netc.frontend.importer import import_net
from netc.frontend.layers.registry import layer_type
from netc.frontend.net_file import load_net
from netc.frontend.python_layers.blobs import LayerBlob
from netc.frontend.python_layers.classes import register_python_layer

Shape = tuple[int, ...]

X: Shape = (2, 4, 6, 6)
PLANE: Shape = (1, 4, 6, 6)
ROWS: Shape = (2, 4)
LABEL: Shape = (2,)
REGIONS: Shape = (3, 5)

_CONV = "convolution_param { num_output: 4 kernel_size: 3 }"
_SEQUENCE: tuple[Shape, ...] = ((2, 3, 4), (2, 3))
_PROPOSAL: tuple[Shape, ...] = ((1, 18, 4, 4), (1, 36, 4, 4), (1, 3))


class Copy:
    """The least layer in Python."""

    def setup(self, bottom: list[LayerBlob], top: list[LayerBlob]) -> None:
        """Nothing to set up."""

    def reshape(self, bottom: list[LayerBlob], top: list[LayerBlob]) -> None:
        """Give the top the shape of the bottom."""
        top[0].reshape(bottom[0].shape)

    def forward(self, bottom: list[LayerBlob], top: list[LayerBlob]) -> None:
        """Copy the values."""
        top[0].data[...] = bottom[0].data

    def backward(self, top: list[LayerBlob], propagate_down: list[bool], bottom: list[LayerBlob]) -> None:
        """Copy the gradient."""
        del propagate_down
        bottom[0].diff[...] = top[0].diff


register_python_layer("layer_examples.Copy", Copy)

# type -> (settings, shapes of the inputs); a type that is not here takes X as every input, and no settings
_EXAMPLES: dict[str, tuple[str, tuple[Shape, ...]]] = {
    "Accuracy": ("", (ROWS, LABEL)),
    "Axpy": ("", (ROWS, X, X)),
    "BatchReindex": ("", (X, LABEL)),
    "BatchToSpaceND": ("batch_to_space_nd_param { block_shape: 2 }", (X,)),
    "BN": ("bn_param { slope_filler { value: 1 } }", (X,)),
    "Clip": ("clip_param { min: 0 max: 1 }", (X,)),
    "Concat": ("", (X, X)),
    "ContinuationIndicator": ("continuation_indicator_param { time_step: 3 batch_size: 2 }", ()),
    "ContrastiveLoss": ("", (ROWS, ROWS, LABEL)),
    "Convolution": (_CONV, (X,)),
    "ConvolutionDepthwise": (_CONV, (X,)),
    "Correlation": ("correlation_param { kernel_size: 1 max_displacement: 1 pad: 1 }", (X, X)),
    "Correlation1D": ("correlation_param { kernel_size: 1 max_displacement: 1 pad: 1 }", (X, X)),
    "Deconvolution": (_CONV, (X,)),
    "Crop": ("", (X, (2, 4, 3, 3))),
    "DepthToSpace": ("depth_to_space_param { block_size: 2 data_format: 'NCHW' }", (X,)),
    "DepthwiseConvolution": (_CONV, (X,)),
    "DetectionOutput": ("detection_output_param { num_classes: 2 }", ((1, 12), (1, 6), (1, 2, 12))),
    "DummyData": ("dummy_data_param { shape { dim: 2 } }", ()),
    "Embed": ("embed_param { num_output: 3 input_dim: 5 }", (LABEL,)),
    "Filter": ("", (X, LABEL)),
    "FlowWarp": ("", (X, (2, 2, 6, 6))),
    "HDF5Output": ("hdf5_output_param { file_name: 'out.h5' }", (ROWS, LABEL)),
    "HingeLoss": ("", (ROWS, LABEL)),
    "Im2col": (_CONV, (X,)),
    "InfogainLoss": ("", (ROWS, LABEL, (4, 4))),
    "InnerProduct": ("inner_product_param { num_output: 3 }", (ROWS,)),
    "Input": ("input_param { shape { dim: 2 } }", ()),
    "Interp": ("interp_param { zoom_factor: 2 }", (X,)),
    "LSTM": ("recurrent_param { num_output: 3 }", _SEQUENCE),
    "LSTMUnit": ("", ((1, 3, 2), (1, 3, 8), (1, 3))),
    "Lstm": ("lstm_param { num_output: 3 }", _SEQUENCE[:1]),
    "MemoryData": ("memory_data_param { batch_size: 2 channels: 3 height: 4 width: 4 }", ()),
    "MirrorPad": ("mirror_pad_param { mode: 'REFLECT' paddings: [0, 0, 0, 0, 1, 1, 1, 1] }", (X,)),
    "Mul": ("", (X, X)),
    "MultinomialLogisticLoss": ("", (ROWS, LABEL)),
    "PSROIPooling": (
        "psroi_pooling_param { spatial_scale: 1 output_dim: 1 group_size: 2 }",
        (PLANE, REGIONS),
    ),
    "Pad": ("pad_param { paddings: [0, 0, 0, 0, 1, 1, 1, 1] }", (X,)),
    "Padding": ("pad_param { paddings: [0, 0, 0, 0, 1, 1, 1, 1] }", (X,)),
    "Parameter": ("parameter_param { shape { dim: 2 } }", ()),
    "Permute": ("permute_param { order: 1 order: 0 }", (X,)),
    "Pooling": ("pooling_param { kernel_size: 2 }", (X,)),
    "PriorBox": ("prior_box_param { min_size: 2 }", (X, X)),
    "Proposal": ("proposal_param { ratio: 1 scale: [1, 2, 3, 4, 5, 6, 7, 8, 9] }", _PROPOSAL),
    "Python": ("python_param { module: 'layer_examples' layer: 'Copy' }", (X,)),
    "Python:rpn.proposal_layer.ProposalLayer": (
        "python_param { module: 'rpn.proposal_layer' layer: 'ProposalLayer' "
        "param_str: \"'feat_stride': 16\" }",
        _PROPOSAL,
    ),
    "Python:spatial_dropout.SpatialDropoutLayer": (
        "python_param { module: 'spatial_dropout' layer: 'SpatialDropoutLayer' }",
        (X,),
    ),
    "RNN": ("recurrent_param { num_output: 3 }", _SEQUENCE),
    "ROIPooling": ("roi_pooling_param { pooled_h: 2 pooled_w: 2 }", (PLANE, REGIONS)),
    "Reorg": ("reorg_param { stride: 2 }", (X,)),
    "Resample": ("resample_param { height: 3 width: 3 }", (X,)),
    "Reshape": ("reshape_param { shape { dim: 0 dim: -1 } }", (X,)),
    "Resize": ("resize_param { height: 3 width: 3 }", (X,)),
    "ResizeBilinear": ("resize_bilinear_param { scale_height: 2 data_format: 'NCHW' }", (X,)),
    "ResizeNearest": ("resize_nearest_neighbor_param { scale_height: 2 data_format: 'NCHW' }", (X,)),
    "ResizeNearestNeighbor": ("resize_nearest_neighbor_param { scale_height: 2 data_format: 'NCHW' }", (X,)),
    "SPP": ("spp_param { pyramid_height: 2 }", (X,)),
    "ScaledTanH": ("scaled_tanh_param { alpha: 1 beta: 1 }", (X,)),
    "ShuffleChannel": ("shuffle_channel_param { group: 2 }", (X,)),
    "SoftmaxWithLoss": ("", (ROWS, LABEL)),
    "SoftmaxWithLossOHEM": ("", (ROWS, LABEL)),
    "SpaceToBatchND": ("space_to_batch_nd_param { block_shape: 2 }", (X,)),
    "SpaceToDepth": ("space_to_depth_param { block_size: 2 data_format: 'NCHW' }", (X,)),
    "Squeeze": ("", ((2, 1, 3),)),
    "Threshold": ("", (X,)),
    "Tile": ("tile_param { tiles: 2 }", (X,)),
    "Transpose": ("transpose_param { dim: 1 dim: 0 }", (ROWS,)),
    "Unpooling": ("unpooling_param { unpool_size: 12 }", (X, X)),
    "YoloDetectionOutput": (
        "yolo_detection_output_param { biases: [1, 1, 2, 2, 3, 3, 4, 4, 5, 5] }",
        ((1, 125, 4, 4),),
    ),
    "Yolov3DetectionOutput": (
        "yolov3_detection_output_param { biases: [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6] "
        "mask: [0, 1, 2, 3, 4, 5] anchors_scale: [32, 16] }",
        ((1, 75, 4, 4), (1, 75, 8, 8)),
    ),
}


def import_example(name: str, phase: str) -> ImportedNet:
    """The net of :func:`example_text`."""
    return import_net(load_net(example_text(name), phase=phase), phase=phase)


def example_text(name: str) -> str:
    """A net of the least layer of a type, called l; what it reads are inputs called x0, x1, ..."""
    entry = layer_type(name)
    assert entry is not None, name
    settings, shapes = _EXAMPLES.get(name, ("", (X,) * entry.bottoms[0]))
    bottoms = [f"x{i}" for i in range(len(shapes))]
    tops = ["y"] if entry.tops[0] == 1 or entry.tops[1] != 0 else []
    tops += [f"y{i}" for i in range(1, entry.tops[0])]
    inputs = [
        f'input: "{b}" input_shape {{ {" ".join(f"dim: {d}" for d in s)} }}'
        for b, s in zip(bottoms, shapes, strict=True)
    ]
    names = [f'bottom: "{b}"' for b in bottoms] + [f'top: "{t}"' for t in tops]
    layer = f'layer {{ name: "l" type: "{name.partition(":")[0]}" {" ".join(names)} {settings} }}'
    return "\n".join([*inputs, layer]) + "\n"
