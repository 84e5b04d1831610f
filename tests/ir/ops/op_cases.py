"""Valid uses of every op: operand shapes, attributes, and the shape of the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netc.ir.builder import infer_types
from netc.ir.core import Value
from netc.ir.opdef import Array, NoAttrs, opdef
from netc.ir.ops.adjoint_weight import AdjointWeightAttrs
from netc.ir.ops.conv import ConvAttrs, FractionalConvAttrs
from netc.ir.ops.conv_gradient import ConvWeightGradientAttrs
from netc.ir.ops.detection import SsdDetectionsAttrs
from netc.ir.ops.dropout import DropoutAttrs
from netc.ir.ops.elementwise import (
    AffineAttrs,
    BroadcastAttrs,
    ClipAttrs,
    DiffersAttrs,
    EluAttrs,
    PowAttrs,
    ReluAttrs,
    SqrtAttrs,
    ThresholdAttrs,
)
from netc.ir.ops.flow import CorrelationAttrs, ResampleAttrs
from netc.ir.ops.im2col import Col2imAttrs, Im2colAttrs
from netc.ir.ops.inner_product import InnerProductAttrs
from netc.ir.ops.layout_ops import LayoutAttrs
from netc.ir.ops.loss import AccuracyAttrs, SoftmaxLossAttrs
from netc.ir.ops.normalize import LrnAttrs, SoftmaxAttrs
from netc.ir.ops.pad import PadAttrs
from netc.ir.ops.pick import OneHotAttrs, TopKAttrs
from netc.ir.ops.pool import GlobalPoolAttrs, PoolAttrs
from netc.ir.ops.pool_gradient import PoolGradientAttrs
from netc.ir.ops.prior_box import PriorBoxAttrs
from netc.ir.ops.proposal import ProposalAttrs
from netc.ir.ops.reduce import MomentsAttrs, ReduceAttrs
from netc.ir.ops.resize import MaxUnpoolAttrs, ResizeAttrs
from netc.ir.ops.resize_gradient import ResizeGradientAttrs
from netc.ir.ops.reverse import ReverseAttrs
from netc.ir.ops.roi import PsRoiPoolAttrs, RoiPoolAttrs
from netc.ir.ops.roi_gradient import PsRoiPoolGradientAttrs
from netc.ir.ops.scatter import ScatterAddAttrs
from netc.ir.ops.shape import (
    ConcatAttrs,
    CountAttrs,
    FillAttrs,
    ReshapeAttrs,
    SliceAttrs,
    TileAttrs,
    TransposeAttrs,
)
from netc.ir.ops.winograd import WinogradConvAttrs, WinogradWeightAttrs
from netc.ir.ops.yolo import YoloV2Attrs, YoloV3Attrs
from netc.ir.types import TensorType, Type

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """One use of an op. ``positive``: its operands must not be negative.

    ``fixed``: the dtypes of operands that hold whole numbers, by their index.
    """

    op: str
    operands: tuple[Shape, ...]
    attrs: Any
    result: Shape
    positive: bool = False
    fixed: Mapping[int, str] = field(default_factory=dict)

    @property
    def types(self) -> tuple[TensorType, ...]:
        """The types of the operands, of f32 but for the fixed ones."""
        return tuple(TensorType(self.fixed.get(i, "f32"), s) for i, s in enumerate(self.operands))

    def __str__(self) -> str:
        return f"{self.op} {' '.join('x'.join(map(str, s)) for s in self.operands)} {self.attrs}"


def square_conv(axes: int, stride: int = 1, pad: int = 0, dilation: int = 1, group: int = 1) -> ConvAttrs:
    return ConvAttrs((stride,) * axes, ((pad, pad),) * axes, (dilation,) * axes, group)


def square_pool(kind: Any, kernel: int, stride: int, pad: int = 0, **more: Any) -> PoolAttrs:
    return PoolAttrs(kind, (kernel,) * 2, (stride,) * 2, ((pad, pad),) * 2, **more)


UNARY = [
    ("relu", ReluAttrs(0.1)),
    ("relu", ReluAttrs()),
    ("elu", EluAttrs(0.5)),
    ("sigmoid", NoAttrs()),
    ("tanh", NoAttrs()),
    ("abs", NoAttrs()),
    ("sign", NoAttrs()),
    ("exp", NoAttrs()),
    ("affine", AffineAttrs(2.0, -1.0)),
    ("bnll", NoAttrs()),
    ("clip", ClipAttrs(-0.5, 0.7)),
    ("threshold", ThresholdAttrs(0.1)),
    ("differs", DiffersAttrs(0)),
    ("differs", DiffersAttrs(1)),
    ("differs", DiffersAttrs(-1)),
    ("reciprocal_or_zero", NoAttrs()),
]
POSITIVE = [("log", NoAttrs()), ("sqrt", SqrtAttrs()), ("pow", PowAttrs(1.5))]
BINARY = ["add", "sub", "mul", "div", "max", "prelu"]
X = (2, 3, 4, 5)

CASES = [
    Case("math.broadcast", ((2, 1, 3),), BroadcastAttrs((2, 4, 3)), (2, 4, 3)),
    Case("math.stop_gradient", ((2, 3),), NoAttrs(), (2, 3)),
    Case(
        "nn.fractional_conv",
        ((2, 4, 3, 4), (6, 2, 3, 2), (6,)),
        FractionalConvAttrs((2, 3), ((2, 3), (0, 1)), 2),
        (2, 6, 8, 10),
    ),
    Case("nn.winograd_weight", ((4, 3, 3, 3),), WinogradWeightAttrs(4), (4, 36, 3)),
    Case(
        "nn.winograd_conv",
        ((2, 6, 5, 8), (4, 16, 3), (4,)),
        WinogradConvAttrs(2, 3, ((1, 0), (2, 1)), 2),
        (2, 4, 4, 9),
    ),
    Case("nn.adjoint_weight", ((4, 3, 2, 3),), AdjointWeightAttrs(), (3, 4, 2, 3)),
    Case("nn.adjoint_weight", ((4, 3, 5),), AdjointWeightAttrs(2), (6, 2, 5)),
    Case(
        "nn.conv_weight_gradient",
        ((2, 4, 7, 8), (2, 6, 3, 8)),
        ConvWeightGradientAttrs((3, 3), (2, 1), ((0, 0), (1, 1)), (1, 1), 2),
        (6, 2, 3, 3),
    ),
    Case(
        "nn.conv_weight_gradient",
        ((2, 3, 9), (2, 5, 5)),
        ConvWeightGradientAttrs((3,), (1,), ((0, 0),), (2,)),
        (5, 3, 3),
    ),
    *[Case(f"math.{n}", (X,), a, X) for n, a in UNARY],
    *[Case("math.tanh", ((),), NoAttrs(), ())],
    *[Case(f"math.{n}", (X,), a, X, positive=True) for n, a in POSITIVE],
    *[Case(f"math.{n}", (X, X), NoAttrs(), X) for n in BINARY],
    *[Case(f"math.{n}", (X, (1, 3, 1, 1)), NoAttrs(), X) for n in BINARY],
    Case("math.mul", ((2, 1), (1, 3)), NoAttrs(), (2, 3)),
    Case("nn.conv", ((2, 3, 7, 8), (4, 3, 3, 3)), square_conv(2), (2, 4, 5, 6)),
    Case("nn.conv", ((2, 3, 7, 8), (4, 3, 3, 3), (4,)), square_conv(2, stride=2, pad=1), (2, 4, 4, 4)),
    Case("nn.conv", ((1, 4, 9, 9), (6, 2, 3, 3), (6,)), square_conv(2, dilation=2, group=2), (1, 6, 5, 5)),
    Case("nn.conv", ((1, 4, 5, 5), (4, 1, 3, 3)), square_conv(2, pad=1, group=4), (1, 4, 5, 5)),
    Case("nn.conv", ((2, 3, 6), (4, 3, 1)), square_conv(1, stride=2), (2, 4, 3)),
    Case("nn.conv", ((1, 2, 4, 5, 3), (3, 2, 2, 2, 2), (3,)), square_conv(3, pad=1), (1, 3, 5, 6, 4)),
    Case("nn.conv", ((1, 2, 5, 6), (3, 2, 1, 5)), ConvAttrs((1, 2), ((0, 0), (2, 1)), (1, 1)), (1, 3, 5, 3)),
    Case("nn.deconv", ((2, 3, 4, 5), (3, 2, 3, 3)), square_conv(2), (2, 2, 6, 7)),
    Case("nn.deconv", ((2, 3, 4, 5), (3, 2, 4, 4), (2,)), square_conv(2, stride=2, pad=1), (2, 2, 8, 10)),
    Case("nn.deconv", ((1, 4, 3, 3), (4, 3, 2, 2), (6,)), square_conv(2, dilation=2, group=2), (1, 6, 5, 5)),
    Case("nn.deconv", ((1, 4, 3, 3), (4, 1, 4, 4)), square_conv(2, stride=2, pad=1, group=4), (1, 4, 6, 6)),
    Case("nn.deconv", ((1, 2, 3), (2, 1, 2)), ConvAttrs((3,), ((1, 0),), (1,)), (1, 1, 7)),
    Case("nn.pool", (X,), square_pool("max", 2, 2), (2, 3, 2, 3)),
    Case("nn.pool", (X,), square_pool("ave", 3, 2, 1), (2, 3, 3, 3)),
    Case("nn.pool", (X,), square_pool("max", 3, 2, 1, round="floor"), (2, 3, 2, 3)),
    Case("nn.pool", (X,), square_pool("ave", 3, 2, 1, count_padding=False), (2, 3, 3, 3)),
    Case("nn.pool", ((1, 2, 9),), PoolAttrs("max", (3,), (2,), ((1, 0),)), (1, 2, 5)),
    Case("nn.pool", ((1, 2, 2, 2),), square_pool("max", 3, 2), (1, 2, 1, 1)),
    Case("nn.global_pool", (X,), GlobalPoolAttrs("ave"), (2, 3, 1, 1)),
    Case("nn.global_pool", ((2, 3, 4),), GlobalPoolAttrs("max"), (2, 3, 1)),
    Case("nn.lrn", ((2, 9, 3),), LrnAttrs(5, 0.01, 0.75, 1.0), (2, 9, 3)),
    Case("nn.lrn", ((2, 3, 4, 5),), LrnAttrs(9, 1.0, 0.5, 2.0), (2, 3, 4, 5)),
    Case("nn.max_pool_choice", (X,), square_pool("max", 3, 2, 1), (2, 3, 3, 3)),
    Case("nn.max_pool_choice", ((1, 2, 40),), PoolAttrs("max", (300,), (7,), ((290, 0),)), (1, 2, 6)),
    Case(
        "nn.max_pool_gradient",
        ((2, 3, 3, 3), (2, 3, 3, 3)),
        PoolGradientAttrs.of(square_pool("max", 3, 2, 1), (4, 5)),
        X,
        fixed={1: "u8"},
    ),
    Case(
        "nn.ave_pool_gradient", ((2, 3, 3, 3),), PoolGradientAttrs.of(square_pool("ave", 3, 2, 1), (4, 5)), X
    ),
    Case("nn.global_max_gradient", ((2, 3, 1, 1), X), NoAttrs(), X),
    Case("nn.lrn_gradient", ((2, 9, 3), (2, 9, 3)), LrnAttrs(5, 0.01, 0.75, 1.0), (2, 9, 3)),
    Case("nn.softmax", (X,), SoftmaxAttrs(1), X),
    Case("nn.softmax", ((6,),), SoftmaxAttrs(0), (6,)),
    Case("nn.inner_product", ((2, 6), (5, 6), (5,)), InnerProductAttrs(), (2, 5)),
    Case("nn.inner_product", ((2, 6), (6, 5)), InnerProductAttrs(transpose=True), (2, 5)),
    Case("nn.dropout", (X,), DropoutAttrs(0.5), X),
    Case("tensor.reduce", (X,), ReduceAttrs("sum", (1, 3)), (2, 1, 4, 1)),
    Case("tensor.reduce", (X,), ReduceAttrs("mean", (0,)), (1, 3, 4, 5)),
    Case("tensor.reduce", (X,), ReduceAttrs("max", (0, 1, 2, 3)), (1, 1, 1, 1)),
    Case("nn.moments", (X,), MomentsAttrs((0, 2, 3)), (1, 3, 1, 1)),
    Case("nn.moments", ((2, 3),), MomentsAttrs((1,)), (2, 1)),
    Case("tensor.reshape", (X,), ReshapeAttrs((6, 20)), (6, 20)),
    Case("tensor.reshape", ((1, 1),), ReshapeAttrs(()), ()),
    Case("tensor.transpose", (X,), TransposeAttrs((2, 0, 3, 1)), (4, 2, 5, 3)),
    Case("tensor.concat", (X, (2, 1, 4, 5), X), ConcatAttrs(1), (2, 7, 4, 5)),
    Case("tensor.concat", ((3,),), ConcatAttrs(0), (3,)),
    Case("tensor.slice", (X,), SliceAttrs((0, 1, 0, 2), (2, 2, 4, 1)), (2, 2, 4, 1)),
    Case("tensor.fill", (), FillAttrs(TensorType("f32", (2, 3)), 1.5), (2, 3)),
    Case("tensor.pad", (X,), PadAttrs((0, 1, 0, 2), (0, 0, 3, 1), "constant", 0.5), (2, 4, 7, 8)),
    Case("tensor.pad", (X,), PadAttrs((0, 0, 2, 0), (0, 0, 1, 4), "reflect"), (2, 3, 7, 9)),
    Case("tensor.pad", (X,), PadAttrs((1, 0, 0, 0), (0, 0, 0, 9), "edge"), (3, 3, 4, 14)),
    *[
        Case("nn.resize", (X,), ResizeAttrs((7, 3), kind, coordinates), (2, 3, 7, 3))
        for kind in ("bilinear", "nearest")
        for coordinates in ("corners", "half_pixel", "origin")
    ],
    Case("tensor.pad", (X,), PadAttrs((0, 0, 4, 0), (0, 0, 1, 5), "symmetric"), (2, 3, 9, 10)),
    Case("tensor.reverse", (X,), ReverseAttrs((1, 3)), X),
    Case(
        "nn.correlation",
        (X, X),
        CorrelationAttrs(3, 1, (1, 2), (0, 1), ((0, -1), (0, 0)), "product"),
        (2, 2, 4, 5),
    ),
    Case(
        "nn.correlation",
        (X, X),
        CorrelationAttrs(1, 2, (0, 0), (0, 0), ((0, 0),), "difference"),
        (2, 1, 2, 3),
    ),
    Case("nn.warp", (X, (2, 2, 4, 5)), NoAttrs(), X),
    *[
        Case("nn.resample", (X,), ResampleAttrs(size, kind, True), (2, 3, *size))
        for kind in ("nearest", "linear", "cubic")
        for size in ((8, 12), (3, 2))
    ],
    Case("tensor.pad_gradient", ((2, 3, 7, 9),), PadAttrs((0, 0, 2, 0), (0, 0, 1, 4), "reflect"), X),
    Case("tensor.pad_gradient", ((3, 3, 4, 14),), PadAttrs((1, 0, 0, 0), (0, 0, 0, 9), "edge"), X),
    Case("tensor.pad_gradient", ((2, 4, 7, 8),), PadAttrs((0, 1, 0, 2), (0, 0, 3, 1)), X),
    *[
        Case("nn.resize_gradient", ((2, 3, 7, 3),), ResizeGradientAttrs((4, 5), kind, coordinates), X)
        for kind in ("bilinear", "nearest")
        for coordinates in ("corners", "half_pixel", "origin")
    ],
    Case("nn.max_unpool_gradient", ((2, 3, 8, 9), X), NoAttrs(), X, positive=True),
    Case(
        "nn.roi_pool_gradient",
        ((3, 2, 2, 3), (9, 2, 6, 7), (3, 5)),
        RoiPoolAttrs((2, 3), 0.5),
        (9, 2, 6, 7),
        positive=True,
    ),
    Case(
        "nn.ps_roi_pool_gradient",
        ((3, 2, 2, 2), (3, 5)),
        PsRoiPoolGradientAttrs((9, 6, 7), 2, 2, 0.5),
        (9, 8, 6, 7),
        positive=True,
    ),
    Case("nn.max_unpool", (X, X), MaxUnpoolAttrs((8, 9)), (2, 3, 8, 9), positive=True),
    Case("nn.roi_pool", ((9, 2, 6, 7), (3, 5)), RoiPoolAttrs((2, 3), 0.5), (3, 2, 2, 3), positive=True),
    Case("nn.ps_roi_pool", ((9, 8, 6, 7), (3, 5)), PsRoiPoolAttrs(2, 2, 0.5), (3, 2, 2, 2), positive=True),
    Case(
        "detect.prior_box",
        (),
        PriorBoxAttrs(((30.0, 30.0), (40.0, 20.0)), (2, 3), (100, 120), (0.0, 0.0), 0.5, True, (0.1,)),
        (1, 2, 48),
    ),
    Case(
        "detect.ssd",
        ((2, 12), (2, 9), (1, 2, 12)),
        SsdDetectionsAttrs(3, 0, "center_size", True, False, 0.01, 0.45, 1.0, -1, -1),
        (1, 1, 12, 7),
        positive=True,
    ),
    Case(
        "detect.proposals",
        ((1, 4, 3, 5), (1, 8, 3, 5), (1, 3)),
        ProposalAttrs(((-8.0, -8.0, 23.0, 23.0), (0.0, 0.0, 15.0, 15.0)), 16, 20, 10, 0.7, 4.0, True),
        (10, 5),
        positive=True,
    ),
    Case(
        "detect.yolo_v2", ((1, 14, 3, 4),), YoloV2Attrs(2, ((1.0, 2.0), (3.0, 1.0)), 0.5, 0.4), (1, 1, 24, 7)
    ),
    Case(
        "detect.yolo_v3",
        ((1, 7, 3, 4), (1, 7, 6, 8)),
        YoloV3Attrs(2, (((10.0, 20.0),), ((30.0, 10.0),)), (32, 16), 0.5, 0.4),
        (1, 1, 120, 7),
    ),
    Case("tensor.tile", (X,), TileAttrs(1, 3), (2, 9, 4, 5)),
    Case("tensor.tile", ((3,),), TileAttrs(0, 1), (3,)),
    Case("tensor.count", (X,), CountAttrs((0, 2)), ()),
    Case("tensor.count", (X,), CountAttrs(()), ()),
    Case("tensor.take", ((4, 3, 2), (6,)), NoAttrs(), (6, 3, 2)),
    Case("tensor.one_hot", ((2, 3),), OneHotAttrs(4), (2, 3, 4)),
    Case("tensor.top_k", (X,), TopKAttrs(1, 2, "values"), (2, 2, 4, 5)),
    Case("tensor.top_k", (X,), TopKAttrs(3, 5, "indices"), X),
    Case("tensor.select", ((4, 3), (4,)), NoAttrs(), (4, 3)),
    Case("tensor.scatter_add", ((6, 3, 2), (6,)), ScatterAddAttrs(4), (4, 3, 2)),
    Case("tensor.unselect", ((4, 3), (4,)), NoAttrs(), (4, 3)),
    Case("nn.softmax_loss", (X, (2, 4, 5)), SoftmaxLossAttrs(1), (2, 4, 5)),
    Case("nn.softmax_loss", ((2, 3), (2,)), SoftmaxLossAttrs(1, 0), (2,)),
    Case("nn.softmax_loss_gradient", (X, (2, 4, 5), (2, 4, 5)), SoftmaxLossAttrs(1), X),
    Case("nn.softmax_loss_gradient", ((2, 3), (2,), (2,)), SoftmaxLossAttrs(1, 0), (2, 3)),
    Case("nn.accuracy", (X, (2, 4, 5)), AccuracyAttrs(1), ()),
    Case("nn.accuracy", ((4, 3), (4,)), AccuracyAttrs(1, 2, 0, per_class=True), (3,)),
    Case("nn.pool_mask", (X,), square_pool("max", 3, 2, 1), (2, 3, 3, 3)),
    Case("nn.stochastic_pool", (X, (2, 3, 2, 3)), square_pool("max", 2, 2), (2, 3, 2, 3), positive=True),
    Case(
        "nn.stochastic_pool_choice", (X, (2, 3, 2, 3)), square_pool("max", 2, 2), (2, 3, 2, 3), positive=True
    ),
    Case("nn.col2im", ((2, 18, 2, 3),), Col2imAttrs((4, 5), (3, 2), (2, 1), ((1, 1), (0, 0)), (1, 2)), X),
    Case("nn.im2col", (X,), Im2colAttrs((3, 2), (2, 1), ((1, 1), (0, 0)), (1, 2)), (2, 18, 2, 3)),
    Case("layout.convert", (X,), LayoutAttrs(1, 4), X),
    Case("layout.convert", (X,), LayoutAttrs(None), X),
]


def infer(op: str, operands: tuple[Type, ...], attrs: Any = None) -> Type:
    """The type of the op's first result."""
    values = [Value(f"x{i}", t) for i, t in enumerate(operands)]
    return infer_types(op, values, NoAttrs() if attrs is None else attrs)[0]


def f32(*shape: Any) -> TensorType:
    return TensorType("f32", shape)


def run(op: str, operands: tuple[Array, ...], attrs: Any = None) -> Array:
    """The first result of the op's reference."""
    rule = opdef(op).reference
    assert rule is not None
    return rule(operands, NoAttrs() if attrs is None else attrs)[0]


def normal(*shape: int, seed: int = 0) -> Array:
    """Normally distributed numbers in float64."""
    return np.random.default_rng(seed).standard_normal(shape)
