"""What netc uses of CuPy, with the names and signatures of its documentation; kernels run in the emulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from emulator import Emulator

DTYPES = {"float": np.float32, "int": np.int32, "long long": np.int64, "unsigned char": np.uint8}


class Array:
    """A ``cupy.ndarray``; ``host`` is its content."""

    def __init__(self, host: Any) -> None:
        self.host = host
        self.shape, self.dtype, self.nbytes = host.shape, host.dtype, host.nbytes
        self.data = type("MemoryPointer", (), {"ptr": int(host.ctypes.data)})

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self.data.ptr, False), "version": 3}

    def __array__(self, *_: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")

    def __getitem__(self, part: Any) -> Array:
        return Array(self.host[part])

    def __setitem__(self, part: Any, value: Array) -> None:
        self.host[part] = value.host

    def reshape(self, *shape: int) -> Array:
        return Array(self.host.reshape(*shape))

    def view(self, dtype: Any) -> Array:
        return Array(self.host.view(dtype))

    def set(self, arr: Any, stream: Any = None) -> None:
        assert arr.dtype == self.dtype
        assert arr.shape == self.shape
        self.host[...] = arr
        if stream is not None:
            stream.cupy.copies.append((stream.name, arr.nbytes, stream.cupy.is_pinned(arr)))

    def fill(self, value: Any) -> None:
        self.host[...] = value

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> Any:
        if out is None:
            return self.host.copy()
        out[...] = self.host
        return out


class Event:
    """``cupy.cuda.Event``; ``of`` names its stream."""

    def __init__(self, cupy: FakeCupy, of: str = "") -> None:
        self.cupy, self.of = cupy, of

    def record(self, stream: Any = None) -> None:
        pass

    def synchronize(self) -> None:
        self.cupy.waits.append(f"the host waits for an event of {self.of}")


class Stream:
    """Runs at once what is launched, unless it is captured."""

    def __init__(self, cupy: FakeCupy, name: str) -> None:
        self.cupy, self.name = cupy, name
        self.captured: list[Callable[[], None]] | None = None

    def __enter__(self) -> Stream:
        self.cupy.current.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.cupy.current.pop()

    def record(self, event: Any = None) -> Event:
        assert self.captured is None
        return Event(self.cupy, self.name)

    def wait_event(self, event: Event) -> None:
        self.cupy.waits.append(f"{self.name} waits for an event of {event.of}")

    def synchronize(self) -> None:
        assert self.captured is None, "a captured stream cannot be waited for"

    def begin_capture(self, mode: Any = None) -> None:
        self.captured = []

    def end_capture(self) -> Graph:
        assert self.captured is not None
        graph, self.captured = Graph(self.cupy, self.captured), None
        return graph

    def submit(self, work: Callable[[], None]) -> None:
        if self.captured is None:
            work()
        else:
            self.captured.append(work)


class Graph:
    def __init__(self, cupy: FakeCupy, work: list[Callable[[], None]]) -> None:
        self.cupy, self.work = cupy, work

    def launch(self, stream: Any = None) -> None:
        self.cupy.graph_launches += 1
        for each in self.work:
            each()


class Module:
    """``cupy.cuda.function.Module``: its code here is the text of the kernels."""

    def __init__(self, cupy: FakeCupy) -> None:
        self.cupy = cupy

    def load(self, cubin: bytes) -> None:
        self.emulator = Emulator(cubin.decode())

    def get_function(self, name: str) -> Function:
        return Function(self.cupy, self.emulator, name)


class Function:
    def __init__(self, cupy: FakeCupy, emulator: Emulator, name: str) -> None:
        self.cupy, self.emulator, self.name = cupy, emulator, name

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Any,
        *,
        shared_mem: int = 0,
        stream: Any = None,
    ) -> None:
        parameters = self.emulator.kernels[self.name].parameters
        given = []
        for parameter, arg in zip(parameters, args, strict=True):
            if parameter.pointer:
                assert type(arg) is np.uint64
                given.append(self.cupy.memory_at(int(arg), DTYPES[parameter.type]))
            else:
                assert type(arg) is np.int32
                given.append(int(arg))

        def work() -> None:
            self.emulator.launch(self.name, grid=grid, block=block, args=given, shared_bytes=shared_mem)

        stream.submit(work)


class FakeCupy:
    """The module ``cupy`` on a machine with ``count`` GPUs of a compute capability."""

    def __init__(self, capability: str = "90", count: int = 1, bytes_left: int = 1 << 30) -> None:
        self.allocations: list[Any] = []
        self.graph_launches = 0
        self.current = [Stream(self, "the caller's")]
        self.waits: list[str] = []
        self.copies: list[tuple[str, int, bool]] = []
        """Those to the device: stream, bytes, whether from pinned memory."""
        self.pinned: list[Any] = []
        self.streams = 0
        self.bytes_left = bytes_left
        cupy = self

        class OutOfMemoryError(MemoryError):
            pass

        class CUDARuntimeError(RuntimeError):
            pass

        def device_count() -> int:
            if count < 0:
                raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
            return count

        class cuda:
            memory = type("memory", (), {"OutOfMemoryError": OutOfMemoryError})
            runtime = type(
                "runtime",
                (),
                {"CUDARuntimeError": CUDARuntimeError, "getDeviceCount": staticmethod(device_count)},
            )
            function = type("function", (), {"Module": staticmethod(lambda: Module(cupy))})

            @staticmethod
            def Stream(null: bool = False, non_blocking: bool = False, ptds: bool = False) -> Stream:
                assert non_blocking
                cupy.streams += 1
                return Stream(cupy, "ours" if cupy.streams % 2 else "the copies'")

            @staticmethod
            def Event() -> Event:
                return Event(cupy)

            @staticmethod
            def alloc_pinned_memory(size: int) -> Any:
                cupy.pinned.append(np.full(size, 0xA5, np.uint8))
                return cupy.pinned[-1].data

            @staticmethod
            def get_current_stream() -> Stream:
                return cupy.current[-1]

            @staticmethod
            def Device(device: int | None = None) -> Any:
                return type("Device", (), {"compute_capability": capability})

            @staticmethod
            def get_elapsed_time(start_event: Any, end_event: Any) -> float:
                return 0.5

        self.cuda = cuda
        self._out_of_memory = OutOfMemoryError

    def empty(self, shape: Any, dtype: Any) -> Array:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size > self.bytes_left:
            raise self._out_of_memory
        raw = np.full(size + 512, 0xA5, np.uint8)
        start = -raw.ctypes.data % 512
        self.allocations.append(raw[start : start + size])
        return Array(self.allocations[-1].view(dtype).reshape(shape))

    def zeros(self, shape: Any, dtype: Any) -> Array:
        made = self.empty(shape, dtype)
        made.host[...] = 0
        return made

    def asarray(self, a: Any) -> Array:
        if isinstance(a, Array):
            return a
        made = self.empty(a.shape, a.dtype)
        made.host[...] = a
        return made

    def ascontiguousarray(self, a: Array, dtype: Any) -> Array:
        if a.dtype == dtype and a.host.flags.c_contiguous:
            return a
        return self.asarray(np.ascontiguousarray(a.host, dtype))

    def is_pinned(self, array: Any) -> bool:
        return any(np.shares_memory(array, block) for block in self.pinned)

    def memory_at(self, address: int, dtype: Any) -> Any:
        """What lies from an address to the end of its allocation, in whole elements."""
        for memory in self.allocations:
            begin = int(memory.ctypes.data)
            if begin <= address < begin + memory.size:
                rest = memory[address - begin :]
                return rest[: rest.size // np.dtype(dtype).itemsize * np.dtype(dtype).itemsize].view(dtype)
        raise AssertionError(f"{address:#x} is no device memory")
