"""Layer types that exist and are not supported yet, and what to do about each kind."""

from __future__ import annotations

LOSSES = frozenset(
    {
        "MultiBoxLoss",
        "SmoothL1Loss", 
    }
)  # fmt: skip
EVALUATIONS = frozenset({"DetectionEvaluate"})
OTHERS = frozenset(
    {
        "BN", "DetectionOutput", 
        "Interp", "Normalize", "PSROIPooling", "PriorBox",
        "Proposal", "Python", "ROIPooling", "Recurrent", "Reorg", "Resize", 
        "ShuffleChannel", "Upsample",
    }
)  # fmt: skip


def why_unsupported(name: str) -> tuple[str, str] | None:
    """A message and a remedy for a type that is known; None for one nobody knows."""
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
