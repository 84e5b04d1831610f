"""The table of the engines: what each is called, what it needs, and where its code is."""

from __future__ import annotations

from dataclasses import dataclass

from netc.bench.engines.job import Device

SUBJECT = "netc"
ONNX = "onnx"
"""No engine: writes the files that some engines read."""


@dataclass(frozen=True)
class Engine:
    """``module`` in this folder has the functions ``build`` and, unless it is empty, ``train``.

    ``packages`` are what must be importable; ``distributions`` those that may have installed it, for its
    version. ``reads_onnx`` says that it needs the files that `ONNX` writes. ``cuda_module`` is the one for
    GPUs, ``device`` where a peer runs.
    """

    title: str
    module: str
    packages: tuple[str, ...]
    distributions: tuple[str, ...]
    build: str = "build"
    train: str = ""
    reads_onnx: bool = False
    cuda_module: str = ""
    device: Device = "cpu"

    def module_on(self, device: Device) -> str:
        """The module for a device."""
        return self.cuda_module if device == "cuda" and self.cuda_module else self.module


_EXPORT = ("torch", "onnx", "onnxscript")
_OPENCV = (
    "opencv-python-headless",
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
)


def _torch_cuda(title: str, suffix: str) -> Engine:
    names = f"build{suffix}", f"train{suffix}"
    return Engine(title, "torch_cuda", ("torch",), ("torch",), *names, device="cuda")


ENGINES: dict[str, Engine] = {
    SUBJECT: Engine("netc", "netc_engine", (), ("netc",), train="train", cuda_module="netc_cuda"),
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
    "torch-cuda": _torch_cuda("torch, cuDNN", ""),
    "torch-graph": _torch_cuda("torch, CUDA graph", "_graph"),
    "compile-cuda": _torch_cuda("torch.compile, max-autotune", "_compiled"),
}
EXPORTER = Engine("ONNX export", "onnx_export", _EXPORT, ("onnx",))


def peers(*, train: bool, device: Device = "cpu") -> tuple[str, ...]:
    """The engines that netc is compared with."""
    others = {name: each for name, each in ENGINES.items() if name != SUBJECT and each.device == device}
    return tuple(name for name, each in others.items() if each.train or not train)
