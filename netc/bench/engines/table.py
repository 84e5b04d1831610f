"""The table of the engines: what each is called, what it needs, and where its code is."""

from __future__ import annotations

from dataclasses import dataclass

SUBJECT = "netc"
ONNX = "onnx"
"""No engine: writes the files that some engines read."""


@dataclass(frozen=True)
class Engine:
    """``module`` in this folder has the functions ``build`` and, unless it is empty, ``train``.

    ``packages`` are what must be importable; ``distributions`` those that may have installed it, for its
    version. ``reads_onnx`` says that it needs the files that `ONNX` writes.
    """

    title: str
    module: str
    packages: tuple[str, ...]
    distributions: tuple[str, ...]
    build: str = "build"
    train: str = ""
    reads_onnx: bool = False


_EXPORT = ("torch", "onnx", "onnxscript")
_OPENCV = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
)

ENGINES: dict[str, Engine] = {
    SUBJECT: Engine("netc", "netc_engine", (), ("netc",), train="train"),
    "torch": Engine("torch", "torch_engine", ("torch",), ("torch",), train="train"),
    "compile": Engine(
        "torch.compile", "torch_engine", ("torch",), ("torch",), "build_compiled", "train_compiled"
    ),
    "ort": Engine(
        "onnxruntime",
        "onnxruntime_engine",
        ("onnxruntime", *_EXPORT),
        ("onnxruntime",),
        reads_onnx=True,
    ),
    "openvino": Engine("openvino", "openvino_engine", ("openvino", *_EXPORT), ("openvino",), reads_onnx=True),
    "opencv": Engine("opencv", "opencv_engine", ("cv2",), _OPENCV),
}
EXPORTER = Engine("ONNX export", "onnx_export", _EXPORT, ("onnx",))


def peers(*, train: bool) -> tuple[str, ...]:
    """The engines that netc is compared with."""
    return tuple(name for name, each in ENGINES.items() if name != SUBJECT and (each.train or not train))
