"""The empty room as a camera sees it."""

import numpy as np

from reid_jax.tracking.scene.room import DEPTH, HEIGHT, WIDTH, Surfaces
from reid_jax.tracking.scene.view import View

SUPERSAMPLE = 2  # everything is drawn at twice the size; see `shrink`
_BAND = 32  # rows of the image at once: a large image takes no more memory than a small one


def shrink(pixels: np.ndarray) -> np.ndarray:
    """Means over squares of two by two: [2 h, 2 w, ...] -> [h, w, ...]."""
    rows = pixels[::2] + pixels[1::2]
    return (rows[:, ::2] + rows[:, 1::2]) * np.float32(0.25)


def draw_backdrop(view: View, surfaces: Surfaces) -> np.ndarray:
    """Draws the empty room: float32 [h, w, 3] in 0..1."""
    bands = [(first, min(view.height, first + _BAND)) for first in range(0, view.height, _BAND)]
    return np.concatenate([shrink(_look(view, surfaces, view.rays(*band, SUPERSAMPLE))) for band in bands])


def _look(view: View, surfaces: Surfaces, rays: np.ndarray) -> np.ndarray:
    """The colours float32 [h, w, 3] at the ends of rays [h, w, 3]: each ends at the nearest of six planes."""
    flat = rays.reshape(-1, 3)
    eye = view.eye
    planes = [(1, 0.0), (1, HEIGHT), (2, 0.0), (2, DEPTH), (0, 0.0), (0, WIDTH)]  # floor, ceiling, walls 0 to 3
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.stack([(place - eye[axis]) / flat[:, axis] for axis, place in planes])
    reach[~(reach > 1e-9)] = np.inf
    nearest = np.argmin(reach, 0)
    x, y, z = (eye + flat * reach.min(0)[:, None]).T
    colour = np.zeros((len(flat), 3), np.float32)
    for plane in range(6):
        at = nearest == plane
        if plane == 0:
            colour[at] = surfaces.floor(x[at], z[at])
        elif plane == 1:
            colour[at] = surfaces.ceiling(x[at], z[at])
        else:
            along = x[at] if plane < 4 else z[at]
            colour[at] = surfaces.wall(plane - 2, along, y[at], x[at], z[at])
    return colour.reshape(rays.shape)
