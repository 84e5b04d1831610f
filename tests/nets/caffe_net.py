"""Builds the text of a Caffe net layer by layer, and knows the shape and the size of every blob's numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

Shape = tuple[int, ...]

MOST_ELEMENTS = 4000  # of a blob: the reference is to be quick
LARGEST = 30.0  # what a blob's numbers may be, about, so that no power of them leaves float32


@dataclass(frozen=True)
class Blob:
    """``size``: about how large the largest of its numbers are, for inputs of about 1."""

    name: str
    shape: Shape
    size: float


@dataclass
class CaffeNet:
    """``blobs`` are those that a layer may read; ``layers`` counts layers, inputs aside."""

    lines: list[str] = field(default_factory=list)
    blobs: list[Blob] = field(default_factory=list)
    layers: int = 0

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    def input(self, shape: Shape) -> None:
        name = f"in{len(self.blobs)}"
        dims = " ".join(f"dim: {extent}" for extent in shape)
        self.lines.append(
            f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}'
        )
        self.blobs.append(Blob(name, shape, 1.0))

    def add(
        self, kind: str, bottoms: list[Blob], shapes: list[Shape], size: float,
        settings: str = "", *, in_place: bool = False,
    ) -> None:  # fmt: skip
        """Append a layer; its tops are named after it, or after its bottom where it works in place."""
        self.layers += 1
        name = f"{kind.lower()}{self.layers}"
        tops = [f"{name}_{i}" if i else name for i in range(len(shapes))]
        if in_place:
            tops = [bottoms[0].name]
            self.blobs.remove(bottoms[0])
        words = [f'name: "{name}" type: "{kind}"', *(f'bottom: "{blob.name}"' for blob in bottoms)]
        words += [f'top: "{top}"' for top in tops]
        self.lines.append(f"layer {{ {' '.join([*words, settings])} }}")
        self.blobs += [Blob(top, shape, size) for top, shape in zip(tops, shapes, strict=True)]
