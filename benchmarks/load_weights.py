"""How long loading a caffemodel takes and how much memory, against reading and copying its bytes.

    python benchmarks/load_weights.py [--file FILE.caffemodel] [--rounds 5]

Without a file it makes one with random weights in the shapes of CaffeNet (244 MB). The file is in the
page cache in every round. Each measurement runs in a process of its own; memory is the growth of the
peak resident set, mapped pages of the file included (read from /proc: Linux only).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CAFFENET = [
    ("conv1", "Convolution", [(96, 3, 11, 11), (96,)]),
    ("conv2", "Convolution", [(256, 48, 5, 5), (256,)]),
    ("conv3", "Convolution", [(384, 256, 3, 3), (384,)]),
    ("conv4", "Convolution", [(384, 192, 3, 3), (384,)]),
    ("conv5", "Convolution", [(256, 192, 3, 3), (256,)]),
    ("fc6", "InnerProduct", [(4096, 9216), (4096,)]),
    ("fc7", "InnerProduct", [(4096, 4096), (4096,)]),
    ("fc8", "InnerProduct", [(1000, 4096), (1000,)]),
]
LIMIT_TIME, LIMIT_MEMORY = 2.0, 1.2  # times reading and copying; times the file's size


def make_file(path: Path) -> None:
    import numpy as np

    from netc.frontend.write_caffemodel import write_caffemodel

    generator = np.random.default_rng(0)
    layers = (
        (name, kind, [generator.standard_normal(shape, np.float32) for shape in shapes])
        for name, kind, shapes in CAFFENET
    )
    write_caffemodel(path, "CaffeNet", layers)


def read_and_copy(path: str) -> None:
    """The yardstick: the bytes of the file, and one copy of them."""
    with open(path, "rb") as file:
        data = file.read()
    copy = bytearray(data)
    assert len(copy) == len(data)


def load_only(path: str) -> None:
    from netc.frontend.weights import load_weights

    assert load_weights(path).nbytes > 0


def load_and_touch(path: str) -> None:
    """Loading, and a look at every page of every array: what lies in the mapping is read only then."""
    from netc.frontend.weights import load_weights

    for arrays in load_weights(path).values():
        for array in arrays:
            array.reshape(-1)[::1024].max(initial=0)


ACTIONS = {each.__name__: each for each in (read_and_copy, load_only, load_and_touch)}


def measure_here(name: str, path: str) -> None:
    """Run one action once and print its seconds and the growth of the peak memory in bytes."""
    import netc.frontend.binary
    import netc.frontend.weights  # imports are not what is measured

    netc.frontend.binary.message_class("NetParameter")
    before = peak_bytes()
    start = time.perf_counter()
    ACTIONS[name](path)
    seconds = time.perf_counter() - start
    print(seconds, peak_bytes() - before)


def peak_bytes() -> int:
    """The peak resident set of this process; what getrusage says includes that of the parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))


def measure(name: str, path: Path, rounds: int) -> tuple[float, float]:
    """Median seconds and largest memory of an action in fresh processes."""
    command = [sys.executable, __file__, "--action", name, "--file", str(path)]
    runs = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(rounds)]
    results = [tuple(map(float, run.stdout.split())) for run in runs]
    return statistics.median(result[0] for result in results), max(result[1] for result in results)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--file", type=Path)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--action", choices=sorted(ACTIONS), help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.action:
        measure_here(chosen.action, str(chosen.file))
        return 0
    with tempfile.TemporaryDirectory() as directory:
        path = chosen.file or Path(directory, "caffenet.caffemodel")
        if chosen.file is None:
            make_file(path)
        return report(path, chosen.rounds)


def report(path: Path, rounds: int) -> int:
    """Print the table; 1 if a limit is exceeded."""
    size = os.path.getsize(path)
    Path(path).read_bytes()  # warm the page cache
    print(f"{path.name}: {size / 1e6:.1f} MB, median of {rounds} rounds")
    print(f"{'':16}{'ms':>9}{'x time':>9}{'MB':>9}{'x size':>9}")
    results = {name: measure(name, path, rounds) for name in ACTIONS}
    base = results["read_and_copy"][0]
    for name, (seconds, memory) in results.items():
        print(f"{name:16}{seconds * 1e3:9.1f}{seconds / base:9.2f}{memory / 1e6:9.1f}{memory / size:9.2f}")
    loads = [results[name] for name in ACTIONS if name != "read_and_copy"]
    exceeded = any(t > LIMIT_TIME * base or m > LIMIT_MEMORY * size for t, m in loads)
    print("limits exceeded" if exceeded else f"within {LIMIT_TIME} x time and {LIMIT_MEMORY} x size")
    return int(exceeded)


if __name__ == "__main__":
    sys.exit(main())
