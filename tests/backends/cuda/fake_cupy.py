"""What netc uses of CuPy, with the names and signatures of its documentation; kernels run in the emulator."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_float
from typing import Any

import numpy as np
from emulator import Emulator

DTYPES = {"float": np.float32, "int": np.int32, "long long": np.int64, "unsigned char": np.uint8}

HANDLE = 4711  # of cuBLAS


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
        self.ptr = id(self)
        self.cupy.functions[self.ptr] = self
        self.most_shared = 48 << 10

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Any,
        *,
        shared_mem: int = 0,
        stream: Any = None,
    ) -> None:
        assert shared_mem <= self.most_shared
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


class Driver:
    """``cupy.cuda.driver``."""

    CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8

    def __init__(self, cupy: FakeCupy) -> None:
        self.cupy = cupy

    def funcSetAttribute(self, func: int, attribute: int, value: int) -> None:
        assert attribute == self.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        self.cupy.functions[func].most_shared = value


class Cublas:
    """``cupy.cuda.cublas``: matrices of float32, column by column; no call can be captured."""

    def __init__(self, cupy: FakeCupy) -> None:
        self.cupy, self.products = cupy, 0

    def gemmEx(
        self,
        handle: int,
        transa: int,
        transb: int,
        m: int,
        n: int,
        k: int,
        alpha: int,
        A: int,
        Atype: int,
        lda: int,
        B: int,
        Btype: int,
        ldb: int,
        beta: int,
        C: int,
        Ctype: int,
        ldc: int,
        computeType: int,
        algo: int,
    ) -> None:
        assert handle == HANDLE
        assert (Atype, Btype, Ctype, algo) == (0, 0, 0, -1)
        assert computeType in (68, 74, 75, 77)
        assert [np.ctypeslib.as_array((c_float * 1).from_address(p))[0] for p in (alpha, beta)] == [1, 0]
        assert self.cupy.current[-1].captured is None, "calling cuBLAS API during stream capture"
        self.products += 1
        a = self._columns(A, lda, *((m, k) if transa == 0 else (k, m)))
        b = self._columns(B, ldb, *((k, n) if transb == 0 else (n, k)))
        product = (a if transa == 0 else a.T) @ (b if transb == 0 else b.T)
        self._columns(C, ldc, m, n)[...] = product

    def _columns(self, address: int, pitch: int, rows: int, columns: int) -> Any:
        assert pitch >= rows
        flat = self.cupy.memory_at(address, np.float32)
        assert flat.size >= pitch * (columns - 1) + rows
        return np.lib.stride_tricks.as_strided(flat, (rows, columns), (4, 4 * pitch))


class FakeCupy:
    """The module ``cupy`` on a machine with ``count`` GPUs of a compute capability."""

    def __init__(self, capability: str = "90", count: int = 1, bytes_left: int = 1 << 30) -> None:
        self.allocations: list[Any] = []
        self.functions: dict[int, Function] = {}
        self.cublas = Cublas(self)
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
                {
                    "CUDARuntimeError": CUDARuntimeError,
                    "getDeviceCount": staticmethod(device_count),
                    "getDeviceProperties": staticmethod(lambda _: {"name": b"Fake", "totalGlobalMem": 1}),
                },
            )
            driver = Driver(cupy)
            cublas = cupy.cublas
            device = type("device", (), {"get_cublas_handle": staticmethod(lambda: HANDLE)})
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
                return type("Device", (), {"compute_capability": capability, "id": 0})

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
