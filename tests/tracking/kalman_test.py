"""The batched filter against a textbook one: eight dimensions, dense matrices, a track at a time."""

import numpy as np

from reid_jax.tracking import kalman


def diagonal(height, position, aspect, velocity, aspect_velocity):
    p, v = position * height, velocity * height
    return np.diag([p, p, aspect, p, v, v, aspect_velocity, v]) ** 2


class Textbook:
    F = np.block([[np.eye(4), np.eye(4)], [np.zeros((4, 4)), np.eye(4)]])
    H = np.block([np.eye(4), np.zeros((4, 4))])

    def __init__(self, z):
        self.x = np.concatenate([z, np.zeros(4)])
        self.P = diagonal(z[3], 2 / 20, 1e-2, 10 / 160, 1e-5)

    def predict(self):
        Q = diagonal(self.x[3], 1 / 20, 1e-2, 1 / 160, 1e-5)
        self.x = self.F @ self.x
        self.P = self.F @ self.P @ self.F.T + Q

    def project(self):
        h = self.x[3] / 20
        R = np.diag([h, h, 1e-1, h]) ** 2
        return self.H @ self.x, self.H @ self.P @ self.H.T + R

    def update(self, z):
        mean, S = self.project()
        K = self.P @ self.H.T @ np.linalg.inv(S)
        self.x = self.x + K @ (z - mean)
        self.P = (np.eye(8) - K @ self.H) @ self.P

    def distance(self, z):
        mean, S = self.project()
        return (z - mean) @ np.linalg.solve(S, z - mean)


def walk(random, tracks, frames):
    """Boxes [frames, tracks, 4] of people who walk and come nearer."""
    start = random.uniform(0, 500, (tracks, 2))
    step = random.normal(0, 4, (tracks, 2))
    height = random.uniform(60, 200, tracks)
    for frame in range(frames):
        noise = random.normal(0, 2, (tracks, 4))
        corner = start + frame * step
        size = np.column_stack([height * 0.4, height]) * (1 + 0.01 * frame)
        yield np.concatenate([corner, corner + size], axis=1) + noise


def as_z(box):
    left, top, right, bottom = box
    return np.array([(left + right) / 2, (top + bottom) / 2, (right - left) / (bottom - top), bottom - top])


def assert_equal(motion, textbooks):
    for row, book in enumerate(textbooks):
        np.testing.assert_allclose(motion.position[row], book.x[:4], rtol=1e-9)
        np.testing.assert_allclose(motion.velocity[row], book.x[4:], rtol=1e-7, atol=1e-9)
        P = np.zeros((8, 8))
        for k in range(4):
            own, shared, velocity = motion.covariance[row, k]
            P[k, k], P[k + 4, k + 4] = own, velocity
            P[k, k + 4] = P[k + 4, k] = shared
        np.testing.assert_allclose(P, book.P, rtol=1e-7, atol=1e-12)


def test_it_is_the_textbooks_filter():
    random = np.random.default_rng(0)
    frames = list(walk(random, 5, 40))
    motion = kalman.start(frames[0])
    books = [Textbook(as_z(box)) for box in frames[0]]
    assert_equal(motion, books)
    for number, boxes in enumerate(frames[1:]):
        motion = kalman.predict(motion)
        for book in books:
            book.predict()
        expected = [[book.distance(as_z(box)) for box in boxes] for book in books]
        np.testing.assert_allclose(kalman.gating_distance(motion, boxes), expected, rtol=1e-7)
        seen = np.flatnonzero(random.random(5) < 0.7) if number % 7 else np.zeros(0, int)
        motion = motion.replaced(seen, kalman.update(motion.select(seen), boxes[seen]))
        for row in seen:
            books[row].update(as_z(boxes[row]))
        assert_equal(motion, books)


def test_boxes_come_back_from_the_state():
    boxes = np.array([[1.0, 2, 4, 9], [-5, 0, 10, 100]])
    np.testing.assert_allclose(kalman.start(boxes).boxes, boxes)
    assert kalman.start(np.zeros((0, 4))).boxes.shape == (0, 4)


def test_joining_and_choosing_keep_rows_together():
    boxes = next(walk(np.random.default_rng(1), 4, 1))
    both = kalman.start(boxes[:3]).joined(kalman.start(boxes[3:]))
    np.testing.assert_allclose(both.select(np.array([3, 0])).boxes, boxes[[3, 0]])
    assert len(both.select(np.array([True, False, True, False]))) == 2
