"""One frame of a synthetic scene: the room, the people in it from far to near, and who of them is seen how far."""

import dataclasses
import math

import numpy as np
from PIL import Image, ImageDraw

from reid_jax.data.synthetic.cameras import Camera, create_camera
from reid_jax.data.synthetic.canvas import Canvas
from reid_jax.data.synthetic.figure import Pose, draw_figure, step
from reid_jax.data.synthetic.people import Person, draw_person
from reid_jax.data.synthetic.picture import camera_response, cloth_folds
from reid_jax.data.synthetic.spec import PERSON
from reid_jax.data.synthetic.spec import generator as looks_generator
from reid_jax.tracking.scene.room import DEPTH, DOORS, HEIGHT, WIDTH, Surfaces
from reid_jax.tracking.scene.spec import BODY, FRAME, SyntheticScene, generator
from reid_jax.tracking.scene.view import View
from reid_jax.tracking.scene.walks import Visit, Walker, is_outside, walkers_at

_SUPERSAMPLE = 2  # see `_shrink`
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


@dataclasses.dataclass(frozen=True)
class _Body:
    """What a scene adds to somebody's looks."""

    height: float  # metres
    arms: float  # how far they swing, in strides
    elbow: float
    held: int | None  # the arm that is held up, with a telephone or a cup
    fold: tuple[int, int]  # where in the folds of cloth this person's begin
    sway: float


class Stage:
    """A scene before one of its cameras: draws any of its frames."""

    def __init__(self, spec: SyntheticScene, visits: list[Visit], camera: int):
        """`camera` counts from 1."""
        self._spec, self._visits, self._number = spec, visits, camera
        self._camera: Camera = create_camera(spec.looks, camera)
        self._view = View(spec, camera)
        self._surfaces = Surfaces(spec)
        self._room = _draw_room(self._view, self._surfaces)
        self._openings = [self._draw_opening(number) for number in range(len(DOORS))]
        self._people: dict[int, tuple[Person, _Body]] = {}

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
        colour, cover, left, top = self._draw_walker(walker)
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
        foot, head = self._foot_and_head(position, height)[0]
        tall = float(foot[1] - head[1])
        return float(foot[0] - 0.19 * tall), float(head[1]), 0.38 * tall, tall

    def _foot_and_head(self, position: np.ndarray, height: float) -> tuple[np.ndarray, np.ndarray]:
        x, z = position
        return self._view.project(np.array(((x, 0.0, z), (x, height, z))))

    def _depth(self, walker: Walker) -> float:
        return float(self._foot_and_head(walker.position, 0.0)[1][0])

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

    def _person(self, identity: int) -> tuple[Person, _Body]:
        """Somebody's looks, as in `SyntheticPeople`, and what the scene adds to them."""
        if identity not in self._people:
            person = draw_person(looks_generator(self._spec.looks, PERSON, identity))
            rng = generator(self._spec, BODY, identity)
            held = int(rng.integers(2)) if rng.random() < 0.15 else None
            fold = tuple(int(n) for n in rng.integers(0, (512, 320)))
            body = _Body(rng.uniform(1.6, 1.85), rng.uniform(0.5, 0.9), rng.uniform(0.1, 0.5), held, fold, rng.random())
            self._people[identity] = person, body
        return self._people[identity]

    def _draw_walker(self, walker: Walker) -> tuple[np.ndarray, np.ndarray, int, int]:
        """Somebody alone: colour float32 [h, w, 3] times cover, cover [h, w], and where in the image both begin."""
        person, body = self._person(self._spec.first_identity + walker.person - 1)
        (foot, head), _ = self._foot_and_head(walker.position, body.height)
        toward = self._view.eye[[0, 2]] - walker.position
        distance = float(np.hypot(*toward))
        pitch = math.atan2(self._view.eye[1] - body.height / 2, distance)
        scale = float(np.hypot(*(foot - head))) / math.cos(pitch)  # pixels a body height
        toward = toward / distance
        facing = np.array((math.sin(walker.heading), math.cos(walker.heading)))
        # Right of the image at this spot is to the right of the line of sight, which goes from the camera.
        right = np.array((-toward[1], toward[0]))
        azimuth = math.atan2(facing @ right, facing @ toward)

        # As far as arms, legs and hats of a figure reach, in body heights.
        left, top = math.floor(foot[0] - 0.42 * scale), math.floor(foot[1] - 1.08 * scale)
        width, height = math.ceil(0.84 * scale) + 1, math.ceil(1.3 * scale) + 1
        canvas = Canvas(height * _SUPERSAMPLE, width * _SUPERSAMPLE, self._camera.light, self._camera.ambient)
        stride, knee = step(walker.pace, walker.phase)
        arms = [-body.arms * stride, body.arms * stride]
        elbows = [body.elbow + 0.3 * walker.pace] * 2
        if body.held is not None:
            arms[body.held], elbows[body.held] = 0.3, 1.8
        look = 0.3 * math.sin(0.35 * walker.phase + 6 * body.sway)
        pose = Pose(
            azimuth=azimuth,
            pitch=pitch,
            stride=stride,
            knee=knee,
            arms=(arms[0], arms[1]),
            elbows=(elbows[0], elbows[1]),
            head=look,
            lean=0.02 * math.sin(walker.phase) * walker.pace,
            scale=scale * _SUPERSAMPLE,
            foot=((foot[0] - left) * _SUPERSAMPLE, (foot[1] - top) * _SUPERSAMPLE),
            nearer=0.0,
        )
        draw_figure(canvas, person, pose)
        rows = (body.fold[0] + np.arange(height * _SUPERSAMPLE)) % 512
        columns = (body.fold[1] + np.arange(width * _SUPERSAMPLE)) % 320
        x, z = walker.position
        light = self._surfaces.brightness(x, z)
        canvas.colour *= cloth_folds()[rows[:, None], columns[None], None] * np.float32(light)
        cover = np.isfinite(canvas.depth).astype(np.float32)
        return _shrink(canvas.colour), _shrink(cover), left, top


def _shrink(pixels: np.ndarray) -> np.ndarray:
    """Means over squares of two by two: [2 h, 2 w, ...] -> [h, w, ...]."""
    rows = pixels[::2] + pixels[1::2]
    return (rows[:, ::2] + rows[:, 1::2]) * np.float32(0.25)


def _door_of(walker: Walker) -> int:
    """The number of the door behind which somebody stands: the nearest."""
    return int(np.argmin([np.hypot(*(walker.position - door.middle)) for door in DOORS]))


def _draw_room(view: View, surfaces: Surfaces) -> np.ndarray:
    """The empty room: float32 [h, w, 3] in 0..1. Each ray ends at the nearest of six planes."""
    rays = view.rays(_SUPERSAMPLE)
    flat = rays.reshape(-1, 3)
    eye = view.eye
    planes = [(1, 0.0), (1, HEIGHT), (2, 0.0), (2, DEPTH), (0, 0.0), (0, WIDTH)]  # floor, ceiling, walls 0 to 3
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.stack([(place - eye[axis]) / flat[:, axis] for axis, place in planes])
    reach[~(reach > 1e-9)] = np.inf
    nearest = np.argmin(reach, 0)
    x, y, z = (eye + flat * reach.min(0)[:, None]).T
    colour = np.zeros((len(flat), 3))
    for plane in range(6):
        at = nearest == plane
        if plane == 0:
            colour[at] = surfaces.floor(x[at], z[at])
        elif plane == 1:
            colour[at] = surfaces.ceiling(x[at], z[at])
        else:
            along = x[at] if plane < 4 else z[at]
            colour[at] = surfaces.wall(plane - 2, along, y[at], x[at], z[at])
    return _shrink(colour.reshape(rays.shape)).astype(np.float32)
