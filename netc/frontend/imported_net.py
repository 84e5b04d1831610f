"""What importing a net gives: its tensor IR, and what is known of its parameters, layers and blobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from netc.frontend.message import Message
from netc.ir.core import Module, Value
from netc.ir.dim import Dim
from netc.ir.location import Location
from netc.ir.opdef import Array
from netc.ir.ops.python_layer import LayerCode


@dataclass(frozen=True, slots=True)
class ParamInfo:
    """Parameter blob ``index`` of a layer, and the IR value that holds it.

    Layers that share a parameter have one entry each, with the same ``value``; ``shape`` is the layer's
    own, which under PERMISSIVE sharing may differ from the value's. ``stored`` is a blob that the
    definition itself holds; without one its first values are ``initial``, or ``filler`` draws them,
    where None means zeros. A blob that is not ``learnable`` comes from no file of weights; it may
    have a ``file`` of its own. ``owner`` is the position of its layer among all layers: names may repeat.
    """

    value: Value
    layer: str
    index: int
    shape: tuple[int, ...]
    filler: Message | None = field(compare=False)
    location: Location | None
    owner: int
    learnable: bool = True
    stored: Message | None = field(default=None, compare=False)
    lr_mult: float | None = None
    decay_mult: float | None = None
    file: str | None = None
    initial: Array | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """A layer as the net states it, with the shapes found for it.

    ``macs`` counts the multiply-accumulates of its convolutions and inner products.
    """

    name: str
    type: str
    location: Location | None
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    bottom_shapes: tuple[tuple[Dim, ...], ...]
    top_shapes: tuple[tuple[Dim, ...], ...]
    params: tuple[ParamInfo, ...]
    macs: Dim


@dataclass(frozen=True, slots=True)
class CountedRows:
    """Along ``axis`` of a result only the first entries count; the result named ``count`` says how many."""

    axis: int
    count: str


@dataclass(frozen=True, slots=True)
class StateInfo:
    """What a forward pass leaves for the next one: the result ``next`` is what ``value`` is then.

    That argument is a parameter (BatchNorm's moving sums), or an input that starts at zeros and that no
    caller gives (the hidden states of an LSTM, the state of the random numbers).
    """

    value: Value
    next: str


@dataclass(frozen=True, slots=True)
class LossTerm:
    """A top that counts for the objective: the sum of its elements times ``weight``."""

    value: Value
    weight: float


@dataclass(frozen=True, slots=True)
class FileOutput:
    """Results that every forward pass writes to a file (HDF5Output): data set name -> result name."""

    path: str
    datasets: tuple[tuple[str, str], ...]
    location: Location | None
    layer: str


@dataclass(frozen=True)
class ImportedNet:
    """A net as tensor IR: ``module`` has one function, ``main``.

    Its arguments are the input blobs (role ``input``) and the parameters (role ``param``), in the order
    of the layers; its results are named after blobs. ``blobs`` holds the last value of every blob.
    ``counted`` are the results, by name, whose number of rows a run decides; their counts are results too.
    ``states`` are arguments with a result that replaces them after a run. ``code`` is what Python layers
    run, by key.
    """

    module: Module
    params: tuple[ParamInfo, ...]
    layers: tuple[LayerInfo, ...]
    blobs: Mapping[str, Value]
    warnings: tuple[str, ...] = ()
    counted: Mapping[str, CountedRows] = field(default_factory=dict)
    states: tuple[StateInfo, ...] = ()
    losses: tuple[LossTerm, ...] = ()
    files: tuple[FileOutput, ...] = ()
    code: Mapping[str, LayerCode] = field(default_factory=dict, compare=False)

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The inputs that a caller gives."""
        carried = {state.value.name for state in self.carried}
        return tuple(v for v in self.module.func("main").inputs if v.name not in carried)

    def multipliers(self, value: str) -> tuple[float, float]:
        """By what solvers multiply the learning rate and the weight decay of a parameter.

        Of layers that share it, the first that states a number decides.
        """
        uses = [info for info in self.params if info.value.name == value]
        rate = next((info.lr_mult for info in uses if info.lr_mult is not None), 1.0)
        decay = next((info.decay_mult for info in uses if info.decay_mult is not None), 1.0)
        return rate, decay

    @cached_property
    def carried(self) -> tuple[StateInfo, ...]:
        """The states that are inputs no caller gives."""
        params = {info.value.name for info in self.params}
        return tuple(s for s in self.states if s.value.name not in params)
