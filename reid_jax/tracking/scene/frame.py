"""One frame of a synthetic scene: the room, the people in it from far to near, and who of them is seen how far."""

import dataclasses
import math

import numpy as np
from PIL import Image, ImageDraw

from reid_jax.data.synthetic.cameras import Camera, create_camera
from reid_jax.data.synthetic.picture import camera_response
from reid_jax.tracking.scene.backdrop import draw_backdrop
from reid_jax.tracking.scene.body import Body, draw_body, draw_walker
from reid_jax.tracking.scene.room import DOORS, Surfaces
from reid_jax.tracking.scene.spec import FRAME, SyntheticScene, generator
from reid_jax.tracking.scene.view import View
from reid_jax.tracking.scene.walks import Visit, Walker, is_outside, walkers_at

_LEAST_INSIDE = 0.2  # of a silhouette that lies in the image, for the person to count as there
_EYE_TO_FEET = 1.0  # metres: nobody is drawn whose feet are nearer to the camera's plane


@dataclasses.dataclass(frozen=True)
class Truth:
    """Somebody in a frame.

    Attributes:
      person: the id.
      box: around the whole silhouette, hidden parts too: (left, top, width, height) in pixels from 0.
      visibility: the share of the silhouette that is seen in the image.
    """

    person: int
    box: tuple[float, float, float, float]
    visibility: float


@dataclasses.dataclass(frozen=True)
class _Silhouette:
    """Somebody's outline by itself: its box as in `Truth`, its pixels, and how many of them the image holds."""

    box: tuple[float, float, float, float]
    pixels: int
    inside: int


class Stage:
    """A scene before one of its cameras: draws any of its frames."""

    def __init__(self, spec: SyntheticScene, visits: list[Visit], camera: int):
        """`camera` counts from 1."""
        self._spec, self._visits, self._number = spec, visits, camera
        self._camera: Camera = create_camera(spec.looks, camera)
        self._view = View(spec, camera)
        self._surfaces = Surfaces(spec)
        self._room = draw_backdrop(self._view, self._surfaces)
        self._openings = [self._draw_opening(number) for number in range(len(DOORS))]
        self._bodies: dict[int, Body] = {}

    def draw(self, frame: int) -> tuple[Image.Image, list[Truth]]:
        """Draws a frame, counted from 1: the image before its JPEG, and who is in it, by rising id."""
        walkers = [each for each in walkers_at(self._spec, self._visits, frame) if self._depth(each) > _EYE_TO_FEET]
        walkers.sort(key=lambda walker: (-self._depth(walker), walker.person))
        picture = self._room.copy()
        for walker in walkers:
            self._shade_floor(picture, walker)
        front = np.zeros(picture.shape[:2], np.int16)  # which of the walkers is seen, counted from 1; 0 is the room
        silhouettes = [self._paste(picture, front, number, walker) for number, walker in enumerate(walkers, 1)]
        seen = np.bincount(front.ravel(), minlength=len(walkers) + 1)[1:]
        truth = [
            Truth(walker.person, silhouette.box, float(pixels / silhouette.pixels))
            for walker, silhouette, pixels in zip(walkers, silhouettes, seen, strict=True)
            if silhouette.inside >= _LEAST_INSIDE * silhouette.pixels
        ]
        rng = generator(self._spec, FRAME, self._number, frame)
        image = camera_response(picture, rng, self._camera, math.exp(rng.normal(0, 0.02)))
        return image, sorted(truth, key=lambda each: each.person)

    def _paste(self, picture: np.ndarray, front: np.ndarray, number: int, walker: Walker) -> _Silhouette:
        """Draws somebody over what is further away, and writes `number` into `front` where he is; both in place."""
        if walker.person not in self._bodies:
            self._bodies[walker.person] = draw_body(self._spec, walker.person)
        light = float(self._surfaces.brightness(*walker.position))
        cutout = draw_walker(self._bodies[walker.person], walker, self._view, self._camera, light)
        colour, cover, left, top = cutout.colour, cutout.cover, cutout.left, cutout.top
        rows, columns = np.nonzero(cover > 0.5)
        box = (left + columns.min(), top + rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        height, width = front.shape
        x0, y0 = max(0, left), max(0, top)
        x1, y1 = min(width, left + cover.shape[1]), min(height, top + cover.shape[0])
        inside = 0
        if x0 < x1 and y0 < y1:
            window = np.s_[y0:y1, x0:x1]
            own = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
            colour, cover = colour[own], cover[own]
            if is_outside(walker):
                opening = self._openings[_door_of(walker)][window]
                colour, cover = colour * opening[..., None], cover * opening
            picture[window] = picture[window] * (1 - cover[..., None]) + colour
            front[window][cover > 0.5] = number
            inside = int((cover > 0.5).sum())
        return _Silhouette(tuple(map(float, box)), len(rows), inside)

    @property
    def quality(self) -> int:
        """Of the camera's JPEG."""
        return self._camera.quality

    def stand_in(self, position: np.ndarray, height: float) -> tuple[float, float, float, float]:
        """The box (left, top, width, height) in pixels that somebody of this height would have at a floor position."""
        foot, head = self._view.stand(position, height)[0]
        tall = float(foot[1] - head[1])
        return float(foot[0] - 0.19 * tall), float(head[1]), 0.38 * tall, tall

    def _depth(self, walker: Walker) -> float:
        return float(self._view.stand(walker.position, 0.0)[1][0])

    def _draw_opening(self, number: int) -> np.ndarray:
        """Where the room is open through a door: float32 [h, w], 1 inside the door's outline."""
        mask = Image.new("L", (self._spec.width, self._spec.height))
        outline = self._view.outline(DOORS[number].corners())
        if len(outline) > 2:
            ImageDraw.Draw(mask).polygon([tuple(point) for point in np.clip(outline, -10_000, 10_000)], fill=1)
        return np.asarray(mask, np.float32)

    def _shade_floor(self, picture: np.ndarray, walker: Walker) -> None:
        """Darkens the floor around somebody's feet, in place."""
        if is_outside(walker) or self._depth(walker) < _EYE_TO_FEET:
            return
        x, z = walker.position
        radius = 0.42
        ring = [(x + radius * math.cos(a), 0.0, z + radius * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 17)]
        points, _ = self._view.project(np.array([(x, 0.0, z), *ring]))
        centre = points[0]
        across, down = np.abs(points[1:] - centre).max(0)
        height, width = picture.shape[:2]
        x0, x1 = max(0, int(centre[0] - 2 * across)), min(width, int(centre[0] + 2 * across) + 1)
        y0, y1 = max(0, int(centre[1] - 2 * down)), min(height, int(centre[1] + 2 * down) + 1)
        if x0 >= x1 or y0 >= y1:
            return
        columns, rows = np.arange(x0, x1), np.arange(y0, y1)[:, None]
        away = ((columns - centre[0]) / across) ** 2 + ((rows - centre[1]) / down) ** 2
        picture[y0:y1, x0:x1] *= (1 - 0.5 * np.exp(-1.8 * away))[..., None].astype(np.float32)


def _door_of(walker: Walker) -> int:
    """The number of the door behind which somebody stands: the nearest."""
    return int(np.argmin([np.hypot(*(walker.position - door.middle)) for door in DOORS]))
