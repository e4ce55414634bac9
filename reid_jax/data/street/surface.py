"""Rounded surfaces before a camera: which is nearest at each pixel, where on it, and how it is lit.

Parts are only placed at first; `paste` then looks all their colours up in one go.
"""

import math

import numpy as np

from reid_jax.data.street.atlas import COLUMNS, ROWS

_STEPS = 256
_POINTS = 16  # of a limb's outline
# The column beside that of a surface's middle, by the distance from the middle: asin of -1..1.
_COLUMN = np.round(np.arcsin(np.linspace(-1, 1, _STEPS)) * (COLUMNS / (2 * math.pi))).astype(np.int32)


class Surfaces:
    """Buffers float32 [h, w] of depth (-inf is empty) and light, int32 [h, w] of the atlas's texels."""

    def __init__(self, height: int, width: int, light: np.ndarray, ambient: float):
        """`light` float32 [3], unit, towards the light: right, up, towards the camera."""
        self.depth = np.full((height, width), -np.inf, np.float32)
        self.texel = np.zeros((height, width), np.int32)
        self.lit = np.zeros((height, width), np.float32)
        self._light, self._ambient = [float(each) for each in light], ambient
        self._x = np.arange(width, dtype=np.float32) + 0.5
        self._y = np.arange(height, dtype=np.float32) + 0.5
        self._extent = [width, 0, height, 0]

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns outside which nothing was placed."""
        x0, x1, y0, y1 = self._extent
        return slice(y0, max(y0, y1)), slice(x0, max(x0, x1))

    def _box(self, left: float, right: float, top: float, bottom: float) -> tuple[int, int, int, int] | None:
        height, width = self.depth.shape
        x0, x1 = max(0, math.floor(left)), min(width, math.ceil(right))
        y0, y1 = max(0, math.floor(top)), min(height, math.ceil(bottom))
        return (x0, x1, y0, y1) if x0 < x1 and y0 < y1 else None

    def _put(self, box, inside, depth, normal, row, column, tile: int) -> None:
        x0, x1, y0, y1 = box
        extent = self._extent
        self._extent = [min(x0, extent[0]), max(x1, extent[1]), min(y0, extent[2]), max(y1, extent[3])]
        seen = inside & (depth > self.depth[y0:y1, x0:x1])
        nx, ny, nz = normal
        lx, ly, lz = self._light
        lit = self._ambient + (1 - self._ambient) * np.maximum(nx * lx + ny * ly + nz * lz, 0)
        np.copyto(self.depth[y0:y1, x0:x1], depth, where=seen)
        np.copyto(self.lit[y0:y1, x0:x1], lit, where=seen)
        np.copyto(self.texel[y0:y1, x0:x1], (tile * ROWS + row) * COLUMNS + column, where=seen)

    def limb(self, start, end, outline: np.ndarray, tile: int, turn: float = 0.0, side: int = 1) -> None:
        """A limb from its upper point to its lower one (x, y, depth), in pixels.

        `outline` float32 [16]: its radius along it. `turn` is the azimuth of its front; `side` -1 mirrors its tile.
        """
        (ax, ay, az), (bx, by, bz) = start, end
        reach = float(outline.max())
        box = self._box(min(ax, bx) - reach, max(ax, bx) + reach, min(ay, by) - reach, max(ay, by) + reach)
        if box is None:
            return
        x0, x1, y0, y1 = box
        x, y = self._x[None, x0:x1] - ax, self._y[y0:y1, None] - ay
        dx, dy = bx - ax, by - ay
        length = max(math.hypot(dx, dy), 1e-3)
        along = np.clip((x * (dx / length**2) + y * (dy / length**2)), 0, 1)
        inverse = 1 / outline[(along * (_POINTS - 1)).astype(np.intp)]
        nx, ny = (x - along * dx) * inverse, (y - along * dy) * inverse
        left = 1 - nx * nx - ny * ny
        nz = np.sqrt(np.maximum(left, 0))
        across = (nx * dy - ny * dx) / length
        beside = _COLUMN[(np.clip(across, -1, 1) * (_STEPS / 2 - 1) + _STEPS / 2).astype(np.intp)]
        column = (side * (beside - self._turned(turn)) + COLUMNS // 2) & (COLUMNS - 1)
        row = (along * (ROWS - 1)).astype(np.int32)
        self._put(box, left > 0, az + (bz - az) * along + nz / inverse, (nx, -ny, nz), row, column, tile)

    def trunk(self, sections: np.ndarray, tile: int, turn: float) -> None:
        """An upright elliptic body; float32 [n, 5] of sections: row (rising), centre, half width, half depth, depth."""
        rows = sections[:, 0]
        reach = sections[:, 2].max()
        box = self._box(sections[:, 1].min() - reach, sections[:, 1].max() + reach, rows[0], rows[-1])
        if box is None:
            return
        x0, x1, y0, y1 = box
        y = self._y[y0:y1]
        centre, width, thickness, depth = (
            np.interp(y, rows, values).astype(np.float32)[:, None] for values in sections.T[1:]
        )
        nx = (self._x[None, x0:x1] - centre) / width
        left = 1 - nx * nx
        along = (y - rows[0]) / (rows[-1] - rows[0])
        inside = (left > 0) & ((along >= 0) & (along <= 1))[:, None]
        nz = np.sqrt(np.maximum(left, 0))
        column = _COLUMN[(np.clip(nx, -1, 1) * (_STEPS / 2 - 1) + _STEPS / 2).astype(np.intp)]
        column = (column - self._turned(turn) + COLUMNS // 2) & (COLUMNS - 1)
        row = np.clip(along * (ROWS - 1), 0, ROWS - 1).astype(np.int32)[:, None]
        self._put(box, inside, depth + thickness * nz, (nx, 0.15, nz), row, column, tile)

    @staticmethod
    def _turned(turn: float) -> int:
        return round(turn * COLUMNS / (2 * math.pi))

    def paste(self, canvas: np.ndarray, atlas: np.ndarray, folds: np.ndarray) -> None:
        """Puts what was placed onto a canvas (float32 [h, w, 3] in 0..255), in place.

        `atlas` gives the colours; `folds` float32 [h, w] multiplies the light.
        """
        window = self.window
        lit = self.lit[window] * folds[window]
        colours = np.take(atlas.reshape(-1, 3), self.texel[window], axis=0) * lit[..., None]
        np.copyto(canvas[window], colours, where=(self.depth[window] > -np.inf)[..., None])
