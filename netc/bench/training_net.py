"""Make a net for training from one for inference: the same layers, with a loss on the classifier's scores."""

import re

_TYPE = re.compile(r'\btype:\s*"(\w+)"')
_BOTTOM = re.compile(r'\bbottom:\s*"([^"]+)"')


def training_prototxt(text: str, batch: int) -> str:
    """Replace the Softmax at the end by SoftmaxWithLoss, and leave Dropout, whose draws differ, out.

    Batch norms use the statistics of the batch. Labels are an input of ``batch`` classes.
    """
    text = text.replace("use_global_stats: true", "")
    kept = []
    scores = ""
    for layer in _layers(text):
        found = _TYPE.search(layer)
        kind = found[1] if found else ""
        if kind == "Softmax":
            (scores,) = _BOTTOM.findall(layer)
        elif kind != "Dropout":  # in place in all our nets
            kept.append(layer)
    kept.append(
        f'layer {{ name: "label" type: "Input" top: "label" input_param {{ shape {{ dim: {batch} }} }} }}'
    )
    kept.append(
        f'layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "{scores}" bottom: "label" top: "loss" }}'
    )
    return 'name: "training"\n' + "\n".join(kept) + "\n"


def _layers(text: str) -> list[str]:
    """The texts of the layers of a net whose strings and comments hold no braces."""
    found = []
    for match in re.finditer(r"^layer\s*\{", text, re.M):
        depth, end = 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        found.append(text[match.start() : end])
    return found
