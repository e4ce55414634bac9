"""One person of a synthetic scene, drawn as a camera sees him where he walks."""

import dataclasses
import math

import numpy as np

from reid_jax.data.synthetic.cameras import Camera
from reid_jax.data.synthetic.canvas import Canvas
from reid_jax.data.synthetic.figure import Pose, draw_figure, step
from reid_jax.data.synthetic.people import Person, draw_person
from reid_jax.data.synthetic.picture import cloth_folds
from reid_jax.data.synthetic.spec import PERSON
from reid_jax.data.synthetic.spec import generator as looks_generator
from reid_jax.tracking.scene.backdrop import SUPERSAMPLE, shrink
from reid_jax.tracking.scene.spec import BODY, SyntheticScene, generator
from reid_jax.tracking.scene.view import View
from reid_jax.tracking.scene.walks import Walker


@dataclasses.dataclass(frozen=True)
class Body:
    """Somebody's looks, as `SyntheticPeople` has them, and what a scene adds to them."""

    person: Person
    height: float  # metres
    arms: float  # how far they swing, in strides
    elbow: float  # its bend, in radians
    held: int | None  # the arm that is held up, with a telephone or a cup
    fold: tuple[int, int]  # where in the folds of cloth this person's begin
    look: float  # when the head turns, as a share of a cycle


def draw_body(spec: SyntheticScene, person: int) -> Body:
    """Draws the looks of the person with this id."""
    identity = spec.first_identity + person - 1
    rng = generator(spec, BODY, identity)
    return Body(
        draw_person(looks_generator(spec.looks, PERSON, identity)),
        held=int(rng.integers(2)) if rng.random() < 0.15 else None,
        fold=tuple(int(number) for number in rng.integers(0, cloth_folds().shape)),
        height=rng.uniform(1.6, 1.85),
        arms=rng.uniform(0.5, 0.9),
        elbow=rng.uniform(0.1, 0.5),
        look=rng.random(),
    )


@dataclasses.dataclass(frozen=True)
class Cutout:
    """Somebody by himself.

    colour: float32 [h, w, 3] in 0..1, times the cover.
    cover: float32 [h, w] in 0..1, how much of each pixel he hides.
    left, top: the pixel of the image, perhaps outside of it, where both begin.
    """

    colour: np.ndarray
    cover: np.ndarray
    left: int
    top: int


def draw_walker(body: Body, walker: Walker, view: View, camera: Camera, brightness: float) -> Cutout:
    """Draws somebody where he walks, under light of this brightness."""
    pose = _pose(body, walker, view)
    # As far as arms, legs and hats of a figure reach, in body heights.
    left, top = math.floor(pose.foot[0] - 0.42 * pose.scale), math.floor(pose.foot[1] - 1.08 * pose.scale)
    width, height = math.ceil(0.84 * pose.scale) + 1, math.ceil(1.3 * pose.scale) + 1
    canvas = Canvas(height * SUPERSAMPLE, width * SUPERSAMPLE, camera.light, camera.ambient)
    foot = ((pose.foot[0] - left) * SUPERSAMPLE, (pose.foot[1] - top) * SUPERSAMPLE)
    draw_figure(canvas, body.person, dataclasses.replace(pose, scale=pose.scale * SUPERSAMPLE, foot=foot))
    folds = cloth_folds()
    rows = (body.fold[0] + np.arange(height * SUPERSAMPLE)) % folds.shape[0]
    columns = (body.fold[1] + np.arange(width * SUPERSAMPLE)) % folds.shape[1]
    canvas.colour *= folds[rows[:, None], columns[None], None] * np.float32(brightness)
    cover = np.isfinite(canvas.depth).astype(np.float32)
    return Cutout(shrink(canvas.colour), shrink(cover), left, top)


def _pose(body: Body, walker: Walker, view: View) -> Pose:
    """The stance before the camera, in pixels of the image."""
    foot, head = view.stand(walker.position, body.height)[0]
    toward = view.eye[[0, 2]] - walker.position
    distance = float(np.hypot(*toward))
    toward /= distance
    pitch = math.atan2(view.eye[1] - body.height / 2, distance)
    facing = np.array((math.sin(walker.heading), math.cos(walker.heading)))
    # Right of the image at this spot is to the right of the line of sight, which goes from the camera.
    right = np.array((-toward[1], toward[0]))
    stride, knee = step(walker.pace, walker.phase)
    arms = [-body.arms * stride, body.arms * stride]
    elbows = [body.elbow + 0.3 * walker.pace] * 2
    if body.held is not None:
        arms[body.held], elbows[body.held] = 0.3, 1.8
    return Pose(
        azimuth=math.atan2(facing @ right, facing @ toward),
        pitch=pitch,
        stride=stride,
        knee=knee,
        arms=(arms[0], arms[1]),
        elbows=(elbows[0], elbows[1]),
        head=0.3 * math.sin(0.35 * walker.phase + 2 * math.pi * body.look),
        lean=0.02 * math.sin(walker.phase) * walker.pace,
        scale=float(np.hypot(*(foot - head))) / math.cos(pitch),
        foot=(float(foot[0]), float(foot[1])),
        nearer=0.0,
    )
