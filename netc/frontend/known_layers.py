"""Layer types that exist and are not supported yet, and what to do about each kind."""

from __future__ import annotations

LOSSES = frozenset(
    {
        "ContrastiveLoss", "EuclideanLoss", "HingeLoss", "InfogainLoss",
        "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss", "SoftmaxWithLoss",
    }
)  # fmt: skip
# forks' layers that only training and scoring need, and what each does
TRAINING = {
    "BoxAnnotatorOHEM": "chooses the hardest regions while training",
    "CenterLoss": "is a loss",
    "DetectionEvaluate": "compares detections with the truth",
    "EvalDetection": "compares detections with the truth",
    "MultiBoxLoss": "is SSD's loss",
    "RegionLoss": "is YOLO's loss",
    "SmoothL1Loss": "is a loss",
    "SmoothL1LossOHEM": "is a loss",
    "SoftmaxWithLossOHEM": "is a loss",
    "TripletLoss": "is a loss",
    "YoloSegLoss": "is a loss",
    "Yolov3Loss": "is YOLO's loss",
    "YoloV3Loss": "is YOLO's loss",
}
EVALUATIONS = frozenset({"Accuracy"})
OTHERS = frozenset(
    {
        "ArgMax", "BNLL", "BatchReindex", "Clip", "Embed", "Filter", "HDF5Output", "Im2col", "LSTM",
        "LSTMUnit", "MVN", "Parameter", "RNN", "Recurrent", "Reduction", "SPP", "Swish", "Threshold", "Tile",
    }
)  # fmt: skip


def why_unsupported(name: str) -> tuple[str, str] | None:
    """A message and a remedy for a type that is known; None for one nobody knows."""
    if name in TRAINING:
        return (
            f"layer type '{name}' {TRAINING[name]}; netc reads and prints it, and does not run it",
            "use the net's deploy or test prototxt, which does without it",
        )
    if name in LOSSES | EVALUATIONS:
        return (
            f"layer type '{name}' is known but not supported yet",
            "use the net's deploy prototxt, which ends before its loss and accuracy layers",
        )
    if name in OTHERS:
        return (f"layer type '{name}' is known but not supported yet", plug_in_remedy(name))
    return None


def plug_in_remedy(name: str) -> str:
    """How to supply a layer type oneself."""
    return f"a plug-in can supply it: netc.register_layer('{name}', rule), see docs/plugins.md"
