"""SSD's layers against loops written from the paper and from what the layer promises."""

import math

import numpy as np
import pytest

DATA = (1, 3, 60, 90)
FEATURE = (1, 8, 2, 3)


def prior_box(settings: str) -> str:
    return f'layer {{ name: "p" type: "PriorBox" bottom: "x" bottom: "data" top: "y" prior_box_param {{ {settings} }} }}'


def priors_by_hand(least, most, ratios, step, offset, clip):
    """One cell after the other, one box after the other."""
    boxes = []
    for i in range(2):
        for j in range(3):
            x, y = (j + offset) * step[1], (i + offset) * step[0]
            for k, low in enumerate(least):
                sizes = [(low, low)]
                if most:
                    sizes.append((math.sqrt(low * most[k]),) * 2)
                sizes += [(low * math.sqrt(r), low / math.sqrt(r)) for r in ratios]
                for w, h in sizes:
                    box = [(x - w / 2) / 90, (y - h / 2) / 60, (x + w / 2) / 90, (y + h / 2) / 60]
                    boxes += [min(max(b, 0), 1) for b in box] if clip else box
    return np.array(boxes)


@pytest.mark.parametrize(
    ("settings", "expected", "variance"),
    [
        ("min_size: 30", ([30], [], [], (30, 30), 0.5, False), (0.1,)),
        (
            "min_size: 30 max_size: 45 aspect_ratio: 2 aspect_ratio: 3 clip: true variance: 0.2",
            ([30], [45], [2, 0.5, 3, 1 / 3], (30, 30), 0.5, True),
            (0.2,),
        ),
        (
            "min_size: 20 min_size: 40 aspect_ratio: 2 aspect_ratio: 1 aspect_ratio: 2 flip: false step: 16 "
            "offset: 0 variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.3",
            ([20, 40], [], [2], (16, 16), 0, False),
            (0.1, 0.1, 0.2, 0.3),
        ),
        ("min_size: 35.9 step_h: 10 step_w: 20", ([35], [], [], (10, 20), 0.5, False), (0.1,)),
    ],
)
def test_prior_boxes_are_those_of_the_formula(run_layer, settings, expected, variance):
    x, data = np.zeros(FEATURE), np.zeros(DATA)
    (y,) = run_layer(prior_box(settings), x=x, data=data)
    boxes = priors_by_hand(*expected)
    assert y.shape == (1, 2, len(boxes))
    np.testing.assert_allclose(y[0, 0], boxes, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(y[0, 1], np.tile(variance, len(boxes) // len(variance)), rtol=1e-6)


def test_stated_box_sizes_take_the_place_of_all_others(run_layer):
    settings = (
        "min_size: 30 aspect_ratio: 2 box_width: 12 box_width: 30 box_height: 20 box_height: 10 step: 30"
    )
    (y,) = run_layer(prior_box(settings), x=np.zeros(FEATURE), data=np.zeros(DATA))
    boxes = [
        [(x - w / 2) / 90, (y - h / 2) / 60, (x + w / 2) / 90, (y + h / 2) / 60]
        for y in (15, 45) for x in (15, 45, 75) for w, h in ((12, 20), (30, 10))
    ]  # fmt: skip
    np.testing.assert_allclose(y[0, 0], np.ravel(boxes), rtol=1e-5, atol=1e-6)


def test_prior_boxes_of_tensorflow_have_the_larger_square_last_and_a_smaller_first_one(run_layer):
    settings = "min_size: 60 max_size: 70 aspect_ratio: 2 flip: false step: 30 tf: true yx_order: true"
    (y,) = run_layer(prior_box(settings), x=np.zeros(FEATURE), data=np.zeros(DATA))
    root, side = math.sqrt(2), math.sqrt(60 * 70)
    boxes = []
    for cy in (15, 45):
        for cx in (15, 45, 75):
            low = [(cy - 30) / 60 + 0.05, (cx - 30) / 90 + 0.05, (cy + 30) / 60 - 0.05, (cx + 30) / 90 - 0.05]
            boxes.append(low)
            for w, h in ((60 * root, 60 / root), (side, side)):
                boxes.append([(cy - h / 2) / 60, (cx - w / 2) / 90, (cy + h / 2) / 60, (cx + w / 2) / 90])
    np.testing.assert_allclose(y[0, 0], np.ravel(boxes), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("box_width: 3 box_width: 4 box_height: @3", "as many box_height as box_width expected, 2, got 1"),
        ("min_size: @0", "min_size must be at least 1, got 0"),
        ("min_size: 30 max_size: @20", "max_size must be above min_size 30, got 20"),
        ("min_size: 30 min_size: 40 max_size: @50", "2 max_size expected, got 1"),
        ("min_size: 30 aspect_ratio: @-1", "aspect_ratio must be positive, got -1"),
        ("min_size: 30 variance: @0.1 variance: 0.1", "one variance or four expected, got 2"),
        ("min_size: 30 variance: @0", "variance must be positive, got 0"),
        ("min_size: 30 step: @8 step_h: 8", "either step or step_h and step_w can be given, not both"),
        ("min_size: 30 step: @0", "step must be positive, got 0"),
        ("min_size: 30 img_h: 9 img_size: @9", "either img_size or img_h and img_w can be given, not both"),
    ],
)
def test_a_bad_prior_box_is_an_error_at_its_field(error_of, settings, message):
    assert error_of(prior_box(settings), x=FEATURE, data=DATA) == message


def detection_output(settings: str) -> str:
    return (
        'layer { name: "d" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "prior" top: "y" '
        f"detection_output_param {{ {settings} }} }}"
    )


def iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    common = w * h
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def decoded(loc, prior, variance, code):
    w, h = prior[2] - prior[0], prior[3] - prior[1]
    v = [a * b for a, b in zip(loc, variance, strict=True)]
    if code == "CORNER":
        return [p + d for p, d in zip(prior, v, strict=True)]
    if code == "CORNER_SIZE":
        return [prior[0] + v[0] * w, prior[1] + v[1] * h, prior[2] + v[2] * w, prior[3] + v[3] * h]
    x, y = (prior[0] + prior[2]) / 2 + v[0] * w, (prior[1] + prior[3]) / 2 + v[1] * h
    w, h = w * math.exp(v[2]), h * math.exp(v[3])
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def detect_by_hand(
    loc, conf, prior, *, classes, background=0, code="CORNER", share=True, scaled=False, threshold=-1e30, nms=0.3,
    eta=1.0, top_k=-1, keep=-1,
):  # fmt: skip
    count = prior.shape[2] // 4
    corners, variances = prior[0, 0].reshape(-1, 4), prior[0, 1].reshape(-1, 4)
    rows = []
    for n in range(len(loc)):
        image = []
        for c in range(classes):
            if c == background:
                continue
            scored = [(conf[n, p * classes + c], p) for p in range(count)]
            scored = sorted((s for s in scored if s[0] > threshold), key=lambda s: -s[0])
            if top_k >= 0:
                scored = scored[:top_k]
            kept, limit = [], nms
            for score, p in scored:
                at = p * 4 if share else (p * classes + c) * 4
                variance = (1, 1, 1, 1) if scaled else variances[p]
                box = decoded(loc[n, at : at + 4], corners[p], variance, code)
                if all(iou(box, other) <= limit for _, other in kept):
                    kept.append((score, box))
                    limit = limit * eta if eta < 1 and limit > 0.5 else limit
            image += [(n, c, score, *box) for score, box in kept]
        if 0 <= keep < len(image):
            image = sorted(sorted(image, key=lambda r: -r[2])[:keep], key=lambda r: r[1])
        rows += image
    return np.array(rows or [(n, *(-1,) * 6) for n in range(len(loc))])


def random_detections(classes, share=True, images=2, boxes=40, seed=0):
    rng = np.random.default_rng(seed)
    centre, size = rng.uniform(0.2, 0.8, (boxes, 2)), rng.uniform(0.1, 0.4, (boxes, 2))
    corners = np.concatenate([centre - size / 2, centre + size / 2], axis=1).reshape(-1)
    prior = np.stack([corners, np.full(boxes * 4, 0.1)])[np.newaxis].astype(np.float32)
    loc = rng.standard_normal((images, boxes * 4 * (1 if share else classes))).astype(np.float32)
    conf = rng.uniform(0, 1, (images, boxes * classes)).astype(np.float32)
    return loc, conf, prior


@pytest.mark.parametrize(
    ("settings", "by_hand"),
    [
        ("num_classes: 3", {"classes": 3}),
        (
            "num_classes: 3 code_type: CENTER_SIZE keep_top_k: 10 confidence_threshold: 0.3 "
            "nms_param { nms_threshold: 0.45 top_k: 20 }",
            {"classes": 3, "code": "CENTER_SIZE", "keep": 10, "threshold": 0.3, "nms": 0.45, "top_k": 20},
        ),
        (
            "num_classes: 4 code_type: CORNER_SIZE share_location: false background_label_id: 2 "
            "nms_param { nms_threshold: 0.9 eta: 0.8 }",
            {"classes": 4, "code": "CORNER_SIZE", "share": False, "background": 2, "nms": 0.9, "eta": 0.8},
        ),
        (
            "num_classes: 2 background_label_id: -1 variance_encoded_in_target: true nms_threshold: 0.6 top_k: 9",
            {"classes": 2, "background": -1, "scaled": True, "nms": 0.6, "top_k": 9},
        ),
        ("num_classes: 2 confidence_threshold: 2", {"classes": 2, "threshold": 2}),
    ],
)
def test_detections_are_those_of_the_loops(run_layer, settings, by_hand):
    loc, conf, prior = random_detections(by_hand["classes"], by_hand.get("share", True))
    rows, count = run_layer(detection_output(settings), loc=loc, conf=conf, prior=prior)
    expected = detect_by_hand(loc, conf, prior, **by_hand)
    assert count[0] == len(expected)
    np.testing.assert_allclose(rows[0, 0, : count[0]], expected, rtol=1e-4, atol=1e-5)
    assert not rows[0, 0, count[0] :].any()


def test_refinedet_filters_by_its_anchors_and_moves_the_boxes_twice(run_layer):
    loc, conf, prior = random_detections(3)
    rng = np.random.default_rng(1)
    arm_conf = rng.uniform(0, 1, (2, 80)).astype(np.float32)
    arm_loc = (rng.standard_normal((2, 160)) * 0.3).astype(np.float32)
    layer = detection_output("num_classes: 3 code_type: CENTER_SIZE objectness_score: 0.4").replace(
        'top: "y"', 'bottom: "ac" bottom: "al" top: "y"'
    )
    rows, count = run_layer(layer, loc=loc, conf=conf, prior=prior, ac=arm_conf, al=arm_loc)
    expected = []
    for n in range(2):
        moved, scores = prior.copy(), conf[n].reshape(40, 3).copy()
        for p in range(40):
            box = decoded(
                arm_loc[n, 4 * p : 4 * p + 4], prior[0, 0, 4 * p : 4 * p + 4], (0.1,) * 4, "CENTER_SIZE"
            )
            moved[0, 0, 4 * p : 4 * p + 4] = box
            if arm_conf[n, 2 * p + 1] < 0.4:
                scores[p] = (1, 0, 0)
        found = detect_by_hand(loc[n : n + 1], scores.reshape(1, -1), moved, classes=3, code="CENTER_SIZE")
        expected += [(n, *row[1:]) for row in found]
    assert count[0] == len(expected)
    # boxes of background all have the score 0, and so no order among them
    scored = np.array(expected)[:, 2] > 0
    np.testing.assert_allclose(
        rows[0, 0, : count[0]][scored], np.array(expected)[scored], rtol=1e-4, atol=1e-5
    )


def test_the_image_to_draw_detections_on_is_not_read(run_layer):
    loc, conf, prior = random_detections(2)
    plain, _ = run_layer(detection_output("num_classes: 2"), loc=loc, conf=conf, prior=prior)
    layer = detection_output("num_classes: 2").replace('top: "y"', 'bottom: "data" top: "y"')
    rows, _ = run_layer(layer, loc=loc, conf=conf, prior=prior, data=np.zeros(DATA))
    np.testing.assert_array_equal(rows, plain)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("num_classes: @5", "locations of [N,40] expected"),
        ("num_classes: 3 nms_param { eta: @0 }", "eta must be above 0 and at most 1, got 0"),
        ("num_classes: 3 keep_top_k: @-2", "must be -1 or more, got -2"),
    ],
)
def test_a_bad_detection_output_is_an_error_at_its_field(error_of, settings, message):
    shapes = {"loc": (2, 160), "conf": (2, 120), "prior": (1, 2, 160)}
    if "5" in settings:
        layer, _, rest = detection_output(settings).partition("@")
        assert "scores of [N,200]" in error_of(f"@{layer}{rest}", **shapes)
    else:
        assert error_of(detection_output(settings), **shapes) == message


def yolo2_by_hand(x, classes, anchors, threshold, nms):
    found = []
    n, _, height, width = x.shape
    for i in range(height):
        for j in range(width):
            for a, (w, h) in enumerate(anchors):
                tx, ty, tw, th, to, *scores = x[0, a * (5 + classes) : (a + 1) * (5 + classes), i, j]
                chances = [math.exp(s - max(scores)) for s in scores]
                best = chances.index(max(chances))
                score = chances[best] / sum(chances) / (1 + math.exp(-to))
                if score >= threshold:
                    box = ((j + 1 / (1 + math.exp(-tx))) / width, (i + 1 / (1 + math.exp(-ty))) / height)
                    found.append((best, score, *box, math.exp(tw) * w / width, math.exp(th) * h / height))
    return suppressed(found, nms, n)


def yolo3_by_hand(maps, classes, anchors, strides, threshold, nms):
    found = []
    for x, pairs, stride in zip(maps, anchors, strides, strict=True):
        height, width = x.shape[2:]
        for i in range(height):
            for j in range(width):
                for a, (w, h) in enumerate(pairs):
                    tx, ty, tw, th, *rest = x[0, a * (5 + classes) : (a + 1) * (5 + classes), i, j]
                    sure, *scores = (1 / (1 + math.exp(-r)) for r in rest)
                    centre = ((j + 1 / (1 + math.exp(-tx))) / width, (i + 1 / (1 + math.exp(-ty))) / height)
                    size = (math.exp(tw) * w / (width * stride), math.exp(th) * h / (height * stride))
                    found += [
                        (c, sure * s, *centre, *size) for c, s in enumerate(scores) if sure * s > threshold
                    ]
    return suppressed(found, nms, 1)


def suppressed(found, nms, images):
    kept = []
    for label, score, x, y, w, h in sorted(found, key=lambda f: -f[1]):
        box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        if all(iou(box, other[3:]) < nms for other in kept):
            kept.append((0, label + 1, score, *box))
    return np.array(kept or [(n, *(-1,) * 6) for n in range(images)])


YOLO2 = (
    'layer { name: "d" type: "YoloDetectionOutput" bottom: "x" top: "y" yolo_detection_output_param { '
    "num_classes: 3 num_box: 2 confidence_threshold: %s nms_threshold: 0.4 "
    "biases: 1 biases: 2 biases: 3 biases: 1.5 } }"
)
YOLO3 = (
    'layer { name: "d" type: "Yolov3DetectionOutput" bottom: "a" bottom: "b" top: "y" '
    "yolov3_detection_output_param { num_classes: 2 num_box: 2 confidence_threshold: 0.4 nms_threshold: 0.4 "
    "anchors_scale: 32 anchors_scale: 16 mask_group_num: 2 mask: %s mask: 2 mask: 0 mask: 1 "
    "biases: 10 biases: 14 biases: 23 biases: 27 biases: 81 biases: 82 } }"
)


@pytest.mark.parametrize("threshold", [0.3, 1.1])
def test_boxes_of_the_second_yolo_are_those_of_the_loops(run_layer, threshold):
    x = np.random.default_rng(3).standard_normal((1, 16, 4, 4)).astype(np.float32)
    rows, count = run_layer(YOLO2 % threshold, x=x)
    expected = yolo2_by_hand(x, 3, [(1, 2), (3, 1.5)], threshold, 0.4)
    assert count[0] == len(expected)
    np.testing.assert_allclose(rows[0, 0, : count[0]], expected, rtol=1e-4, atol=1e-5)


def test_boxes_of_the_third_yolo_are_those_of_the_loops(run_layer):
    rng = np.random.default_rng(4)
    a, b = (rng.standard_normal((1, 14, s, s)).astype(np.float32) for s in (3, 6))
    rows, count = run_layer(YOLO3 % 1, a=a, b=b)
    anchors = [[(23, 27), (81, 82)], [(10, 14), (23, 27)]]
    expected = yolo3_by_hand((a, b), 2, anchors, (32, 16), 0.4, 0.4)
    assert count[0] == len(expected) > 1
    np.testing.assert_allclose(rows[0, 0, : count[0]], expected, rtol=1e-4, atol=1e-5)


def test_bad_yolo_settings_are_errors_at_their_field(error_of):
    assert error_of(YOLO3 % "@9", a=(1, 14, 3, 3), b=(1, 14, 6, 6)) == "mask 9 is not one of 3 anchors"
    text = YOLO2 % 0.1
    odd = text.replace("biases: 1 ", "", 1).replace("biases: 2", "biases: @2")
    assert error_of(odd, x=(1, 16, 4, 4)) == "pairs of biases expected, got 3 numbers"
    many = text.replace("num_box: 2", "num_box: 3").replace("biases: 1 ", "biases: @1 ", 1)
    assert error_of(many, x=(1, 24, 4, 4)) == "3 boxes need as many pairs of biases"
