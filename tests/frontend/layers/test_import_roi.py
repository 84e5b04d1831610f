"""Regions of interest and proposals against loops written from the papers."""

import math

import numpy as np
import pytest

X = (2, 3, 9, 12)
ROIS = np.array([[0, 3, 5, 60, 70], [1, 0, 0, 5, 5], [0, 90, 80, 300, 300], [1, 40, 40, 30, 20]], np.float32)


def rounded(x):
    return math.floor(abs(x) + 0.5) * (1 if x >= 0 else -1)


def roi_pool_by_hand(x, rois, ph, pw, scale):
    out = np.zeros((len(rois), x.shape[1], ph, pw))
    for r, (n, *corners) in enumerate(rois):
        x1, y1, x2, y2 = (rounded(c * scale) for c in corners)
        w, h = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
        for c in range(x.shape[1]):
            for i in range(ph):
                for j in range(pw):
                    rows = range(
                        max(y1 + math.floor(i * h / ph), 0), min(y1 + math.ceil((i + 1) * h / ph), x.shape[2])
                    )
                    columns = range(
                        max(x1 + math.floor(j * w / pw), 0), min(x1 + math.ceil((j + 1) * w / pw), x.shape[3])
                    )
                    seen = [x[int(n), c, a, b] for a in rows for b in columns]
                    out[r, c, i, j] = max(seen, default=0)
    return out


def ps_roi_pool_by_hand(x, rois, dim, group, scale):
    out = np.zeros((len(rois), dim, group, group))
    for r, (n, x1, y1, x2, y2) in enumerate(rois):
        left, top = rounded(x1) * scale, rounded(y1) * scale
        w = max((rounded(x2) + 1) * scale - left, 0.1) / group
        h = max((rounded(y2) + 1) * scale - top, 0.1) / group
        for c in range(dim):
            for i in range(group):
                for j in range(group):
                    rows = range(
                        max(math.floor(top + i * h), 0), min(math.ceil(top + (i + 1) * h), x.shape[2])
                    )
                    columns = range(
                        max(math.floor(left + j * w), 0), min(math.ceil(left + (j + 1) * w), x.shape[3])
                    )
                    seen = [x[int(n), (c * group + i) * group + j, a, b] for a in rows for b in columns]
                    out[r, c, i, j] = sum(seen) / len(seen) if seen else 0
    return out


def roi_pooling(settings: str) -> str:
    return (
        'layer { name: "r" type: "ROIPooling" bottom: "x" bottom: "rois" top: "y" '
        f"roi_pooling_param {{ {settings} }} }}"
    )


def ps_roi_pooling(settings: str) -> str:
    return (
        'layer { name: "r" type: "PSROIPooling" bottom: "x" bottom: "rois" top: "y" '
        f"psroi_pooling_param {{ {settings} }} }}"
    )


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1, 1)])
def test_a_region_is_pooled_as_the_loops_do(run_layer, shape):
    x = np.random.default_rng(0).standard_normal(X).astype(np.float32)
    (y,) = run_layer(
        roi_pooling("pooled_h: 3 pooled_w: 4 spatial_scale: 0.125"), x=x, rois=ROIS.reshape(shape)
    )
    np.testing.assert_allclose(y, roi_pool_by_hand(x, ROIS, 3, 4, 0.125))


def test_a_region_is_pooled_by_position_as_the_loops_do(run_layer):
    x = np.random.default_rng(0).standard_normal((2, 18, 9, 12)).astype(np.float32)
    (y,) = run_layer(ps_roi_pooling("spatial_scale: 0.125 output_dim: 2 group_size: 3"), x=x, rois=ROIS)
    np.testing.assert_allclose(y, ps_roi_pool_by_hand(x, ROIS, 2, 3, 0.125), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (roi_pooling("pooled_h: @0 pooled_w: 1"), "pooled_h must be at least 1, got 0"),
        (
            ps_roi_pooling("spatial_scale: 1 output_dim: @0 group_size: 1"),
            "output_dim must be positive; got 0",
        ),
        (
            roi_pooling("pooled_h: 1 pooled_w: 1")
            .replace('"rois"', '"x"')
            .replace('bottom: "x" top', 'bottom: @"x" top'),
            "the second bottom must have 5 numbers a region: sample, x1, y1, x2, y2",
        ),
    ],
)
def test_a_bad_setting_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text, x=X, rois=(4, 5)) == message


def anchors_by_hand(base, ratios, scales, rounding):
    boxes = []
    for ratio in ratios:
        w = rounding(math.sqrt(base * base / ratio))
        h = rounding(w * ratio)
        for s in scales:
            middle = (base - 1) / 2
            boxes.append(
                [
                    middle - (w * s - 1) / 2,
                    middle - (h * s - 1) / 2,
                    middle + (w * s - 1) / 2,
                    middle + (h * s - 1) / 2,
                ]
            )
    return boxes


def propose_by_hand(scores, deltas, info, anchors, stride, pre, post, nms, least, *, zero):
    count = len(anchors)
    found = []
    for i in range(scores.shape[2]):
        for j in range(scores.shape[3]):
            for a, (x1, y1, x2, y2) in enumerate(anchors):
                w, h = x2 - x1 + 1, y2 - y1 + 1
                dx, dy, dw, dh = deltas[0, 4 * a : 4 * a + 4, i, j]
                x, y = x1 + j * stride + w / 2 + dx * w, y1 + i * stride + h / 2 + dy * h
                w, h = w * math.exp(dw), h * math.exp(dh)
                box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
                box = [min(max(b, 0), info[0, 1 - k % 2] - 1) for k, b in enumerate(box)]
                small = box[2] - box[0] + 1 < least * info[0, 2] or box[3] - box[1] + 1 < least * info[0, 2]
                score = scores[0, count + a, i, j]
                if not small or zero:
                    found.append((0 if small else score, box))
    found = sorted(found, key=lambda f: -f[0])[:pre]
    kept = []
    for score, box in found:
        if len(kept) < post and all(pixel_iou(box, other) <= nms for _, other in kept):
            kept.append((score, box))
    return np.array([[0, *box] for _, box in kept]), np.array([score for score, _ in kept])


def pixel_iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
    if w <= 0 or h <= 0:
        return 0.0
    area = (a[2] - a[0] + 1) * (a[3] - a[1] + 1) + (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return w * h / (area - w * h)


PROPOSAL = (
    'layer { name: "p" type: "Proposal" bottom: "scores" bottom: "deltas" bottom: "info" top: "rois" top: "best" '
    "proposal_param { ratio: 0.5 ratio: %s scale: 2 scale: 4 feat_stride: %s pre_nms_topn: 60 post_nms_topn: 20 "
    "min_size: 10 } }"
)
PYTHON = (
    'layer { name: "p" type: "Python" bottom: "scores" bottom: "deltas" bottom: "info" top: "rois" top: "best" '
    'python_param { module: "rpn.proposal_layer" layer: "ProposalLayer" param_str: "%s" } }'
)
MAP = {"scores": (1, 8, 5, 6), "deltas": (1, 16, 5, 6), "info": (1, 3)}


def maps(anchors, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0, 1, (1, 2 * anchors, 5, 6)).astype(np.float32)
    deltas = (rng.standard_normal((1, 4 * anchors, 5, 6)) * 0.5).astype(np.float32)
    return scores, deltas, np.array([[80, 96, 1.5]], np.float32)


def test_proposals_are_those_of_the_loops(run_layer):
    scores, deltas, info = maps(4)
    rois, best, count = run_layer(PROPOSAL % (2, 16), scores=scores, deltas=deltas, info=info)
    anchors = anchors_by_hand(16, (0.5, 2), (2, 4), lambda v: math.floor(v + 0.5))
    expected, found = propose_by_hand(scores, deltas, info, anchors, 16, 60, 20, 0.7, 10, zero=True)
    assert rois.shape == (20, 5)
    assert best.shape == (20,)
    assert count[0] == len(expected)
    np.testing.assert_allclose(rois[: count[0]], expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(best[: count[0]], found, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "ratios", "scales"),
    [
        ("'feat_stride': 16", (0.5, 1, 2), (8, 16, 32)),
        ('{\\"feat_stride\\": 16, \\"scales\\": [1, 2.5]}', (0.5, 1, 2), (1, 2.5)),
        ("feat_stride: 16\\nscales: !!python/tuple [2]\\nratios: (1,)", (1,), (2,)),
    ],
)
def test_the_python_layer_of_faster_rcnn_is_known(run_layer, text, ratios, scales):
    scores, deltas, info = maps(len(ratios) * len(scales))
    rois, best, count = run_layer(PYTHON % text, scores=scores, deltas=deltas, info=info)
    anchors = anchors_by_hand(16, ratios, scales, round)
    expected, found = propose_by_hand(scores, deltas, info, anchors, 16, 6000, 300, 0.7, 16, zero=False)
    assert best.shape[1:] == (1,)
    assert count[0] == len(expected)
    np.testing.assert_allclose(rois[: count[0]], expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(best[: count[0], 0], found, rtol=1e-6)


def test_the_anchors_of_faster_rcnn_are_the_published_ones():
    from netc.frontend.layers.proposal import _anchors

    boxes = _anchors(16, (0.5, 1.0, 2.0), (8.0, 16.0, 32.0), halves_up=False)
    assert boxes[0] == (-84.0, -40.0, 99.0, 55.0)
    assert boxes[4] == (-120.0, -120.0, 135.0, 135.0)
    assert boxes[8] == (-168.0, -344.0, 183.0, 359.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PROPOSAL % ("@0", 16), "ratio must be positive, got 0"),
        (PROPOSAL % (2, "@0"), "stride must be >= 1, got 0"),
        (
            PYTHON.replace('param_str: "%s"', 'param_str: @"scales: 3"'),
            "param_str must give feat_stride, a positive integer",
        ),
        (
            PYTHON.replace('layer: "ProposalLayer"', 'layer: @"AnchorTargetLayer"') % "",
            "the Python layer rpn.proposal_layer.AnchorTargetLayer makes targets for training, which is not supported",
        ),
        (
            PYTHON.replace('layer: "ProposalLayer"', 'layer: @"Mine"') % "",
            "the Python layer rpn.proposal_layer.Mine is unknown: netc does not run a net's own code",
        ),
    ],
)
def test_a_bad_proposal_is_an_error_at_its_field(error_of, text, message):
    assert error_of(text, **MAP) == message


def test_a_python_layer_that_reads_data_becomes_inputs(imported):
    with pytest.raises(Exception, match="the shape of input 'image' is not stated"):
        imported(
            'layer { type: "Python" top: "image" python_param { module: "m" layer: "L" } } '
            'layer { type: "ReLU" bottom: "image" top: "y" }'
        )
