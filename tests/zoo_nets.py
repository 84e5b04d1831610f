"""Real model definitions of every vintage, where they lie beside the project: their states, and shapes to feed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netc.frontend.message import Message
from netc.frontend.phases import NetState, filter_net

ROOT = Path(__file__).parents[1]
ZOO = ROOT.parent / "shared" / "zoo"
FILES = sorted(p for s in ("*.prototxt", "*.pt") for p in ZOO.rglob(s) if "solver" not in p.name)

BATCH = 2
REGIONS = 4
SIZE = 256
MNIST = (BATCH, 1, 28, 28)
PIXEL_LABELS = ("label", "sem", "geo")  # what FCN's data layers call them

# what the layers of a net expect that say nothing of it; a key is part of the path
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "mnist_autoencoder": {"data": MNIST},
    "mnist_siamese_train_test": {"pair_data": (BATCH, 2, 28, 28), "sim": (BATCH,)},
    "/lenet": {"data": MNIST},
    "hed/examples": {"label": (BATCH, 1, SIZE, SIZE)},
    # 16 clips of 24 frames in TRAIN, of 3 in TEST
    "train_test_lstm": {"data": (384, 3, 227, 227), "label": (384,), "clip_markers": (384,)},
    "py_faster_rcnn": {
        "data": (1, 3, 224, 224),
        "im_info": (1, 3),
        "gt_boxes": (REGIONS, 5),
        "rois": (REGIONS, 5),
        "labels": (REGIONS,),
        "bbox_targets": (REGIONS, 84),
        "bbox_inside_weights": (REGIONS, 84),
        "bbox_outside_weights": (REGIONS, 84),
        "bbox_loss_weights": (REGIONS, 84),
    },
}


@dataclass(frozen=True)
class State:
    """One selection of a net's layers."""

    phase: str
    level: int
    stages: tuple[str, ...]
    net: Message

    def __str__(self) -> str:
        more = [f"level {self.level}"] * bool(self.level) + list(self.stages)
        return " ".join([self.phase, *more])


def states(net: Message) -> Iterator[State]:
    """The states in which every bottom is made by a layer before: each phase, level and stage of the net's rules.

    States that select the same layers in the same phase count once.
    """
    rules = [
        rule for layer in net.messages("layer") for f in ("include", "exclude") for rule in layer.messages(f)
    ]
    stages = sorted({stage for rule in rules for f in ("stage", "not_stage") for stage in rule.texts(f)})
    levels = sorted(
        {0, *(rule.integer(f) for rule in rules for f in ("min_level", "max_level") if rule.has(f))}
    )
    seen: list[tuple[str, Message]] = []
    for phase in ("TRAIN", "TEST"):
        for level in levels:
            for chosen in [(), *((stage,) for stage in stages)]:
                filtered = filter_net(net, NetState(phase, level, frozenset(chosen)))
                if is_closed(filtered) and (phase, filtered) not in seen:
                    seen.append((phase, filtered.copy()))
                    filtered.ensure("state").set("phase", phase)
                    yield State(phase, level, chosen, filtered)


def is_closed(net: Message) -> bool:
    """Whether every layer's inputs are made before it."""
    made: set[str] = set()
    for layer in net.messages("layer"):
        if not made.issuperset(layer.texts("bottom")):
            return False
        made.update(layer.texts("top"))
    return bool(made)


def shapes_to_feed(path: Path, net: Message) -> dict[str, tuple[int, ...]]:
    """Small batches for all inputs: what data layers deliver, and what Input layers state, less many samples."""
    read = {bottom for layer in net.messages("layer") for bottom in layer.texts("bottom")}
    known = {
        name: shape for part, each in SHAPES.items() if part in str(path) for name, shape in each.items()
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in net.messages("layer"):
        if layer.list("bottom") or layer.text("type") in ("DummyData", "MemoryData", "Parameter"):
            continue
        if layer.text("type") == "Input":
            shapes |= _stated(layer)
            continue
        python = layer.text("type") == "Python"
        for top in layer.texts("top"):
            labels = top in PIXEL_LABELS if python else "label" in top
            image = (BATCH, 3, SIZE, SIZE)
            shapes[top] = ((BATCH, 1, SIZE, SIZE) if python else (BATCH,)) if labels else image
    if "train_test_lstm" in str(path) and net.message("state").text("phase") == "TEST":
        known = {name: (48, *shape[1:]) for name, shape in known.items()}
    return {top: known.get(top, shape) for top, shape in shapes.items() if top in read}


def _stated(layer: Message) -> dict[str, tuple[int, ...]]:
    tops = layer.texts("top")
    stated = [shape.integers("dim") for shape in layer.message("input_param").messages("shape")]
    each = stated * len(tops) if len(stated) == 1 else stated
    few = len(tops) == 1  # several inputs share their first extents: frames, regions
    return {top: (min(shape[0], BATCH) if few and len(shape) == 4 else shape[0], *shape[1:])
            for top, shape in zip(tops, each, strict=False)}  # fmt: skip
