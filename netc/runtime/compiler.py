"""From a net to what runs: front end, passes, backend. One call compiles for one set of input shapes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from netc.backends.cuda.target import is_cuda
from netc.backends.llvm.backend import compile_launches
from netc.backends.llvm.native_runtime import compile_runtime
from netc.backends.llvm.object_cache import ObjectCache, default_cache_dir
from netc.backends.llvm.target import Target, available_cores, host_target, parse_target
from netc.frontend.imported_net import ImportedNet, LayerInfo
from netc.frontend.importer import import_net
from netc.frontend.message import Message
from netc.ir.core import Func, Module, Value
from netc.passes.inner_product_to_conv import inner_product_to_conv
from netc.runtime.lower_net import OnStage, llvm_level, lower_net
from netc.runtime.options import NUMPY_TARGET, CompileOptions

if TYPE_CHECKING:
    from netc.runtime.cuda_build import CudaBuild

# kernels compiled so far, and in all
OnKernel = Callable[[int, int], None]


@dataclass(frozen=True)
class Compiled:
    """A net compiled for the input shapes of its ``options``; nothing here depends on parameter values.

    ``tensor`` is the last tensor-level module: ``@prepare`` makes the parameters of ``@main``. ``buffer`` has
    the same ``@main`` on memory, with a kernel for every launch, and ``objects`` their machine code for
    ``machine``; for a GPU all of that is in ``cuda``. The target ``numpy`` has a ``tensor`` with ``@main``
    alone, and none of the others. ``late`` are inputs that are given after the forward pass, by blob: the
    gradients that the backward pass begins with.
    """

    options: CompileOptions
    net: ImportedNet
    tensor: Module
    buffer: Module | None = None
    objects: Mapping[str, bytes] | None = None
    machine: Target | None = None
    late: Mapping[str, str] = field(default_factory=dict)
    cuda: CudaBuild | None = None

    @cached_property
    def main(self) -> Func:
        """The function that a run executes, on tensors."""
        return self.tensor.func("main")

    @cached_property
    def inputs(self) -> tuple[Value, ...]:
        """The inputs that a caller gives."""
        carried = {state.value.name for state in self.net.carried}
        return tuple(
            v for v in self.main.inputs if v.name not in carried and v.name not in self.late.values()
        )

    @cached_property
    def results(self) -> dict[str, Value]:
        """The results of a run by name."""
        return dict(zip(self.main.result_names, self.main.results, strict=True))

    @cached_property
    def blobs(self) -> tuple[str, ...]:
        """The results that are blobs: the outputs, and what was asked for with ``keep``."""
        counts = {rows.count for rows in self.net.counted.values()}
        return tuple(name for name in self.main.result_names if name not in counts)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The net's outputs: the results that were not asked for with ``keep`` alone."""
        unread = unread_blobs(self.net.layers)
        return tuple(name for name in self.main.result_names if name in unread)


def compile_message(
    message: Message,
    options: CompileOptions,
    *,
    on_stage: OnStage | None = None,
    on_kernel: OnKernel | None = None,
) -> Compiled:
    """Compile a net whose layers were selected already."""
    net = import_message(message, options)
    return compile_imported(net, options, on_stage=on_stage, on_kernel=on_kernel)


def import_message(message: Message, options: CompileOptions) -> ImportedNet:
    """The net as tensor IR; a net to become fully convolutional keeps its own input shapes at first."""
    shapes = None if options.fully_convolutional else dict(options.input_shapes)
    return import_net(
        message,
        phase=options.phase,
        input_shapes=shapes,
        keep=options.keep,
        python_layers=options.python_layers,
    )


def compile_imported(
    net: ImportedNet,
    options: CompileOptions,
    *,
    module: Module | None = None,
    late: Mapping[str, str] | None = None,
    forward: Collection[str] = (),
    segments: int = 1,
    on_stage: OnStage | None = None,
    on_kernel: OnKernel | None = None,
) -> Compiled:
    """Compile tensor IR: the net's, or a ``module`` made of it, some of whose inputs are ``late``.

    ``forward`` and ``segments`` as in :func:`netc.passes.pipeline.tensor_pipeline`.
    """
    module = net.module if module is None else module
    if options.ranges is not None:
        options.ranges.check(net)
    if on_stage is not None:
        on_stage("import", module)
    if options.target == NUMPY_TARGET:
        return Compiled(options, net, _reference_module(module, options), late=late or {})
    lowered = lower_net(module, options, forward=forward, segments=segments, on_stage=on_stage)
    if is_cuda(options.target):
        from netc.runtime.cuda_build import build_cuda

        cuda = build_cuda(lowered.buffer, options, on_kernel)
        return Compiled(options, net, lowered.tensor, cuda.module, late=late or {}, cuda=cuda)
    target = parse_target(options.target)
    kernels = compile_launches(
        lowered.buffer,
        target,
        llvm_level(options),
        ObjectCache(default_cache_dir()),
        available_cores(),
        on_kernel,
    )
    if target == host_target():
        compile_runtime()  # it lies in the cache when a process that has no compiler loaded runs the net
    return Compiled(options, net, lowered.tensor, kernels.module, kernels.objects, target, late or {})


def with_shapes(options: CompileOptions, shapes: Mapping[str, tuple[int, ...]]) -> CompileOptions:
    """The same options for inputs of other shapes."""
    return replace(options, input_shapes=tuple(sorted(shapes.items())))


def unread_blobs(layers: tuple[LayerInfo, ...]) -> frozenset[str]:
    """The blobs that no later layer reads: a net's outputs."""
    unread: set[str] = set()
    for layer in layers:
        unread.difference_update(layer.bottoms)
        unread.update(layer.tops)
    return frozenset(unread)


def _reference_module(module: Module, options: CompileOptions) -> Module:
    if not options.fully_convolutional:
        return module
    return inner_product_to_conv(module, input_shapes=dict(options.input_shapes))
