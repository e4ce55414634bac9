"""The looks of visits: which frames are read, once and in one call each, and that crops are of the right box."""

import dataclasses

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.tracking.appearance import of_extractors
from reid_jax.tracking.looks import describe_visits
from reid_jax.tracking.mot_files import Rows
from reid_jax.tracking.visits import visits_of


@dataclasses.dataclass
class Camera:
    """Frames whose pixels say the camera, the frame and the column."""

    number: int
    count: int
    name: str = "made"

    def __post_init__(self):
        self.read_up_to = 0

    def read(self):
        for number in range(1, self.count + 1):
            self.read_up_to = number
            frame = np.zeros((50, 200, 3), np.uint8)
            frame[..., 0], frame[..., 1], frame[..., 2] = self.number, number, np.arange(200)[None]
            yield frame


def embed_and_note(calls):
    def embed(frame, boxes):
        calls.append((int(frame[0, 0, 0]), int(frame[0, 0, 1]), len(boxes)))
        return np.array([frame[int(top), int(left)] for left, top, _, _ in boxes], float)

    return embed


def rows_of(parts):
    """Rows of (identity, frames, left, camera)."""
    columns = [(frame, identity, left, camera) for identity, frames, left, camera in parts for frame in frames]
    frame, identity, left, camera = np.array(columns).T
    box = np.column_stack([left, np.full(len(left), 5), np.full(len(left), 10), np.full(len(left), 30)])
    return Rows.of(frame, box, identity=identity, camera=camera)


def test_each_crop_is_of_its_box_and_each_frame_is_described_in_one_call():
    rows = rows_of([(1, range(1, 11), 20, 1), (2, range(3, 13), 150, 1), (1, range(2, 9), 70, 2)])
    cameras, calls = {1: Camera(1, 100), 2: Camera(2, 100)}, []
    visits = visits_of(rows)
    first, second = describe_visits(rows, visits, cameras, embed_and_note(calls), 5)
    assert len(calls) == len({(camera, frame) for camera, frame, _ in calls})
    assert (1, 3, 2) in calls
    assert (cameras[1].read_up_to, cameras[2].read_up_to) == (12, 8)  # not to the end
    assert len(first.query) == 8
    assert len(first.gallery) == len(first.frame) == 16  # of seventeen boxes
    for looks, frame, camera in zip(first.gallery, first.frame, first.camera, strict=True):
        expected = np.array([camera, frame, 20 if camera == 1 else 70], float)
        np.testing.assert_allclose(looks, expected / np.linalg.norm(expected), rtol=1e-5)
    assert set(second.camera) == {1}
    # Of a second visit's early crops none is later than five frames from its first.
    early = second.query / second.query[:, :1]
    assert early[:, 1].min() == pytest.approx(3)
    assert early[:, 1].max() == pytest.approx(7)


def test_what_has_no_look_is_left_out():
    rows = rows_of([(1, range(1, 4), 20, 1), (2, range(5, 8), 20, 1)])

    def embed(frame, boxes):
        return np.full((len(boxes), 4), 0.0 if frame[0, 0, 1] < 4 else 2.0)

    first, second = describe_visits(rows, visits_of(rows), {1: Camera(1, 9)}, embed, 9)
    assert (first.query.shape, first.gallery.shape, len(first.frame)) == ((0, 4), (0, 4), 0)
    np.testing.assert_allclose(second.query, 0.5)


def test_cameras_and_frames_that_are_not_there_are_told():
    rows = rows_of([(1, range(1, 4), 20, 1), (1, range(1, 4), 20, 3)])
    with pytest.raises(InputError, match="visits are of camera 3, and there are only the cameras 1, 2"):
        describe_visits(rows, visits_of(rows), {1: Camera(1, 9), 2: Camera(2, 9)}, embed_and_note([]), 5)
    rows = rows_of([(1, range(1, 14), 20, 1)])
    with pytest.raises(InputError, match="visits go to frame 13, but made has 9 frames"):
        describe_visits(rows, visits_of(rows), {1: Camera(1, 9)}, embed_and_note([]), 5)


def test_networks_that_disagree_give_a_visit_its_spread():
    rows = rows_of([(1, range(1, 4), 20, 1), (2, range(1, 4), 150, 1)])
    random = np.random.default_rng(0)
    looks = random.standard_normal((5, 2, 6))  # of five networks, for the two boxes: in each frame the same
    looks /= np.linalg.norm(looks, axis=2, keepdims=True)
    looks[:, 1] = looks[0, 1]  # they agree about the second
    embed = of_extractors([lambda frame, boxes, colour, own=own: own for own in looks])
    first, second = describe_visits(rows, visits_of(rows), {1: Camera(1, 3)}, embed, 9)
    mean = looks.mean(0)
    expected = np.sqrt(np.mean(np.sum((looks[:, 0] - mean[0]) ** 2, axis=1)))
    assert first.spread == pytest.approx(expected)
    assert second.spread == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(first.query, np.tile(mean[0] / np.linalg.norm(mean[0]), (3, 1)), rtol=1e-5)


def test_a_box_that_lies_mostly_outside_of_the_frame_has_no_look():
    rows = rows_of([(1, range(1, 4), -6, 1), (2, range(1, 4), 194, 1), (3, range(1, 4), -5, 1), (4, [4], 500, 1)])
    calls = []
    described = describe_visits(rows, visits_of(rows), {1: Camera(1, 9)}, embed_and_note(calls), 5)
    assert [(len(one.query), len(one.gallery)) for one in described] == [(0, 0), (3, 3), (3, 3), (0, 0)]
    assert calls == [(1, 1, 2), (1, 2, 2), (1, 3, 2)]
