"""Finds the class of a Python layer: among those registered, or by importing its module."""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from pathlib import Path

from netc.frontend.suggest import did_you_mean
from netc.ir.diagnostics import NetcError

# modules of layers say `import caffe`; that stands above this layer of the code, and is found by name
_CAFFE, _INSTALLER = "caffe", "netc.pycaffe.install"

_registered: dict[str, type] = {}


def register_python_layer(name: str, cls: type) -> None:
    """Run a class as the Python layer ``name``: ``"module.Class"``, or the class's name in any module.

    Nets may then have such layers without further permission. A class that was registered before gives way.
    """
    if not isinstance(cls, type):
        raise ValueError(f"a Python layer is a class, got {cls!r}")
    _registered[name] = cls


def registered_class(module: str, name: str) -> type | None:
    """The class that was registered for a layer; None if none was."""
    return _registered.get(f"{module}.{name}") or _registered.get(name)


def import_class(module: str, name: str, folder: Path | None) -> type:
    """The class, from a module on ``sys.path``, at whose end the folder is put. This runs the module."""
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))
    if _CAFFE not in sys.modules:
        import_module(_INSTALLER).install()
    try:
        found = getattr(import_module(module), name, None)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise _failed(module, error) from error
        raise NetcError(
            f"there is no module '{module}'",
            remedy=f"put {module.replace('.', '/')}.py beside the net, or its folder on PYTHONPATH",
        ) from None
    except (Exception, SystemExit) as error:
        raise _failed(module, error) from error
    if not isinstance(found, type):
        classes = [key for key, value in vars(sys.modules[module]).items() if isinstance(value, type)]
        raise NetcError(f"the module '{module}' has no class '{name}'", remedy=did_you_mean(name, classes))
    return found


def describe(error: BaseException) -> str:
    """An exception in a line."""
    return traceback.format_exception_only(error)[-1].strip()


def trace(error: BaseException) -> str:
    """Where an exception comes from, without the frame that called what failed."""
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()


def _failed(module: str, error: BaseException) -> NetcError:
    return NetcError(
        f"importing the module '{module}' of a Python layer failed: {describe(error)}", notes=(trace(error),)
    )
