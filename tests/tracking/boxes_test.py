"""Overlap, clipping and thinning of boxes, against counting pixels and a plain loop."""

import numpy as np
import pytest

from reid_jax.tracking import boxes


def random_boxes(random, count, side=20):
    low = random.integers(-5, side - 2, (count, 2))
    return np.concatenate([low, low + random.integers(1, 10, (count, 2))], axis=1).astype(float)


def pixels(box):
    left, top, right, bottom = map(int, box)
    return {(x, y) for x in range(left, right) for y in range(top, bottom)}


def test_iou_counts_pixels():
    random = np.random.default_rng(0)
    one, other = random_boxes(random, 9), random_boxes(random, 7)
    found = boxes.iou(one, other)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            assert found[i, j] == pytest.approx(len(pixels(a) & pixels(b)) / len(pixels(a) | pixels(b)))
    assert boxes.iou(one, np.zeros((0, 4))).shape == (9, 0)
    assert boxes.iou(np.zeros((1, 4)), np.zeros((1, 4))) == 0  # of no area


def test_inside_counts_pixels_of_the_frame():
    random = np.random.default_rng(1)
    found = random_boxes(random, 30)
    frame = pixels((0, 0, 15, 10))
    expected = [len(pixels(box) & frame) / len(pixels(box)) for box in found]
    np.testing.assert_allclose(boxes.inside(found, (10, 15)), expected)
    np.testing.assert_array_equal(boxes.inside(found, None), 1)
    assert (boxes.clip(found, (10, 15)) <= [15, 10, 15, 10]).all()


def test_sizes_and_corners_are_inverse():
    found = random_boxes(np.random.default_rng(2), 5)
    np.testing.assert_array_equal(boxes.corners(boxes.sized(found)), found)
    np.testing.assert_array_equal(boxes.area(found), boxes.sized(found)[:, 2:].prod(axis=1))


def test_thinning_is_the_plain_loop():
    random = np.random.default_rng(3)
    for count in (0, 1, 40):
        found = random_boxes(random, count)
        score = random.integers(0, 4, count) / 4  # many are equal: the first is the better
        kept = []
        for row in sorted(range(count), key=lambda row: (-score[row], row)):
            if all(boxes.iou(found[[row]], found[[other]]) <= 0.3 for other in kept):
                kept.append(row)
        assert boxes.thin_out(found, score, 0.3).tolist() == kept
