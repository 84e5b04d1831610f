"""A GPU as programs see it: memory, copies, kernels, graphs; and the one that CuPy gives."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from netc.backends.cuda.kernel import LibraryProduct
from netc.backends.cuda.target import ARCHITECTURES
from netc.ir.diagnostics import NetcError
from netc.ir.opdef import numpy_dtype
from netc.ir.types import TensorType
from netc.runtime.cuda_library import CublasProduct
from netc.runtime.input_copies import InputCopies
from netc.runtime.memory import Array, show_bytes
from netc.runtime.program_parts import Part

SHARED_BYTES_UNASKED = 48 << 10  # of dynamic shared memory, that any function may have
Memory = Any
"""What a device hands out for :meth:`Device.allocate`."""


@dataclass(frozen=True, slots=True)
class Region:
    """``nbytes`` of a device's memory from ``offset`` on."""

    memory: Memory
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Call:
    """One function with all it takes; ``integers`` follow the pointers, ``shared_bytes`` are dynamic."""

    function: str
    kernel: str
    grid: tuple[int, int, int]
    threads: int
    pointers: tuple[Region, ...]
    integers: tuple[int, ...]
    shared_bytes: int = 0


@dataclass(frozen=True, slots=True)
class LibraryCall:
    """One product of a library with its matrices."""

    product: LibraryProduct
    a: Region
    b: Region
    result: Region


class Recording(Part, Protocol):
    """Calls that run again and again."""

    def run_timed(self) -> list[float]:
        """Run them and wait; the seconds that each took."""


class Device(Protocol):
    """One GPU and one stream, on which everything happens in order. ``image`` names the code that it runs."""

    image: str

    def allocate(self, nbytes: int, what: str) -> Memory:
        """Memory that begins at a multiple of 256 bytes, and holds zeros."""

    def upload(self, region: Region, array: Array) -> None:
        """Copy a contiguous array to the device."""

    def clear(self, region: Region) -> None:
        """Fill a region with zeros."""

    def stage(self, inputs: Sequence[tuple[Region, Array]]) -> None:
        """Begin to copy what the next :meth:`feed` takes, beside kernels; it must not change until then."""

    def feed(self, inputs: Sequence[tuple[Region, Array]]) -> None:
        """Copy a run's inputs, contiguous arrays; those that are staged are on their way already."""

    def download(self, region: Region, array: Array) -> None:
        """Copy to a contiguous array, and wait for it."""

    def record(self, calls: Sequence[Call | LibraryCall]) -> Recording:
        """Prepare calls to be run."""

    def exchange(
        self,
        given: Sequence[tuple[Region, Any]],
        wanted: Sequence[tuple[Region, TensorType]],
        run: Callable[[], None],
    ) -> list[Any]:
        """Copy arrays of the device to regions, run, and copy regions to new arrays, which are returned."""


class CupyDevice:
    """The current GPU, through CuPy: its pool's memory, a stream of our own, a graph for each run of kernels.

    ``images`` as :func:`netc.backends.cuda.compile_pool.compile_kernels` makes them. ``stream``: that of
    another device object, whose order this one is to share.
    """

    def __init__(self, images: Mapping[str, Mapping[str, bytes]], stream: Any = None) -> None:
        self._cupy = cupy = load_cupy()
        self.stream = cupy.cuda.Stream(non_blocking=True) if stream is None else stream
        self.image = choose_image(cupy.cuda.Device().compute_capability, tuple(images))
        self._images = images[self.image]
        self._modules: dict[str, Any] = {}
        self._inputs = InputCopies(cupy, self.stream)

    def allocate(self, nbytes: int, what: str) -> Memory:
        """Memory of CuPy's pool."""
        try:
            with self.stream:
                return self._cupy.zeros(max(nbytes, 1), np.uint8)
        except self._cupy.cuda.memory.OutOfMemoryError:
            raise NetcError(f"{what} takes {show_bytes(nbytes)}, which the GPU has not left") from None

    def stage(self, inputs: Sequence[tuple[Region, Array]]) -> None:
        """On a stream of its own."""
        self._inputs.stage([(self._part(region), array) for region, array in inputs])

    def feed(self, inputs: Sequence[tuple[Region, Array]]) -> None:
        """In the stream's order."""
        self._inputs.feed([(self._part(region), array) for region, array in inputs])

    def upload(self, region: Region, array: Array) -> None:
        """In the stream's order."""
        self._part(region).set(array.reshape(-1).view(np.uint8), stream=self.stream)

    def clear(self, region: Region) -> None:
        """In the stream's order."""
        with self.stream:
            self._part(region).fill(0)

    def download(self, region: Region, array: Array) -> None:
        """In the stream's order; returns when the array is there."""
        self._part(region).get(stream=self.stream, out=array.reshape(-1).view(np.uint8))
        self.stream.synchronize()

    def record(self, calls: Sequence[Call | LibraryCall]) -> Recording:
        """One CUDA graph of the calls, or several with products of the library between them."""
        parts: list[Recording] = []
        kernels: list[tuple[Any, Call]] = []
        for call in calls:
            if isinstance(call, Call):
                kernels.append((self._function(call), call))
                continue
            parts += [_Graph(self._cupy, self.stream, kernels)] if kernels else []
            kernels = []
            places = (_address(region) for region in (call.a, call.b, call.result))
            parts.append(CublasProduct(self._cupy, self.stream, call.product, *places))
        parts += [_Graph(self._cupy, self.stream, kernels)] if kernels or not parts else []
        return parts[0] if len(parts) == 1 else _InOrder(parts)

    def exchange(
        self,
        given: Sequence[tuple[Region, Any]],
        wanted: Sequence[tuple[Region, TensorType]],
        run: Callable[[], None],
    ) -> list[Any]:
        """In the order of the caller's stream: ours waits for it first, and it for ours at the end.

        All arrays belong to the caller's stream, whose memory CuPy may use again as soon as they are dropped.
        """
        cupy = self._cupy
        caller = cupy.cuda.get_current_stream()
        sources = [(region, cupy.ascontiguousarray(_as_cupy(cupy, a), np.float32)) for region, a in given]
        results = [cupy.empty(t.static_shape, numpy_dtype(t.dtype)) for _, t in wanted]
        self.stream.wait_event(caller.record())
        with self.stream:
            for region, array in sources:
                self._part(region)[...] = array.reshape(-1).view(np.uint8)
        run()
        with self.stream:
            for (region, _), array in zip(wanted, results, strict=True):
                array.reshape(-1).view(np.uint8)[...] = self._part(region)
        caller.wait_event(self.stream.record())
        return results

    def _part(self, region: Region) -> Any:
        return region.memory[region.offset : region.offset + region.nbytes]

    def _function(self, call: Call) -> Any:
        module = self._modules.get(call.kernel)
        if module is None:
            module = self._modules[call.kernel] = self._cupy.cuda.function.Module()
            module.load(self._images[call.kernel])
        function = module.get_function(call.function)
        if call.shared_bytes > SHARED_BYTES_UNASKED:
            driver = self._cupy.cuda.driver
            most = driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            driver.funcSetAttribute(function.ptr, most, call.shared_bytes)
        return function


class _Graph:
    """Calls captured once and launched as one."""

    def __init__(self, cupy: Any, stream: Any, calls: Sequence[tuple[Any, Call]]) -> None:
        self._cupy, self._stream, self._calls = cupy, stream, calls
        self._graph: Any = None

    def run(self) -> None:
        """The first run is not captured: it loads what is loaded lazily."""
        if self._graph is not None:
            self._graph.launch(self._stream)
            return
        self._launch_all()
        self._stream.begin_capture()
        self._launch_all()
        self._graph = self._stream.end_capture()

    def run_timed(self) -> list[float]:
        """Between events, one call after the other."""
        events = [self._cupy.cuda.Event() for _ in range(len(self._calls) + 1)]
        with self._stream:
            events[0].record(self._stream)
            for (function, call), event in zip(self._calls, events[1:], strict=True):
                self._launch(function, call)
                event.record(self._stream)
        events[-1].synchronize()
        elapsed = self._cupy.cuda.get_elapsed_time
        return [1e-3 * elapsed(a, b) for a, b in itertools.pairwise(events)]

    def _launch_all(self) -> None:
        with self._stream:
            for function, call in self._calls:
                self._launch(function, call)

    def _launch(self, function: Any, call: Call) -> None:
        pointers = [np.uint64(_address(region)) for region in call.pointers]
        args = (*pointers, *(np.int32(i) for i in call.integers))
        function(call.grid, (call.threads, 1, 1), args, shared_mem=call.shared_bytes, stream=self._stream)


class _InOrder:
    """Recordings one after the other."""

    def __init__(self, parts: Sequence[Recording]) -> None:
        self._parts = parts

    def run(self) -> None:
        """Run them in order."""
        for part in self._parts:
            part.run()

    def run_timed(self) -> list[float]:
        """The seconds of each call."""
        return [seconds for part in self._parts for seconds in part.run_timed()]


def _address(region: Region) -> int:
    return int(region.memory.data.ptr) + region.offset


def load_cupy() -> Any:
    """CuPy with a GPU to work on; NetcError in one line that says what is missing and what works without."""
    without = "compile, --emit and inspect work without it"
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        raise NetcError(
            f"running on a GPU needs CuPy, which is not installed; {without}",
            remedy="pip install 'netc[cuda12]' (or cuda13, by the GPU's driver)",
        ) from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise NetcError(f"CuPy finds no GPU: {error}; {without}") from None
    if count == 0:
        raise NetcError(f"CuPy finds no GPU on this machine; {without}")
    return cupy


def _as_cupy(cupy: Any, array: Any) -> Any:
    """An array of the device as CuPy's, without a copy; a host's is copied there."""
    if not hasattr(array, "__cuda_array_interface__") and hasattr(array, "__dlpack__"):
        return cupy.from_dlpack(array) if not isinstance(array, np.ndarray) else cupy.asarray(array)
    return cupy.asarray(array)


def choose_image(capability: str, images: Sequence[str]) -> str:
    """The code for a GPU of a compute capability such as ``90``: its own, its generation's, or PTX.

    Machine code runs on later minor versions of the same major one; PTX on all later ones.
    """
    have = int(capability)
    numbers = {int(i.rpartition("_")[2]): i for i in images if i.startswith("sm_")}
    fitting = [n for n in numbers if n // 10 == have // 10 and n <= have]
    if fitting:
        return numbers[max(fitting)]
    texts = {int(i.rpartition("_")[2]): i for i in images if i.startswith("compute_")}
    earlier = [n for n in texts if n <= have]
    if earlier:
        return texts[max(earlier)]
    known = ", ".join(ARCHITECTURES)
    raise NetcError(
        f"the net is compiled for {', '.join(images)}; this GPU is an sm_{capability}",
        remedy=f"compile it for cuda:sm_{capability} (known are {known})",
    )
