"""Layer types that exist and are not supported yet, and what to do about each kind."""

from __future__ import annotations

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


def why_unsupported(name: str) -> tuple[str, str] | None:
    """A message and a remedy for a type that is known; None for one nobody knows."""
    if name in TRAINING:
        return (
            f"layer type '{name}' {TRAINING[name]}; netc reads and prints it, and does not run it",
            "use the net's deploy or test prototxt, which does without it",
        )
    return None


def plug_in_remedy(name: str) -> str:
    """How to supply a layer type oneself."""
    return f"a plug-in can supply it: netc.register_layer('{name}', rule), see docs/plugins.md"
