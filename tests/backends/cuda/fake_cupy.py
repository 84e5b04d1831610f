"""What netc uses of CuPy, with the names and signatures of its documentation; kernels run in the emulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from emulator import Emulator

DTYPES = {"float": np.float32, "int": np.int32, "long long": np.int64, "unsigned char": np.uint8}


class Array:
    """A ``cupy.ndarray`` of bytes."""

    def __init__(self, base: Any, offset: int, size: int) -> None:
        self.base, self.offset, self.size = base, offset, size
        self.data = type("MemoryPointer", (), {"ptr": int(base.ctypes.data) + offset})

    def __getitem__(self, part: slice) -> Array:
        begin, end, _ = part.indices(self.size)
        return Array(self.base, self.offset + begin, end - begin)

    def set(self, arr: Any, stream: Any = None) -> None:
        assert arr.dtype == np.uint8
        assert arr.size == self.size
        self.base[self.offset : self.offset + self.size] = arr

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> Any:
        out[:] = self.base[self.offset : self.offset + self.size]
        return out


class Stream:
    """Runs at once what is launched, unless it is captured."""

    def __init__(self, cupy: FakeCupy) -> None:
        self.cupy = cupy
        self.captured: list[Callable[[], None]] | None = None

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        return None

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
                given.append(self.cupy.memory_at(int(arg)).view(DTYPES[parameter.type]))
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

        class Event:
            def record(self, stream: Any = None) -> None:
                pass

            def synchronize(self) -> None:
                pass

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
                return Stream(cupy)

            @staticmethod
            def Device(device: int | None = None) -> Any:
                return type("Device", (), {"compute_capability": capability})

            @staticmethod
            def get_elapsed_time(start_event: Any, end_event: Any) -> float:
                return 0.5

        cuda.Event = Event  # type: ignore[attr-defined]
        self.cuda = cuda
        self._out_of_memory = OutOfMemoryError

    def zeros(self, shape: int, dtype: Any) -> Array:
        assert dtype == np.uint8
        if shape > self.bytes_left:
            raise self._out_of_memory
        raw = np.zeros(shape + 512, np.uint8)
        start = -raw.ctypes.data % 512
        self.allocations.append(raw[start : start + shape])
        return Array(self.allocations[-1], 0, shape)

    def memory_at(self, address: int) -> Any:
        """What lies from an address to the end of its allocation, in whole words."""
        for memory in self.allocations:
            begin = int(memory.ctypes.data)
            if begin <= address < begin + memory.size:
                rest = memory[address - begin :]
                return rest[: rest.size // 8 * 8] if rest.size >= 8 else rest
        raise AssertionError(f"{address:#x} is no device memory")
