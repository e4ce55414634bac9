"""The synthetic figure: a person's looks and pose as tapered capsules and barrels on a canvas."""

import dataclasses
import math

import numpy as np

from reid_jax.data.synthetic.cameras import Camera
from reid_jax.data.synthetic.canvas import Canvas, Paint
from reid_jax.data.synthetic.people import Person


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
    """Draws a person in a pose onto a canvas."""
    cos_a, sin_a = math.cos(pose.azimuth), math.sin(pose.azimuth)
    cos_p, sin_p = math.cos(pose.pitch), math.sin(pose.pitch)
    s, g = pose.scale, person.girth
    foot_x, foot_y = pose.foot

    def at(x: float, y: float, z: float) -> tuple[float, float, float]:
        x += pose.lean * y
        across, towards = x * cos_a + z * sin_a, -x * sin_a + z * cos_a
        return (
            foot_x + s * across,
            foot_y - s * (y * cos_p - towards * sin_p),
            s * (towards * cos_p + y * sin_p) + pose.nearer,
        )

    turn = pose.azimuth
    hip, shoulder = 0.5 * person.legs, 0.815
    thigh, shin = hip * 0.43, hip * 0.42
    bare_shin = person.bottom_kind != "trousers"
    stripe = np.stack([person.bottom, np.clip(1.1 - person.bottom, 0.1, 0.95)])

    # Legs and shoes.
    for side, knee_bend in ((1, pose.knee[0]), (-1, pose.knee[1])):
        swing = side * pose.stride
        hip_at = (side * 0.048 * g, hip - 0.035, 0.0)
        knee_at = (side * 0.05 * g, hip_at[1] - thigh * math.cos(swing), thigh * math.sin(swing))
        low = swing - knee_bend
        ankle_at = (side * 0.045 * g, knee_at[1] - shin * math.cos(low), knee_at[2] + shin * math.sin(low))
        trouser: Paint | np.ndarray = person.bottom
        if person.side_stripe and not bare_shin:
            outward = side * math.pi / 2

            def trouser(along, angle, outward=outward):
                return stripe[(np.abs(_wrap(angle - outward)) < 0.45).astype(np.intp)]

        upper = person.skin if person.bottom_kind == "skirt" else trouser
        loose = 1.15 if person.bottom_kind == "shorts" else 1.0
        canvas.capsule(at(*hip_at), at(*knee_at), s * 0.06 * g * loose, s * 0.047 * g * loose, upper, turn)
        lower = person.skin if bare_shin else trouser
        width = 0.8 if bare_shin else 1.0
        canvas.capsule(at(*knee_at), at(*ankle_at), s * 0.044 * g * width, s * 0.03 * g * width, lower, turn)
        toe = (ankle_at[0] + side * 0.012, ankle_at[1] - 0.018, ankle_at[2] + 0.075)
        heel = (ankle_at[0], ankle_at[1] - 0.012, ankle_at[2] - 0.012)
        canvas.capsule(at(*heel), at(*toe), s * 0.029, s * 0.023, person.shoes, turn)

    def body(sections: list[tuple[float, float, float]], paint) -> None:
        """Sections (height, half breadth, half thickness), from the top down."""
        points = [at(0, height, 0) for height, _, _ in sections]
        wide = [s * math.hypot(b * cos_a, t * sin_a) for _, b, t in sections]
        deep = [s * math.hypot(b * sin_a, t * cos_a) for _, b, t in sections]
        canvas.barrel([p[1] for p in points], [p[0] for p in points], wide, deep, [p[2] for p in points], paint, turn)

    if person.bottom_kind == "skirt":
        body(
            [(0.58, 0.1 * g, 0.07 * g), (0.5, 0.118 * g, 0.09 * g), (0.32, 0.14 * g, 0.115 * g)],
            person.bottom,
        )
    else:
        body(
            [(0.56, 0.1 * g, 0.07 * g), (0.5, 0.114 * g, 0.085 * g), (hip - 0.05, 0.108 * g, 0.085 * g)],
            person.bottom,
        )

    # Torso.
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
    body([(h, b * extra, t * extra) for h, b, t in torso], _top_paint(person, with_straps=True))

    # Arms.
    sleeve = person.jacket if person.jacket is not None else person.top_second if person.sleeves_second else person.top
    covered = person.long_sleeves or person.jacket is not None
    for side, swing, bend in ((1, pose.arms[0], pose.elbows[0]), (-1, pose.arms[1], pose.elbows[1])):
        spread = 0.13
        shoulder_at = (side * 0.112 * g, shoulder - 0.03, 0.0)
        elbow_at = (
            shoulder_at[0] + side * 0.165 * math.sin(spread),
            shoulder_at[1] - 0.165 * math.cos(swing),
            0.165 * math.sin(swing),
        )
        low = swing + bend
        hand_at = (
            elbow_at[0] + side * 0.01,
            elbow_at[1] - 0.15 * math.cos(low),
            elbow_at[2] + 0.15 * math.sin(low),
        )
        canvas.capsule(
            at(*shoulder_at), at(*elbow_at), s * 0.041 * math.sqrt(g), s * 0.034 * math.sqrt(g), sleeve, turn
        )
        canvas.capsule(
            at(*elbow_at),
            at(*hand_at),
            s * 0.031 * math.sqrt(g),
            s * 0.023,
            sleeve if covered else person.skin,
            turn,
        )
        palm = (hand_at[0], hand_at[1] - 0.022, hand_at[2] + 0.006)
        canvas.capsule(at(*hand_at), at(*palm), s * 0.023, s * 0.02, person.skin, turn)
        if person.bag == "handbag" and side == 1:
            low_end = (palm[0], palm[1] - 0.1, palm[2])
            canvas.capsule(at(*palm), at(*low_end), s * 0.012, s * 0.06, person.bag_colour, turn)

    # Head.
    size = person.head
    look = turn + pose.head
    chin, crown = 0.875, 0.935
    canvas.capsule(at(0, 0.82, 0), at(0, chin, 0.005), s * 0.036, s * 0.034, person.skin, look)
    faces = np.stack([person.skin, person.hair, person.hat if person.hat is not None else person.hair])
    long_hair = person.hair_style == "long"

    def face(along: np.ndarray, angle: np.ndarray) -> np.ndarray:
        away = np.abs(_wrap(angle))
        hair = (away > (0.95 if long_hair else 1.25)) | ((along > 0.86) & (away > 0.2)) | (along > 0.97)
        index = hair.astype(np.intp)
        if person.hat is not None:
            index[along > 0.6] = 2
        return faces[index]

    def head(x: float, y: float, z: float) -> tuple[float, float, float]:
        """A point of the head, which turns about the neck."""
        c, n = math.cos(pose.head), math.sin(pose.head)
        return at(x * c + z * n, y, -x * n + z * c)

    canvas.capsule(head(0, chin, 0.012), head(0, crown, 0.004), s * 0.05 * size, s * 0.06 * size, face, look)
    canvas.capsule(
        head(0, crown + 0.008, -0.012),
        head(0, crown - 0.02, -0.02),
        s * 0.062 * size,
        s * 0.058 * size,
        faces[2],
        look,
    )
    if person.hat is not None:
        canvas.capsule(head(0, crown + 0.008, 0.03), head(0, crown, 0.085), s * 0.035, s * 0.025, person.hat, look)
    if long_hair:
        canvas.capsule(head(0, crown, -0.03), head(0, 0.79, -0.05), s * 0.06 * size, s * 0.045, person.hair, look)
    elif person.hair_style == "bun":
        canvas.capsule(head(0, 0.95, -0.075), head(0, 0.955, -0.08), s * 0.03, s * 0.03, person.hair, look)

    # Bags.
    if person.bag == "backpack":
        canvas.capsule(at(0, 0.77, -0.1 * g), at(0, 0.64, -0.115 * g), s * 0.075, s * 0.088, person.bag_colour, turn)
    elif person.bag == "satchel":
        canvas.capsule(
            at(-0.13 * g, 0.52, -0.02),
            at(-0.13 * g, 0.46, 0.02),
            s * 0.055,
            s * 0.06,
            person.bag_colour,
            turn,
        )


def draw_pose(rng: np.random.Generator, camera: Camera, azimuth: float, height: int, width: int) -> Pose:
    """Draws a walking stance before a camera, on a canvas of `height` x `width` pixels; `azimuth` in radians."""
    phase = rng.uniform(0, 2 * math.pi)
    pace = rng.uniform(0.15, 0.55) if rng.random() < 0.8 else rng.uniform(0, 0.06)
    stride = pace * math.sin(phase)
    rear = abs(stride) * 0.9 + 0.1 * pace
    carry = rng.random(2) < 0.12  # a hand held up, with a telephone or a cup
    arms = [0.3 if carry[0] else -0.75 * stride, 0.3 if carry[1] else 0.75 * stride]
    elbows = [rng.uniform(1.4, 2.2) if held else rng.uniform(0.05, 0.5) for held in carry]
    return Pose(
        azimuth=azimuth,
        pitch=camera.pitch + rng.normal(0, 0.03),
        stride=stride,
        knee=(rear if stride < 0 else 0.08, rear if stride > 0 else 0.08),
        arms=(arms[0], arms[1]),
        elbows=(float(elbows[0]), float(elbows[1])),
        head=float(rng.normal(0, 0.35)),
        lean=float(rng.normal(0, 0.02)),
        scale=height * float(rng.uniform(0.84, 1.06)),
        foot=(width * float(rng.uniform(0.41, 0.59)), height * float(rng.uniform(0.92, 1.0))),
        nearer=0.0,
    )
