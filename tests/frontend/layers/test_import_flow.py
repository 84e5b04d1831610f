"""FlowNet's layers against loops written from the papers."""

import math

import numpy as np
import pytest

RNG = np.random.default_rng(6)
A, B = RNG.standard_normal((2, 2, 3, 7, 8)).astype("f4")


def layer(type_: str, settings: str = "", bottoms: str = "a b") -> str:
    names = " ".join(f'bottom: "{b}"' for b in bottoms.split())
    return f'layer {{ name: "l" type: "{type_}" {names} top: "y" {settings} }}'


def correlation_by_hand(kernel, reach, pad, stride, shifts, subtract=False):
    """One output number after the other; centres are ``stride`` apart, ``reach`` and half a kernel from the border."""
    half = kernel // 2

    def at(x, n, c, i, j):
        i, j = i - pad[0], j - pad[1]
        return float(x[n, c, i, j]) if 0 <= i < 7 and 0 <= j < 8 else 0.0

    rows = math.ceil((7 + 2 * pad[0] - 2 * (reach[0] + half)) / stride)
    columns = math.ceil((8 + 2 * pad[1] - 2 * (reach[1] + half)) / stride)
    y = np.zeros((2, len(shifts), rows, columns))
    for n, s, i, j in np.ndindex(y.shape):
        row, column = i * stride + reach[0] + half, j * stride + reach[1] + half
        for c in range(3):
            for u in range(-half, half + 1):
                for v in range(-half, half + 1):
                    p = at(A, n, c, row + u, column + v)
                    q = at(B, n, c, row + u + shifts[s][0], column + v + shifts[s][1])
                    y[n, s, i, j] += abs(p - q) if subtract else p * q
    return y / (kernel * kernel * 3)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("kernel_size: 1 max_displacement: 2 pad: 2", (1, 2, 2, 1, 2, 1, False)),
        ("kernel_size: 3 max_displacement: 2 pad: 3 stride_1: 2 stride_2: 2", (3, 2, 3, 2, 1, 2, False)),
        (
            "kernel_size: 1 max_displacement: 3 stride_2: 2 correlation_type: SUBTRACT",
            (1, 3, 0, 1, 1, 2, True),
        ),
    ],
)
def test_a_correlation_is_that_of_the_loops(run_layer, settings, expected):
    kernel, reach, pad, stride, radius, step, subtract = expected
    (y,) = run_layer(layer("Correlation", f"correlation_param {{ {settings} }}"), a=A, b=B)
    around = range(-radius, radius + 1)
    shifts = [(p * step, q * step) for p in around for q in around]
    by_hand = correlation_by_hand(kernel, (reach, reach), (pad, pad), stride, shifts, subtract)
    assert y.shape == by_hand.shape
    np.testing.assert_allclose(y, by_hand, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("side", "steps"), [(0, (-2, -1, 0, 1, 2)), (-1, (-2, -1, 0)), (1, (0, 1, 2))])
def test_a_correlation_across_shifts_to_one_side_or_both(run_layer, side, steps):
    settings = f"correlation_param {{ kernel_size: 1 max_displacement: 2 pad: 2 single_direction: {side} }}"
    (y,) = run_layer(layer("Correlation1D", settings), a=A, b=B)
    by_hand = correlation_by_hand(1, (0, 2), (0, 2), 1, [(0, step) for step in steps])
    np.testing.assert_allclose(y, by_hand, rtol=1e-4, atol=1e-6)


def test_warping_follows_the_flow_and_gives_zeros_outside(run_layer):
    flow = (RNG.standard_normal((2, 2, 7, 8)) * 3).astype("f4")
    flow[0, :, 0, 0] = 0
    (y,) = run_layer(layer("FlowWarp"), a=A, b=flow)
    expected = np.zeros(A.shape)
    for n, c, i, j in np.ndindex(A.shape):
        p, q = i + float(flow[n, 1, i, j]), j + float(flow[n, 0, i, j])
        if not (0 <= p < 7 and 0 <= q < 8):
            continue
        top, left = math.floor(p), math.floor(q)
        for row, share in ((top, 1 - (p - top)), (min(top + 1, 6), p - top)):
            for column, part in ((left, 1 - (q - left)), (min(left + 1, 7), q - left)):
                expected[n, c, i, j] += share * part * A[n, c, row, column]
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-5)


def test_the_norm_of_the_channels_is_their_length(run_layer):
    (y,) = run_layer(layer("ChannelNorm", "", "a"), a=A)
    expected = [
        [[math.sqrt(sum(v * v for v in A[n, :, i, j].tolist())) for j in range(8)] for i in range(7)]
        for n in range(2)
    ]
    np.testing.assert_allclose(y[:, 0], expected, rtol=1e-5)


def triangle(x):
    return max(1 - abs(x), 0)


def cubic(x):
    """Catmull and Rom's spline: Keys' with a = -1/2."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0


@pytest.mark.parametrize(("kind", "weight"), [("LINEAR", triangle), ("CUBIC", cubic)])
@pytest.mark.parametrize(
    ("size", "antialias"), [((14, 16), True), ((3, 4), True), ((3, 4), False), ((7, 4), True)]
)
def test_resampling_weighs_the_elements_around_each_place(run_layer, kind, weight, size, antialias):
    settings = f"resample_param {{ type: {kind} height: {size[0]} width: {size[1]} antialias: {str(antialias).lower()} }}"
    (y,) = run_layer(layer("Resample", settings, "a"), a=A)
    fy, fx = 7 / size[0], 8 / size[1]
    shrinks = antialias and max(fx, fy) > 1
    expected = np.zeros((2, 3, *size))
    for i in range(size[0]):
        for j in range(size[1]):
            p, q = i * fy + fx / 2 - 0.5, j * fx + fy / 2 - 0.5
            weights = np.array([
                [weight((p - r) / (fy if shrinks else 1)) * weight((q - s) / (fx if shrinks else 1)) for s in range(8)]
                for r in range(7)
            ])  # fmt: skip
            expected[:, :, i, j] = (A * weights).sum((2, 3)) / weights.sum()
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-5)


def test_resampling_to_the_nearest_element_and_to_the_size_of_another_input(run_layer):
    (y,) = run_layer(layer("Resample", "resample_param { type: NEAREST }"), a=A, b=np.zeros((1, 1, 14, 16)))
    np.testing.assert_array_equal(y, np.repeat(np.repeat(A, 2, 2), 2, 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layer("Correlation", "@correlation_param { kernel_size: 1 }"), "max_displacement is missing"),
        (layer("Correlation", "correlation_param { kernel_size: @2 max_displacement: 1 }"), "kernel must be odd, got 2"),
        (
            layer("Correlation", "correlation_param { kernel_size: 1 max_displacement: @9 }"),
            "no patch fits in f32[2,3,7,8] with a reach of (9, 9)",
        ),
        (
            layer("Correlation1D", "correlation_param { kernel_size: 1 max_displacement: 1 single_direction: @2 }"),
            "single_direction must be -1, 0 or 1, got 2",
        ),
        (layer("Resample", "@resample_param { height: 3 }", "a"), "the size is missing: give height and width, or a second bottom"),
        (layer("FlowWarp", "flow_warp_param { fill_value: @NOT_A_NUMBER }"), "'flow_warp_param.fill_value' changes the result and is not supported"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text, a=A.shape, b=A.shape) == message
