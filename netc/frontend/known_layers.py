"""Layer types that exist and are not supported, and what to do about each kind."""

from __future__ import annotations

# forks' layers that only training and scoring need, and what each does
TRAINING = {
    "AnchorTargetLayer": "makes the targets of a region proposal network",
    "BoxAnnotatorOHEM": "chooses the hardest regions while training",
    "CTCLoss": "is the loss of sequences without alignment",
    "CenterLoss": "is a loss",
    "DetectionEvaluate": "compares detections with the truth",
    "EvalDetection": "compares detections with the truth",
    "FrcnnAnchorTarget": "makes the targets of a region proposal network",
    "FrcnnProposalTarget": "samples regions and their targets",
    "GANLoss": "is a loss",
    "L1Loss": "is a loss",
    "LpqLoss": "is a loss",
    "MarginInnerProduct": "is SphereFace's last layer while training",
    "MultiBoxLoss": "is SSD's loss",
    "RegionLoss": "is YOLO's loss",
    "SegAccuracy": "compares segmentations with the truth",
    "SegmentationEvaluate": "compares segmentations with the truth",
    "SoftmaxWithFocalLoss": "is a loss",
    "FocalLoss": "is a loss",
    "TripletLoss": "is a loss",
    "WarpCTC": "is the loss of sequences without alignment",
    "WarpCTCLoss": "is the loss of sequences without alignment",
    "YoloSeg": "is a loss",
    "YoloSegLoss": "is a loss",
    "YoloV2Loss": "is YOLO's loss",
    "Yolov3Loss": "is YOLO's loss",
    "YoloV3Loss": "is YOLO's loss",
    "Yolov3": "is YOLO's loss",
}

# layers whose meaning is known and that netc does not compute: what each is, and the way out
OTHERS = {
    "DataAugmentation": (
        "layer type 'DataAugmentation' crops and changes images at random; netc does not run it",
        "feed images without their mean, and take the layer out",
    ),
    "DenseBlock": (
        "layer type 'DenseBlock' is a whole block of a DenseNet with its own blobs; netc does not run it",
        "write its BatchNorm, ReLU and Convolution layers one by one",
    ),
    "AlignedCrop": (
        "layer type 'CROP' of the first fully convolutional nets finds its offsets by itself",
        "write a Crop layer with crop_param { offset: … } in its place",
    ),
}


def why_unsupported(name: str) -> tuple[str, str] | None:
    """A message and a remedy for a type that is known; None for one nobody knows."""
    if name in TRAINING:
        return (
            f"layer type '{name}' {TRAINING[name]}; netc reads and prints it, and does not run it",
            "use the net's deploy or test prototxt, which does without it",
        )
    return OTHERS.get(name)


def plug_in_remedy(name: str) -> str:
    """How to supply a layer type oneself."""
    return f"a plug-in can supply it: netc.register_layer('{name}', rule), see docs/plugins.md"


def unsupported_types() -> tuple[str, ...]:
    """Every type that :func:`why_unsupported` knows, sorted."""
    return tuple(sorted({**TRAINING, **OTHERS}))
