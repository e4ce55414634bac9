"""A camera's place in the room: which pixel a point of the room falls on, and which ray a pixel sees."""

import math

import numpy as np

from reid_jax.tracking.scene.room import DEPTH, WIDTH
from reid_jax.tracking.scene.spec import SyntheticScene

_INSET, _EYE_HEIGHT = 0.12, 2.5  # metres from the walls, and above the floor
_TARGET = np.array((WIDTH / 2, 0.75, DEPTH / 2))  # what all cameras look at: the middle of the room
_FIELD = math.radians(50)  # of view, from the top of the image to its bottom
_NEAR = 0.05  # metres before the camera, where what is behind it is cut off

# Opposite corners first: two cameras see people from both sides.
_CORNERS = ((0, 0), (1, 1), (1, 0), (0, 1))


class View:
    """A pinhole camera in a corner of the room; pixels as (x, y) from the image's left upper corner.

    Attributes:
      eye: its place, float [3] in metres.
      height: of the image, in pixels.
    """

    def __init__(self, spec: SyntheticScene, camera: int):
        """`camera` counts from 1."""
        right, far = _CORNERS[camera - 1]
        x = WIDTH - _INSET if right else _INSET
        z = DEPTH - _INSET if far else _INSET
        self.eye = np.array((x, _EYE_HEIGHT, z))
        self.height = spec.height
        self._size = (spec.height, spec.width)
        self._focal = spec.height / 2 / math.tan(_FIELD / 2)
        forward = _TARGET - self.eye
        forward /= np.linalg.norm(forward)
        # Right of the image, down and forward: from above, x right and z up the page, right is clockwise of forward.
        across = np.array((forward[2], 0.0, -forward[0]))
        across /= np.linalg.norm(across)
        self._axes = np.stack((across, np.cross(across, forward), forward))

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points [..., 3] in metres -> pixels [..., 2] and depths [...] in metres, which are negative behind it."""
        seen = (points - self.eye) @ self._axes.T
        depth = seen[..., 2]
        middle = np.array((self._size[1] / 2, self._size[0] / 2))
        return middle + self._focal * seen[..., :2] / np.maximum(depth, _NEAR)[..., None], depth

    def stand(self, position: np.ndarray, height: float) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [2, 2] and depths [2] of the feet and the top of somebody at a floor position [2], (x, z)."""
        x, z = position
        return self.project(np.array(((x, 0.0, z), (x, height, z))))

    def rays(self, first: int, last: int, samples: int = 1) -> np.ndarray:
        """Directions [(last - first) * samples, width * samples, 3] through the pixels of the rows first to last - 1,
        with `samples` x `samples` spots in each."""
        height, width = self._size
        y = ((np.arange(first * samples, last * samples) + 0.5) / samples - height / 2) / self._focal
        x = ((np.arange(width * samples) + 0.5) / samples - width / 2) / self._focal
        x, y = np.broadcast_arrays(x[None], y[:, None])
        return np.stack((x, y, np.ones_like(x)), -1) @ self._axes

    def outline(self, corners: np.ndarray) -> np.ndarray:
        """A flat polygon [k, 3] in metres -> its picture [m, 2] in pixels; m = 0 where it lies behind the camera."""
        depth = (corners - self.eye) @ self._axes[2]
        kept = []
        for here, there, d, e in zip(corners, np.roll(corners, -1, 0), depth, np.roll(depth, -1), strict=True):
            if d > _NEAR:
                kept.append(here)
            if (d > _NEAR) != (e > _NEAR):
                kept.append(here + (there - here) * (_NEAR - d) / (e - d))
        return self.project(np.array(kept))[0] if kept else np.zeros((0, 2))
