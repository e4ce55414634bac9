"""The synthetic figure: a person's looks and pose as tapered capsules and barrels on a canvas."""

import dataclasses
import math

import numpy as np

from reid_jax.data.synthetic.cameras import Camera
from reid_jax.data.synthetic.canvas import Canvas, Paint
from reid_jax.data.synthetic.people import Person

Point = tuple[float, float, float]


def _wrap(angle: np.ndarray) -> np.ndarray:
    return (angle + math.pi) % (2 * math.pi) - math.pi


def _top_paint(person: Person, with_straps: bool) -> Paint:
    table = np.stack(
        [
            person.top,
            person.top_second,
            person.jacket if person.jacket is not None else person.top,
            person.bag_colour,
        ]
    )
    period = person.period * 2.4  # along runs over the torso's height, about 0.4 body heights

    def paint(along: np.ndarray, angle: np.ndarray) -> np.ndarray:
        angle = _wrap(angle)
        front = np.abs(angle)
        if person.pattern == "stripes":
            second = (along / period) % 1 < 0.5
        elif person.pattern == "pinstripes":
            second = (angle / (period * 2.2)) % 1 < 0.35
        elif person.pattern == "checks":
            second = ((along / period) % 1 < 0.5) ^ ((angle / (period * 2.6)) % 1 < 0.5)
        elif person.pattern == "two_tone":
            second = along > 0.5
        elif person.pattern == "yoke":
            second = along < 0.3
        elif person.pattern == "logo":
            second = (front < 0.5) & (np.abs(along - 0.36) < 0.1 + person.period * 0.5)
        else:
            second = np.zeros(along.shape, bool)
        index = second.astype(np.intp)
        if person.jacket is not None:
            index[front > person.jacket_opening] = 2
        if with_straps and person.bag == "backpack":
            index[(np.abs(front - 0.75) < 0.14) & (along < 0.55)] = 3
        if person.bag == "satchel":
            # The strap runs over one shoulder to the other hip, before and behind.
            index[np.abs(np.sin(angle) * 0.8 - (1.6 * along - 0.75) * np.sign(np.cos(angle))) < 0.12] = 3
        return table[index]

    return paint


@dataclasses.dataclass(frozen=True)
class Pose:
    """One figure's stance before the camera."""

    azimuth: float
    pitch: float
    stride: float  # radians of leg swing now, left leg forward when positive
    knee: tuple[float, float]  # bend of the left and right knee, radians
    arms: tuple[float, float]  # swing of the left and right upper arm
    elbows: tuple[float, float]
    head: float  # turn of the head against the body
    lean: float
    scale: float  # pixels a body height
    foot: tuple[float, float]  # pixel between the feet
    nearer: float  # depth offset in pixels


def draw_figure(canvas: Canvas, person: Person, pose: Pose) -> None:
    """Draws a person in a pose onto a canvas; what is nearer to the camera hides what is behind it."""
    figure = _Figure(canvas, person, pose)
    _draw_legs(figure)
    _draw_hips(figure)
    _draw_torso(figure)
    _draw_arms(figure)
    _draw_head(figure)
    _draw_bag(figure)


class _Figure:
    """A person in a pose, before it is on the canvas: points in body heights -> pixels and depth.

    A point (x, y, z) is relative to the spot between the feet: x to the person's left, y up, z the way
    the person faces. The pose turns it by the azimuth about y, then by the camera's pitch.

    Attributes:
      scale: pixels a body height. `girth`: the person's, 1 is average.
    """

    def __init__(self, canvas: Canvas, person: Person, pose: Pose):
        self.person, self.pose = person, pose
        self.scale, self.girth = pose.scale, person.girth
        self._canvas = canvas
        self._cos_azimuth, self._sin_azimuth = math.cos(pose.azimuth), math.sin(pose.azimuth)
        self._cos_pitch, self._sin_pitch = math.cos(pose.pitch), math.sin(pose.pitch)

    def at(self, x: float, y: float, z: float) -> Point:
        """A point of the body on the canvas."""
        x += self.pose.lean * y
        across = x * self._cos_azimuth + z * self._sin_azimuth
        towards = -x * self._sin_azimuth + z * self._cos_azimuth
        foot_x, foot_y = self.pose.foot
        return (
            foot_x + self.scale * across,
            foot_y - self.scale * (y * self._cos_pitch - towards * self._sin_pitch),
            self.scale * (towards * self._cos_pitch + y * self._sin_pitch) + self.pose.nearer,
        )

    def at_head(self, x: float, y: float, z: float) -> Point:
        """A point of the head, which turns about the neck, on the canvas."""
        cos, sin = math.cos(self.pose.head), math.sin(self.pose.head)
        return self.at(x * cos + z * sin, y, -x * sin + z * cos)

    def limb(self, start: Point, end: Point, start_radius: float, end_radius: float, paint: Paint | np.ndarray) -> None:
        """Draws a tapered limb between two points of the body; radii in pixels."""
        self._canvas.capsule(self.at(*start), self.at(*end), start_radius, end_radius, paint, self.pose.azimuth)

    def head_limb(
        self, start: Point, end: Point, start_radius: float, end_radius: float, paint: Paint | np.ndarray
    ) -> None:
        """As `limb`, between points of the head."""
        look = self.pose.azimuth + self.pose.head
        self._canvas.capsule(self.at_head(*start), self.at_head(*end), start_radius, end_radius, paint, look)

    def neck(self, chin: float) -> None:
        """Draws the neck up to the chin's height; it turns with the head."""
        look = self.pose.azimuth + self.pose.head
        s = self.scale
        self._canvas.capsule(self.at(0, 0.82, 0), self.at(0, chin, 0.005), s * 0.036, s * 0.034, self.person.skin, look)

    def trunk(self, sections: list[tuple[float, float, float]], paint: Paint | np.ndarray) -> None:
        """Draws an upright elliptic body by its sections (height, half breadth, half thickness), from the top down."""
        s, cos, sin = self.scale, self._cos_azimuth, self._sin_azimuth
        points = [self.at(0, height, 0) for height, _, _ in sections]
        wide = [s * math.hypot(b * cos, t * sin) for _, b, t in sections]
        deep = [s * math.hypot(b * sin, t * cos) for _, b, t in sections]
        x, y, depth = (list(values) for values in zip(*points, strict=True))
        self._canvas.barrel(y, x, wide, deep, depth, paint, self.pose.azimuth)

    @property
    def hip(self) -> float:
        """The height of the hips."""
        return 0.5 * self.person.legs


def _draw_legs(figure: _Figure) -> None:
    """Draws thighs, shins and shoes."""
    person, pose, s, g = figure.person, figure.pose, figure.scale, figure.girth
    thigh, shin = figure.hip * 0.43, figure.hip * 0.42
    bare_shin = person.bottom_kind != "trousers"
    loose = 1.15 if person.bottom_kind == "shorts" else 1.0
    width = 0.8 if bare_shin else 1.0
    for side, knee_bend in ((1, pose.knee[0]), (-1, pose.knee[1])):
        swing = side * pose.stride
        hip = (side * 0.048 * g, figure.hip - 0.035, 0.0)
        knee = (side * 0.05 * g, hip[1] - thigh * math.cos(swing), thigh * math.sin(swing))
        low = swing - knee_bend
        ankle = (side * 0.045 * g, knee[1] - shin * math.cos(low), knee[2] + shin * math.sin(low))
        trouser = _trouser_paint(person, side)
        upper = person.skin if person.bottom_kind == "skirt" else trouser
        lower = person.skin if bare_shin else trouser
        figure.limb(hip, knee, s * 0.06 * g * loose, s * 0.047 * g * loose, upper)
        figure.limb(knee, ankle, s * 0.044 * g * width, s * 0.03 * g * width, lower)
        toe = (ankle[0] + side * 0.012, ankle[1] - 0.018, ankle[2] + 0.075)
        heel = (ankle[0], ankle[1] - 0.012, ankle[2] - 0.012)
        figure.limb(heel, toe, s * 0.029, s * 0.023, person.shoes)


def _trouser_paint(person: Person, side: int) -> Paint | np.ndarray:
    """The trousers' colour, with a stripe down the outer side where there is one; side 1 is left, -1 right."""
    if not person.side_stripe or person.bottom_kind != "trousers":
        return person.bottom
    stripe = np.stack([person.bottom, np.clip(1.1 - person.bottom, 0.1, 0.95)])
    outward = side * math.pi / 2

    def paint(along: np.ndarray, angle: np.ndarray) -> np.ndarray:
        return stripe[(np.abs(_wrap(angle - outward)) < 0.45).astype(np.intp)]

    return paint


def _draw_hips(figure: _Figure) -> None:
    """Draws the skirt, or the top of trousers or shorts."""
    g = figure.girth
    if figure.person.bottom_kind == "skirt":
        sections = [(0.58, 0.1 * g, 0.07 * g), (0.5, 0.118 * g, 0.09 * g), (0.32, 0.14 * g, 0.115 * g)]
    else:
        sections = [(0.56, 0.1 * g, 0.07 * g), (0.5, 0.114 * g, 0.085 * g), (figure.hip - 0.05, 0.108 * g, 0.085 * g)]
    figure.trunk(sections, figure.person.bottom)


def _draw_torso(figure: _Figure) -> None:
    """Draws shoulders, chest and waist in the top and, where it is worn, the jacket."""
    person, g = figure.person, figure.girth
    hem = 0.44 if person.jacket is not None else 0.475
    extra = 1.06 if person.jacket is not None else 1.0
    torso = [
        (0.85, 0.04, 0.035),
        (0.832, 0.085 * g, 0.05 * g),
        (0.805, 0.116 * g, 0.062 * g),
        (0.72, 0.125 * g, 0.08 * g),
        (0.6, 0.108 * g, 0.074 * g),
        (hem, 0.118 * g, 0.086 * g),
    ]
    figure.trunk([(h, b * extra, t * extra) for h, b, t in torso], _top_paint(person, with_straps=True))


def _draw_arms(figure: _Figure) -> None:
    """Draws upper arms, forearms and hands, and a handbag in the left one."""
    person, pose, s, g = figure.person, figure.pose, figure.scale, figure.girth
    sleeve = person.jacket if person.jacket is not None else person.top_second if person.sleeves_second else person.top
    covered = person.long_sleeves or person.jacket is not None
    shoulder_height, spread = 0.815, 0.13
    for side, swing, bend in ((1, pose.arms[0], pose.elbows[0]), (-1, pose.arms[1], pose.elbows[1])):
        shoulder = (side * 0.112 * g, shoulder_height - 0.03, 0.0)
        elbow = (
            shoulder[0] + side * 0.165 * math.sin(spread),
            shoulder[1] - 0.165 * math.cos(swing),
            0.165 * math.sin(swing),
        )
        low = swing + bend
        hand = (elbow[0] + side * 0.01, elbow[1] - 0.15 * math.cos(low), elbow[2] + 0.15 * math.sin(low))
        forearm = sleeve if covered else person.skin
        figure.limb(shoulder, elbow, s * 0.041 * math.sqrt(g), s * 0.034 * math.sqrt(g), sleeve)
        figure.limb(elbow, hand, s * 0.031 * math.sqrt(g), s * 0.023, forearm)
        palm = (hand[0], hand[1] - 0.022, hand[2] + 0.006)
        figure.limb(hand, palm, s * 0.023, s * 0.02, person.skin)
        if person.bag == "handbag" and side == 1:
            figure.limb(palm, (palm[0], palm[1] - 0.1, palm[2]), s * 0.012, s * 0.06, person.bag_colour)


def _draw_head(figure: _Figure) -> None:
    """Draws neck, face, hair and hat."""
    person, s = figure.person, figure.scale
    size = person.head
    chin, crown = 0.875, 0.935
    cap = person.hat if person.hat is not None else person.hair
    figure.neck(chin)
    figure.head_limb((0, chin, 0.012), (0, crown, 0.004), s * 0.05 * size, s * 0.06 * size, _face_paint(person))
    figure.head_limb((0, crown + 0.008, -0.012), (0, crown - 0.02, -0.02), s * 0.062 * size, s * 0.058 * size, cap)
    if person.hat is not None:
        figure.head_limb((0, crown + 0.008, 0.03), (0, crown, 0.085), s * 0.035, s * 0.025, person.hat)
    if person.hair_style == "long":
        figure.head_limb((0, crown, -0.03), (0, 0.79, -0.05), s * 0.06 * size, s * 0.045, person.hair)
    elif person.hair_style == "bun":
        figure.head_limb((0, 0.95, -0.075), (0, 0.955, -0.08), s * 0.03, s * 0.03, person.hair)


def _face_paint(person: Person) -> Paint:
    """Skin in front, hair at the back and on top, and the hat's edge over it."""
    colours = np.stack([person.skin, person.hair, person.hat if person.hat is not None else person.hair])
    hairline = 0.95 if person.hair_style == "long" else 1.25  # radians from the nose

    def paint(along: np.ndarray, angle: np.ndarray) -> np.ndarray:
        away = np.abs(_wrap(angle))
        hair = (away > hairline) | ((along > 0.86) & (away > 0.2)) | (along > 0.97)
        index = hair.astype(np.intp)
        if person.hat is not None:
            index[along > 0.6] = 2
        return colours[index]

    return paint


def _draw_bag(figure: _Figure) -> None:
    """Draws a backpack or a satchel; a handbag hangs from its hand, see `_draw_arms`."""
    person, s, g = figure.person, figure.scale, figure.girth
    if person.bag == "backpack":
        figure.limb((0, 0.77, -0.1 * g), (0, 0.64, -0.115 * g), s * 0.075, s * 0.088, person.bag_colour)
    elif person.bag == "satchel":
        figure.limb((-0.13 * g, 0.52, -0.02), (-0.13 * g, 0.46, 0.02), s * 0.055, s * 0.06, person.bag_colour)


def step(pace: float, phase: float) -> tuple[float, tuple[float, float]]:
    """The legs of somebody who walks: the stride and the bends of the left and right knee, all in radians.

    `pace` is the widest stride, `phase` where in a cycle of two steps the legs are: stride = pace sin(phase). The rear
    knee is bent the more.
    """
    stride = pace * math.sin(phase)
    rear = abs(stride) * 0.9 + 0.1 * pace
    return stride, (rear if stride < 0 else 0.08, rear if stride > 0 else 0.08)


def draw_pose(rng: np.random.Generator, camera: Camera, azimuth: float, height: int, width: int) -> Pose:
    """Draws a walking stance before a camera, on a canvas of `height` x `width` pixels; `azimuth` in radians."""
    phase = rng.uniform(0, 2 * math.pi)
    pace = rng.uniform(0.15, 0.55) if rng.random() < 0.8 else rng.uniform(0, 0.06)
    stride, knee = step(pace, phase)
    carry = rng.random(2) < 0.12  # a hand held up, with a telephone or a cup
    arms = [0.3 if carry[0] else -0.75 * stride, 0.3 if carry[1] else 0.75 * stride]
    elbows = [rng.uniform(1.4, 2.2) if held else rng.uniform(0.05, 0.5) for held in carry]
    return Pose(
        azimuth=azimuth,
        pitch=camera.pitch + rng.normal(0, 0.03),
        stride=stride,
        knee=knee,
        arms=(arms[0], arms[1]),
        elbows=(float(elbows[0]), float(elbows[1])),
        head=float(rng.normal(0, 0.35)),
        lean=float(rng.normal(0, 0.02)),
        scale=height * float(rng.uniform(0.84, 1.06)),
        foot=(width * float(rng.uniform(0.41, 0.59)), height * float(rng.uniform(0.92, 1.0))),
        nearer=0.0,
    )
