"""Drawing of rounded surfaces into a colour and a depth buffer."""

import math
from collections.abc import Callable

import numpy as np

Paint = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (along [k], body angle [k]) -> colour [k, 3]


class Canvas:
    """A colour buffer float32 [h, w, 3], a depth buffer float32 [h, w] (-inf is empty), and the light."""

    def __init__(self, height: int, width: int, light: np.ndarray, ambient: float):
        self.colour = np.zeros((height, width, 3), np.float32)
        self.depth = np.full((height, width), -np.inf, np.float32)
        self._light, self._ambient = light, ambient
        self._x = np.arange(width, dtype=np.float32) + 0.5
        self._y = np.arange(height, dtype=np.float32) + 0.5

    def _box(self, left: float, right: float, top: float, bottom: float):
        height, width = self.depth.shape
        x0, x1 = max(0, math.floor(left)), min(width, math.ceil(right))
        y0, y1 = max(0, math.floor(top)), min(height, math.ceil(bottom))
        return (x0, x1, y0, y1) if x0 < x1 and y0 < y1 else None

    def _put(self, box, inside, depth, normal, along, angle, paint: Paint | np.ndarray) -> None:
        x0, x1, y0, y1 = box
        buffer = self.depth[y0:y1, x0:x1]
        seen = inside & (depth > buffer)
        if not seen.any():
            return
        buffer[seen] = depth[seen]
        nx, ny, nz = (component[seen] for component in normal)
        lit = nx * self._light[0] + ny * self._light[1] + nz * self._light[2]
        shade = self._ambient + (1.15 - self._ambient) * np.maximum(lit, 0)
        colour = paint(along[seen], angle(seen)) if callable(paint) else paint
        self.colour[y0:y1, x0:x1][seen] = colour * shade[:, None]

    def capsule(self, start, end, start_radius: float, end_radius: float, paint, turn: float = 0.0) -> None:
        """A tapered limb between two points (x, y, depth) in pixels; `turn` is the body's azimuth."""
        (ax, ay, az), (bx, by, bz) = start, end
        reach = max(start_radius, end_radius)
        box = self._box(min(ax, bx) - reach, max(ax, bx) + reach, min(ay, by) - reach, max(ay, by) + reach)
        if box is None:
            return
        x0, x1, y0, y1 = box
        x, y = self._x[None, x0:x1] - ax, self._y[y0:y1, None] - ay
        dx, dy = bx - ax, by - ay
        square = dx * dx + dy * dy
        along = np.clip((x * dx + y * dy) / square, 0, 1) if square > 1e-3 else np.zeros((y1 - y0, x1 - x0), np.float32)
        radius = start_radius + (end_radius - start_radius) * along
        nx, ny = (x - along * dx) / radius, (y - along * dy) / radius
        left = 1 - nx * nx - ny * ny
        inside = left > 0
        nz = np.sqrt(np.maximum(left, 0))
        depth = az + (bz - az) * along + radius * nz
        self._put(
            box,
            inside,
            depth,
            (nx, -ny, nz),
            along,
            lambda seen: np.arctan2(nx[seen], nz[seen]) - turn,
            paint,
        )

    def barrel(self, rows, centre, half_width, half_depth, depth, paint, turn: float = 0.0) -> None:
        """An upright elliptic body; per section its row (rising), centre, half width and depth, and depth."""
        box = self._box(min(centre) - max(half_width), max(centre) + max(half_width), rows[0], rows[-1])
        if box is None:
            return
        x0, x1, y0, y1 = box
        y = self._y[y0:y1]
        cx, hw, hd, z = (
            np.interp(y, rows, values).astype(np.float32)[:, None] for values in (centre, half_width, half_depth, depth)
        )
        nx = (self._x[None, x0:x1] - cx) / hw
        left = 1 - nx * nx
        along = np.broadcast_to(((y - rows[0]) / (rows[-1] - rows[0]))[:, None], nx.shape)
        inside = (left > 0) & (along >= 0) & (along <= 1)
        nz = np.sqrt(np.maximum(left, 0))
        self._put(
            box,
            inside,
            z + hd * nz,
            (nx, np.zeros_like(nx), nz),
            along,
            lambda seen: np.arctan2(nx[seen], nz[seen]) - turn,
            paint,
        )
