"""Time the kernels of training: forward, gradients of input and weight, of convolutions and inner products.

python benchmarks/training_kernels.py --nets resnet50 --batch 16     # a Markdown table
"""

import argparse
import sys
from collections.abc import Iterator

import numpy as np

import netc.ir.ops  # noqa: F401  # fills the op table
from netc.backends.llvm.backend import compile_launches
from netc.backends.llvm.engine import DEFAULT_OPT_LEVEL, Library
from netc.backends.llvm.machine_peak import measure_peaks
from netc.backends.llvm.object_cache import ObjectCache, default_cache_dir
from netc.backends.llvm.spmd import executor_for
from netc.backends.llvm.target import available_cores, parse_target
from netc.bench.nets import REFERENCE_NETS, zoo
from netc.frontend.importer import import_net
from netc.frontend.net_file import load_net
from netc.ir.builder import FuncBuilder
from netc.ir.core import Func, Module, Op, Value
from netc.ir.cost import macs
from netc.ir.dim import evaluate
from netc.ir.types import TensorType
from netc.passes.differentiate import differentiate
from netc.passes.pipeline import run_pipeline
from netc.runtime.memory import aligned_zeros
from netc.runtime.program import KernelProgram

PARTS = ("forward", "input", "weight")
REPEATS = 5


def products(net: str, batch: int) -> dict[str, Op]:
    """The distinct convolutions and inner products of a net, by a description."""
    message = load_net(zoo()[net])
    (first,) = import_net(message).module.func("main").inputs
    shape = (batch, *tensor(first).static_shape[1:])
    module = import_net(message, input_shapes={first.name: shape}).module
    found: dict[str, Op] = {}
    for op in module.func("main").ops:
        if op.name in ("nn.conv", "nn.inner_product"):
            x, w = (tensor(v) for v in op.operands[:2])
            how = f" stride {op.attrs.stride[0]} group {op.attrs.group}" if op.name == "nn.conv" else ""
            found.setdefault(f"{x} {w}{how}", op)
    return found


def tensor(value: Value) -> TensorType:
    """The type of a tensor value."""
    assert isinstance(value.type, TensorType)
    return value.type


def with_gradients(op: Op) -> Module:
    """A module of the op alone, its weight being trained, with both gradients."""
    builder = FuncBuilder("main")
    x = builder.arg("x", tensor(op.operands[0]), "input")
    w = builder.arg("w", tensor(op.operands[1]), "state")
    y = builder.add1(op.name, (x, w), op.attrs, hint="y")
    func = Func("main", (x, w), ("input", "state"), tuple(builder.ops), (y,), ("y",))
    return differentiate(Module("m", "tensor", (func,)), seeds={y.name: None}, wrt=("x", "w"))


def seconds_by_part(op: Op, threads: int) -> Iterator[tuple[str, float]]:
    """The best time of the kernel that does the multiplications of each part."""
    target = parse_target("cpu")
    buffer = run_pipeline(with_gradients(op), opt_level=3, block=target.lanes).buffer
    kernels = compile_launches(
        buffer, target, DEFAULT_OPT_LEVEL, ObjectCache(default_cache_dir()), available_cores()
    )
    generator = np.random.default_rng(0)
    weight = aligned_zeros(tensor(op.operands[1]).static_shape, what="the weight")
    weight[...] = generator.random(weight.shape, np.float32)
    program = KernelProgram(
        kernels.module,
        [v.name for v in kernels.module.func("main").outputs],
        {name: [] for name in kernels.objects},
        {},
        Library(kernels.objects, target),
        {"w": weight},
        executor_for(threads),
    )
    for name, storage in program.storages.items():
        if name in ("x", "y.gradient"):
            storage[...] = generator.random(storage.shape, np.float32)
    best = np.min([program.run_timed() for _ in range(REPEATS)], axis=0)
    part = "forward"  # which comes first
    for launch, seconds in zip(program.launches, best, strict=True):
        if not macs(launch.op):
            continue
        assert launch.op.body is not None
        result = tensor(launch.op.body.ops[0].result)
        if part != "forward":
            part = "weight" if result.shape == weight.shape else "input"
        yield part, float(seconds)
        part = "gradients"


def main() -> None:
    """Print a line a shape: GFLOP/s of each part, and its share of the machine's peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", default=",".join(REFERENCE_NETS))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=available_cores())
    options = parser.parse_args()
    peak = measure_peaks(options.threads, parse_target("cpu")).gflops
    print(f"Multiply-add peak: {peak:.0f} GFLOP/s on {options.threads} threads.\n")
    print(f"| net | shapes | {' | '.join(PARTS)} |\n|---|---|---|---|---|")
    for net in options.nets.split(","):
        for description, op in products(net, options.batch).items():
            flops = 2 * evaluate(macs(op), {})
            rates = {part: flops / s / 1e9 for part, s in seconds_by_part(op, options.threads)}
            cells = [f"{rates[p]:.0f} ({rates[p] / peak:.0%})" if p in rates else "" for p in PARTS]
            print(f"| {net} | {description} | {' | '.join(cells)} |")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
