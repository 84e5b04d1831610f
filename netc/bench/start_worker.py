"""Starts `worker` as a script: ``python start_worker.py ENGINE …``, under any interpreter that has NumPy.

A peer's interpreter sees of netc this package alone, and nothing that is installed beside netc: those
packages may be built for another version of Python.
"""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

if __name__ == "__main__":
    package = Path(__file__).resolve().parents[1]
    if sys.argv[1] == "netc":
        sys.path[0] = str(package.parent)
    else:
        del sys.path[0]
        netc = ModuleType("netc")
        netc.__path__ = [str(package)]
        sys.modules["netc"] = netc
    import_module("netc.bench.worker").main(sys.argv[1:])
