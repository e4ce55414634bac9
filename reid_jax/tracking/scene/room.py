"""The room of a synthetic scene: its walls and doors in metres, and the colour of each spot of its surfaces.

The floor is y = 0; x runs along the longer wall, z along the shorter one, y up.
"""

import dataclasses

import numpy as np

from reid_jax.tracking.scene.spec import ROOM, SyntheticScene, generator

WIDTH, DEPTH, HEIGHT = 8.0, 6.5, 3.0  # metres along x, z and y
DOOR_WIDTH, DOOR_HEIGHT = 1.2, 2.2


@dataclasses.dataclass(frozen=True)
class Door:
    """An opening in a wall, by the middle of its threshold and the way in, both float [2] as (x, z)."""

    middle: np.ndarray
    inward: np.ndarray

    @property
    def along(self) -> np.ndarray:
        """The wall's direction, float [2], unit."""
        return np.array((-self.inward[1], self.inward[0]))

    def corners(self) -> np.ndarray:
        """The opening's four corners in order around it, float [4, 3]."""
        left, right = (self.middle + side * DOOR_WIDTH / 2 * self.along for side in (-1, 1))
        return np.array([(x, y, z) for (x, z), y in ((left, 0), (right, 0), (right, DOOR_HEIGHT), (left, DOOR_HEIGHT))])


DOORS = (
    Door(np.array((2.6, 0.0)), np.array((0.0, 1.0))),
    Door(np.array((5.4, DEPTH)), np.array((0.0, -1.0))),
    Door(np.array((WIDTH, 3.4)), np.array((-1.0, 0.0))),
)


def is_inside(position: np.ndarray) -> np.ndarray:
    """Whether floor positions [..., 2] lie between the walls: bool [...]."""
    return ((position > 0) & (position < (WIDTH, DEPTH))).all(-1)


class Surfaces:
    """The colours of floor, walls and ceiling, drawn from the scene's seed; all its cameras see the same."""

    def __init__(self, spec: SyntheticScene):
        rng = generator(spec, ROOM)
        self._tiles = np.clip(np.array((0.56, 0.53, 0.49)) + rng.normal(0, 0.06, 3) + rng.normal(0, 0.04, (2, 1)), 0, 1)
        self._tile = rng.uniform(0.45, 0.8)
        self._wall = np.clip(np.array((0.66, 0.64, 0.6)) + rng.normal(0, 0.08, (4, 3)), 0.25, 0.9)
        self._panel = rng.uniform(0.7, 0.92)
        self._pictures = [self._draw_pictures(rng, length) for length in (WIDTH, WIDTH, DEPTH, DEPTH)]
        self._window = rng.uniform(0, DEPTH)  # the light comes from a window in the wall x = 0
        self._grain = rng.normal(0, 0.025, (64, 64))

    @staticmethod
    def _draw_pictures(rng: np.random.Generator, length: float) -> list[tuple[float, float, float, float, np.ndarray]]:
        """Posters and boards of one wall: (left, right, bottom, top, colour)."""
        pictures = []
        for _ in range(int(rng.integers(2, 5))):
            left, bottom = rng.uniform(0.3, length - 1.5), rng.uniform(0.9, 1.5)
            size = rng.uniform(0.4, 1.2, 2)
            pictures.append((left, left + size[0], bottom, bottom + size[1], rng.uniform(0.1, 0.9, 3)))
        return pictures

    def brightness(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """How much light falls at floor positions: brighter towards the window; 0.8 to 1.25."""
        return 0.8 + 0.45 * np.exp(-((x / 5) ** 2 + ((z - self._window) / 4.5) ** 2))

    def floor(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Tiles and their joints at floor positions [k]: [k, 3] in 0..1."""
        column, row = x / self._tile, z / self._tile
        colour = self._tiles[(np.floor(column) + np.floor(row)).astype(int) % 2]
        joint = np.minimum(column % 1, row % 1) < 0.04
        return self._lit(np.where(joint[:, None], 0.8 * colour, colour), x, z)

    def ceiling(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """The ceiling over floor positions [k]: [k, 3] in 0..1."""
        return self._lit(np.full((len(x), 3), 0.78), x, z)

    def wall(self, number: int, along: np.ndarray, y: np.ndarray, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """A wall (0: z = 0, 1: z = DEPTH, 2: x = 0, 3: x = WIDTH) at [k] spots `along` it and `y` up: [k, 3]."""
        colour = np.repeat(self._wall[number][None], len(y), 0)
        colour[y < 1.0] *= self._panel
        colour[np.abs(y - 1.0) < 0.03] *= 0.7
        colour[y < 0.12] *= 0.5
        for left, right, bottom, top, paint in self._pictures[number]:
            frame = (along > left - 0.05) & (along < right + 0.05) & (y > bottom - 0.05) & (y < top + 0.05)
            colour[frame] = 0.15
            colour[(along > left) & (along < right) & (y > bottom) & (y < top)] = paint
        for door in DOORS:
            off = np.hypot(x - door.middle[0], z - door.middle[1])
            colour[(off < DOOR_WIDTH / 2 + 0.09) & (y < DOOR_HEIGHT + 0.09)] = (0.34, 0.26, 0.2)
            opening = (off < DOOR_WIDTH / 2) & (y < DOOR_HEIGHT)
            colour[opening] = (0.16 + 0.05 * y[opening, None]) * np.array((1.0, 0.97, 0.92))
        return self._lit(colour, x, z)

    def _lit(self, colour: np.ndarray, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        grain = self._grain[(x * 9).astype(int) % 64, (z * 9).astype(int) % 64]
        return colour * (self.brightness(x, z) + grain)[:, None]
