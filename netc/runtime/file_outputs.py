"""Writes the files that a net's HDF5Output layers ask for. Needs h5py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netc.frontend.imported_net import FileOutput, ImportedNet
from netc.ir.diagnostics import NetcError
from netc.runtime.memory import Array


def write_files(net: ImportedNet, results: Mapping[str, Array]) -> None:
    """Write every file of the net anew; NetcError where that fails."""
    for output in net.files:
        h5py = _h5py(output)
        try:
            with h5py.File(output.path, "w") as file:
                for dataset, result in output.datasets:
                    file.create_dataset(dataset, data=results[result])
        except OSError as error:
            message = f"{output.path}: {error.strerror or error}"
            raise NetcError(message, location=output.location, layer=output.layer) from None


def _h5py(output: FileOutput) -> Any:
    try:
        import h5py
    except ImportError:
        raise NetcError(
            "an HDF5Output layer needs h5py, which is not installed",
            location=output.location,
            layer=output.layer,
            remedy="pip install 'netc[hdf5]'",
        ) from None
    return h5py
