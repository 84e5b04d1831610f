"""The copies on a device of arrays that last: they go there when they have changed here, and stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from netc.runtime.cuda_build import CudaBuild
from netc.runtime.cuda_device import Device, Region
from netc.runtime.lasting import Home, content_digest

OpenDevice = Callable[[CudaBuild, Device | None], Device]
"""Opens the device for a build; beside another, it works in that one's order."""


@dataclass(slots=True)
class _Copy:
    """Where a copy lies, the digest of its content, and the looks at the array at that time."""

    region: Region
    digest: int
    looks: int


class DeviceCopies:
    """Copies for all programs that share one device and its order, such as the steps of one training."""

    def __init__(self) -> None:
        self._device: Device | None = None
        self._copies: dict[Home, _Copy] = {}

    def open(self, build: CudaBuild, opens: OpenDevice) -> Device:
        """The device with the code of a build."""
        device = opens(build, self._device)
        self._device = self._device or device
        return device

    def send(self, home: Home, name: str) -> Region:
        """Where the copy lies, its content the newest."""
        copy = self._copies.get(home)
        if copy is not None and (home.elsewhere is self or (home.looks == copy.looks and not home.held)):
            return copy.region
        array, device = home.look(), self._opened
        digest = content_digest(array)
        if copy is None:
            memory = device.allocate(array.nbytes, f"parameter {name}")
            copy = self._copies[home] = _Copy(Region(memory, 0, array.nbytes), ~digest, 0)
        if copy.digest != digest:
            device.upload(copy.region, array)
        copy.digest, copy.looks = digest, home.looks
        return copy.region

    def written(self, home: Home) -> None:
        """Kernels have written the copy."""
        home.written(self)

    def bring(self, home: Home) -> None:
        """Copy the newest content to the host."""
        copy = self._copies[home]
        self._opened.download(copy.region, home.memory)
        copy.digest = content_digest(home.memory)

    def clear(self, home: Home) -> None:
        """Zeros, without a copy."""
        self._opened.clear(self._copies[home].region)

    @property
    def _opened(self) -> Device:
        assert self._device is not None
        return self._device
