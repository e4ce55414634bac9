"""Synthetic people: walking figures in shared clothes, many cameras, written in Market-1501's layout.

A stand-in for real data that anyone may keep: nobody is in the pictures. Drawn here from scratch: tapered
capsules with a depth buffer, then a camera's light, colour cast, tone curve, blur and JPEG.
"""

import contextlib
import dataclasses
import functools
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from tqdm import tqdm

from reid_jax.errors import InputError

NAME = "synthetic"
LAYOUT_FOLDER = "Market-1501-v15.09.15"
HEIGHT, WIDTH = 128, 64  # pixels of an image, as in Market-1501

_DRAWING = 1  # raise when the drawing changes, so that sets drawn before are not taken for new ones
_SUPERSAMPLE = 2
_IN_PROCESS = 200  # below this many images, starting worker processes costs more than it saves

# Streams of the seed: one independent generator each, so that no image depends on the order of drawing.
_PERSON, _TRACK, _SHOT, _CAMERA, _SEEN, _PASSER_BY = range(6)


@dataclasses.dataclass(frozen=True)
class SyntheticPeople:
    """How large a set to draw; the same numbers give the same files.

    Every identity is seen by three cameras or more (by all where there are fewer), `images_per_camera` times
    by each. Test identities give one query a camera and gallery images; as many distractors join the gallery.
    """

    train_identities: int = 150
    test_identities: int = 100
    cameras: int = 6
    images_per_camera: int = 4
    seed: int = 0

    def __post_init__(self):
        least = {"train_identities": 2, "test_identities": 2, "cameras": 2, "images_per_camera": 2, "seed": 0}
        for field, smallest in least.items():
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
                raise InputError(f"synthetic people: {field} is {value!r}; give a whole number of at least {smallest}")
        if self.train_identities + self.test_identities > 9999:
            raise InputError("synthetic people: more than 9999 identities do not fit Market-1501's file names")

    @property
    def folder_name(self) -> str:
        """The folder of this very set: every number is in it."""
        return (
            f"synthetic-train{self.train_identities}-test{self.test_identities}-cameras{self.cameras}"
            f"-images{self.images_per_camera}-seed{self.seed}-v{_DRAWING}"
        )


def parse(name: str) -> SyntheticPeople:
    """Reads 'synthetic' or 'synthetic:field=number,…', fields as in `SyntheticPeople`, the rest by default.

    Example: `synthetic:train_identities=120,test_identities=60,seed=1`.

    Raises:
      InputError: another name, an unknown or repeated field, or a value that is not a whole number in range.
    """
    key, colon, text = name.partition(":")
    if key != NAME:
        raise InputError(f"data set {name!r} is not of synthetic people; write 'synthetic' or 'synthetic:seed=1'")
    known = [field.name for field in dataclasses.fields(SyntheticPeople)]
    values: dict[str, int] = {}
    for item in text.split(",") if colon else []:
        field, equals, value = item.partition("=")
        if not equals or field not in known:
            raise InputError(f"{name!r}: {item!r} is not field=number; the fields are {', '.join(known)}")
        if field in values:
            raise InputError(f"{name!r}: {field} is given twice; give it once")
        if not (value.isascii() and value.isdigit()):
            raise InputError(f"{name!r}: {field}={value!r} is not a whole number; write for example {field}=10")
        values[field] = int(value)
    return SyntheticPeople(**values)


def _generator(spec: SyntheticPeople, *stream: int) -> np.random.Generator:
    return np.random.default_rng([spec.seed, *stream])


# ---------------------------------------------------------------------------------------------------------
# Identities: what stays the same from camera to camera.

_CLOTH = {
    "black": (26, 26, 30),
    "white": (226, 226, 222),
    "grey": (122, 122, 126),
    "navy": (34, 44, 88),
    "blue": (62, 106, 178),
    "red": (172, 42, 46),
    "green": (54, 112, 66),
    "beige": (196, 176, 138),
    "pink": (218, 142, 160),
    "yellow": (216, 186, 66),
    "purple": (104, 66, 132),
    "brown": (104, 72, 48),
}
# Few colours carry most wardrobes: that is what makes colour alone a poor witness.
_TOP_ODDS = {
    "black": 5,
    "white": 5,
    "grey": 4,
    "navy": 3,
    "blue": 3,
    "red": 3,
    "green": 2,
    "beige": 2,
    "pink": 2,
}
_TOP_ODDS |= {"yellow": 1, "purple": 1, "brown": 1}
_BOTTOM_ODDS = {"black": 6, "navy": 6, "grey": 4, "beige": 2, "brown": 1, "blue": 2, "white": 1}
_BAG_ODDS = {
    "black": 5,
    "navy": 2,
    "red": 2,
    "grey": 2,
    "brown": 2,
    "green": 1,
    "blue": 1,
    "yellow": 1,
    "pink": 1,
}
_SHOE_ODDS = {"black": 5, "white": 4, "brown": 2, "red": 1, "blue": 1, "grey": 2}
_HAIR = ((24, 20, 18), (48, 34, 26), (84, 58, 36), (150, 116, 66), (120, 118, 116))
_SKIN = ((236, 196, 168), (214, 168, 134), (176, 124, 90), (122, 82, 58), (82, 54, 40))


@dataclasses.dataclass(frozen=True)
class _Person:
    """One identity's lasting looks; colours are float32 [3] in 0..1, lengths in body heights."""

    skin: np.ndarray
    hair: np.ndarray
    hair_style: str  # short, long, bun
    hat: np.ndarray | None
    top: np.ndarray
    top_second: np.ndarray
    pattern: str  # plain, stripes, pinstripes, checks, two_tone, logo, yoke
    period: float
    long_sleeves: bool
    sleeves_second: bool
    jacket: np.ndarray | None
    jacket_opening: float
    bottom: np.ndarray
    bottom_kind: str  # trousers, shorts, skirt
    side_stripe: bool
    shoes: np.ndarray
    bag: str  # none, backpack, handbag, satchel
    bag_colour: np.ndarray
    girth: float
    head: float
    legs: float


def _draw_colour(rng: np.random.Generator, odds: dict[str, int]) -> np.ndarray:
    names = list(odds)
    weights = np.array([odds[name] for name in names], float)
    base = np.array(_CLOTH[names[rng.choice(len(names), p=weights / weights.sum())]], float)
    return (np.clip(base + rng.normal(0, 6) + rng.normal(0, 4, 3), 8, 245) / 255).astype(np.float32)


def _pick(rng: np.random.Generator, odds: dict[str, float]) -> str:
    weights = np.array(list(odds.values()), float)
    return list(odds)[rng.choice(len(odds), p=weights / weights.sum())]


def _draw_person(rng: np.random.Generator) -> _Person:
    top = _draw_colour(rng, _TOP_ODDS)
    second = _draw_colour(rng, _TOP_ODDS)
    while np.abs(second - top).sum() < 0.5:  # a pattern of two like colours could not be seen
        second = _draw_colour(rng, _TOP_ODDS)
    hair = np.array(_HAIR[rng.choice(5, p=[0.4, 0.25, 0.15, 0.12, 0.08])], np.float32) / 255
    odds = {
        "plain": 0.3,
        "stripes": 0.15,
        "pinstripes": 0.1,
        "checks": 0.1,
        "two_tone": 0.12,
        "logo": 0.13,
        "yoke": 0.1,
    }
    return _Person(
        skin=np.array(_SKIN[rng.integers(5)], np.float32) / 255,
        hair=hair,
        hair_style=_pick(rng, {"short": 0.5, "long": 0.35, "bun": 0.15}),
        hat=_draw_colour(rng, _BAG_ODDS) if rng.random() < 0.15 else None,
        top=top,
        top_second=second,
        pattern=_pick(rng, odds),
        period=float(rng.choice([0.055, 0.08, 0.12])),
        long_sleeves=bool(rng.random() < 0.5),
        sleeves_second=bool(rng.random() < 0.2),
        jacket=_draw_colour(rng, _TOP_ODDS) if rng.random() < 0.3 else None,
        jacket_opening=float(rng.uniform(0.2, 0.6)),
        bottom=_draw_colour(rng, _BOTTOM_ODDS),
        bottom_kind=_pick(rng, {"trousers": 0.6, "shorts": 0.22, "skirt": 0.18}),
        side_stripe=bool(rng.random() < 0.12),
        shoes=_draw_colour(rng, _SHOE_ODDS),
        bag=_pick(rng, {"none": 0.42, "backpack": 0.3, "handbag": 0.14, "satchel": 0.14}),
        bag_colour=_draw_colour(rng, _BAG_ODDS),
        girth=float(rng.uniform(0.84, 1.28)),
        head=float(rng.uniform(0.92, 1.1)),
        legs=float(rng.uniform(0.96, 1.05)),
    )


# ---------------------------------------------------------------------------------------------------------
# Cameras: what stays the same from person to person.


@dataclasses.dataclass(frozen=True)
class _Camera:
    """One camera's view, light and response, and its scene (PIL RGB, larger than an image)."""

    azimuth: float  # the way people mostly face, in radians; 0 looks into the camera
    pitch: float  # looking down, in radians
    light: np.ndarray  # float32 [3], unit, towards the light: right, up, towards the camera
    ambient: float
    colour: np.ndarray  # float32 [3, 3], saturation and colour cast
    tone: np.ndarray  # float32 [256], exposure and gamma
    blur: float  # pixels
    resolution: float  # of the sensor, relative to the image
    noise: float
    quality: int  # JPEG
    scene: Image.Image
    clutter: np.ndarray  # float32 [3], colour of things that stand before people


def _smooth_noise(rng: np.random.Generator, height: int, width: int, cell: int) -> np.ndarray:
    coarse = rng.normal(0, 1, (height // cell + 2, width // cell + 2)).astype(np.float32)
    grid = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(grid, np.float32)


def _draw_scene(rng: np.random.Generator) -> Image.Image:
    height, width, horizon = 330, 640, int(rng.integers(90, 150))
    wall = np.array([(168, 160, 150), (142, 96, 76), (196, 190, 176), (112, 122, 130), (98, 128, 86)][rng.integers(5)])
    ground = np.array(
        [(140, 138, 134), (158, 146, 126), (106, 108, 112), (118, 132, 92), (172, 168, 164)][rng.integers(5)]
    )
    wall = np.clip(wall + rng.normal(0, 12, 3), 20, 235)
    ground = np.clip(ground + rng.normal(0, 12, 3), 20, 235)
    scene = Image.new("RGB", (width, height), tuple(wall.astype(int)))
    draw = ImageDraw.Draw(scene)
    shade = lambda colour, factor: tuple(np.clip(colour * factor, 0, 255).astype(int))  # noqa: E731
    kind = int(rng.integers(4))
    if kind == 0:  # a facade with windows
        step, top = int(rng.integers(34, 60)), int(rng.integers(8, 30))
        for x in range(6, width, step):
            for y in range(top, horizon - 12, step):
                draw.rectangle((x, y, x + step // 2, y + step * 2 // 3), fill=shade(wall, rng.uniform(0.35, 0.7)))
                draw.line((x, y, x + step // 2, y), fill=shade(wall, 1.25), width=2)
    elif kind == 1:  # bricks or panels
        step = int(rng.integers(9, 22))
        for row, y in enumerate(range(0, horizon, step)):
            draw.line((0, y, width, y), fill=shade(wall, 0.75))
            for x in range((row % 2) * step, width, 2 * step):
                draw.line((x, y, x, y + step), fill=shade(wall, 0.75))
    elif kind == 2:  # shrubs and trees
        for _ in range(140):
            x, y, r = rng.integers(0, width), rng.integers(0, horizon), rng.integers(6, 30)
            colour = np.array((70, 104, 52)) * rng.uniform(0.5, 1.4)
            draw.ellipse((x - r, y - r, x + r, y + r), fill=shade(colour, 1))
    else:  # shop fronts
        x = 0
        while x < width:
            w = int(rng.integers(40, 110))
            draw.rectangle((x, 0, x + w, horizon), fill=shade(rng.integers(50, 210, 3), rng.uniform(0.6, 1)))
            draw.rectangle((x + 6, horizon // 3, x + w - 6, horizon - 8), fill=shade(wall, rng.uniform(0.25, 0.6)))
            x += w
    draw.rectangle((0, horizon, width, height), fill=shade(ground, 1))
    vanishing = rng.uniform(-0.5, 1.5) * width
    for x in range(-6 * width, 7 * width, int(rng.integers(50, 130))):
        draw.line((vanishing, horizon, x, height * 1.6), fill=shade(ground, 0.82), width=1)
    depth, ratio = 6.0, rng.uniform(1.25, 1.5)
    while depth < height:
        draw.line((0, horizon + depth, width, horizon + depth), fill=shade(ground, 0.82), width=1)
        depth *= ratio
    if rng.random() < 0.6:  # a road marking or a kerb
        x, spread = rng.uniform(0, width), rng.uniform(20, 60)
        far = (vanishing, horizon)
        draw.polygon(
            [far, (x - spread, height * 1.3), (x + spread, height * 1.3)],
            fill=shade(ground, rng.choice([0.7, 1.35])),
        )
    for _ in range(int(rng.integers(3, 9))):  # parked things and posts along the wall
        x, w, h = int(rng.integers(0, width)), int(rng.integers(4, 46)), int(rng.integers(20, 80))
        foot = horizon + int(rng.integers(0, 26))
        draw.rectangle((x, foot - h, x + w, foot), fill=shade(rng.integers(30, 200, 3), rng.uniform(0.5, 1)))
    picture = np.asarray(scene.filter(ImageFilter.GaussianBlur(0.8)), np.float32)
    grain = _smooth_noise(rng, height, width, 3) * 6 + _smooth_noise(rng, height, width, 60) * 14
    return Image.fromarray(np.clip(picture + grain[..., None], 0, 255).astype(np.uint8))


_FACING = (0.0, 180.0, 80.0, -40.0, 140.0, -95.0, 30.0, -150.0)
_CASTS = (
    (1.0, 1.0, 1.0),
    (1.28, 1.02, 0.68),
    (0.72, 0.98, 1.3),
    (0.9, 1.14, 0.84),
    (1.12, 0.88, 1.08),
    (1.2, 1.1, 0.8),
)


@functools.lru_cache(maxsize=64)
def _camera(spec: SyntheticPeople, number: int) -> _Camera:
    rng = _generator(spec, _CAMERA, number)
    cast = np.array(_CASTS[(number - 1) % len(_CASTS)]) * np.exp(rng.normal(0, 0.08, 3))
    saturation = rng.uniform(0.45, 1.15)
    luma = np.array((0.299, 0.587, 0.114))
    colour = (saturation * np.eye(3) + (1 - saturation) * luma[None]) * cast[:, None]
    exposure, gamma, lift = rng.uniform(0.55, 1.35), rng.uniform(0.65, 1.45), rng.uniform(0, 0.14)
    level = np.linspace(0, 1, 256)
    tone = 255 * (lift + (1 - lift) * np.clip(exposure * level, 0, 1) ** gamma)
    light = np.array((rng.uniform(-0.8, 0.8), rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.9)))
    return _Camera(
        azimuth=math.radians(_FACING[(number - 1) % len(_FACING)] + rng.normal(0, 12)),
        pitch=math.radians(rng.uniform(2, 24)),
        light=(light / np.linalg.norm(light)).astype(np.float32),
        ambient=float(rng.uniform(0.35, 0.65)),
        colour=colour.astype(np.float32),
        tone=tone.astype(np.float32),
        blur=float(rng.uniform(0.2, 0.9)),
        resolution=float(rng.choice([1.0, 0.8, 0.6, 0.5])),
        noise=float(rng.uniform(1, 6)),
        quality=int(rng.integers(45, 90)),
        scene=_draw_scene(rng),
        clutter=(rng.uniform(30, 190, 3) / 255).astype(np.float32),
    )


# ---------------------------------------------------------------------------------------------------------
# Drawing: surfaces into a colour and a depth buffer, at twice the image's resolution.

_Paint = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (along [k], body angle [k]) -> colour [k, 3]


class _Canvas:
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

    def _put(self, box, inside, depth, normal, along, angle, paint: "_Paint | np.ndarray") -> None:
        x0, x1, y0, y1 = box
        buffer = self.depth[y0:y1, x0:x1]
        seen = inside & (depth > buffer)
        if not seen.any():
            return
        buffer[seen] = depth[seen]
        nx, ny, nz = (part[seen] for part in normal)
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


def _wrap(angle: np.ndarray) -> np.ndarray:
    return (angle + math.pi) % (2 * math.pi) - math.pi


def _top_paint(person: _Person, with_straps: bool) -> _Paint:
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
class _Pose:
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


def _draw_figure(canvas: _Canvas, person: _Person, pose: _Pose) -> None:
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
        trouser: _Paint | np.ndarray = person.bottom
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


def _draw_pose(rng: np.random.Generator, camera: _Camera, azimuth: float, height: int, width: int) -> _Pose:
    phase = rng.uniform(0, 2 * math.pi)
    pace = rng.uniform(0.15, 0.55) if rng.random() < 0.8 else rng.uniform(0, 0.06)
    stride = pace * math.sin(phase)
    rear = abs(stride) * 0.9 + 0.1 * pace
    carry = rng.random(2) < 0.12  # a hand held up, with a telephone or a cup
    arms = [0.3 if carry[0] else -0.75 * stride, 0.3 if carry[1] else 0.75 * stride]
    elbows = [rng.uniform(1.4, 2.2) if held else rng.uniform(0.05, 0.5) for held in carry]
    return _Pose(
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


@functools.lru_cache(maxsize=8)
def _folds() -> np.ndarray:
    """Folds of cloth: smooth noise around 1, float32, larger than a canvas."""
    rng = np.random.default_rng(20)
    return 1 + 0.07 * _smooth_noise(rng, 512, 320, 9) + 0.03 * _smooth_noise(rng, 512, 320, 3)


def draw_image(spec: SyntheticPeople, identity: int, camera_number: int, index: int) -> Image.Image:
    """Draws one image, RGB of 128 x 64 pixels, before its JPEG: a function of its four arguments alone."""
    camera = _camera(spec, camera_number)
    person = _draw_person(_generator(spec, _PERSON, identity))
    track = _generator(spec, _TRACK, identity, camera_number)
    azimuth = camera.azimuth + track.normal(0, 0.5) if track.random() < 0.8 else track.uniform(-math.pi, math.pi)
    gain = math.exp(track.normal(0, 0.12))
    rng = _generator(spec, _SHOT, identity, camera_number, index)
    height, width = HEIGHT * _SUPERSAMPLE, WIDTH * _SUPERSAMPLE
    gain *= math.exp(rng.normal(0, 0.08))
    canvas = _Canvas(height, width, camera.light, camera.ambient)
    pose = _draw_pose(rng, camera, azimuth + rng.normal(0, 0.2), height, width)
    _draw_figure(canvas, person, pose)
    if rng.random() < 0.15:  # somebody else walks before or behind
        other = _draw_person(_generator(spec, _PASSER_BY, int(rng.integers(200))))
        beside = _draw_pose(rng, camera, rng.uniform(-math.pi, math.pi), height, width)
        offset = width * rng.uniform(0.4, 0.65) * (1 if rng.random() < 0.5 else -1)
        nearer = 400.0 if rng.random() < 0.4 else -400.0
        where = (width / 2 + offset, beside.foot[1] + (8 if nearer > 0 else -24))
        smaller = 1.0 if nearer > 0 else 0.85
        _draw_figure(
            canvas,
            other,
            dataclasses.replace(beside, foot=where, nearer=nearer, scale=beside.scale * smaller),
        )
    y, x = int(rng.integers(0, 512 - height)), int(rng.integers(0, 320 - width))
    canvas.colour *= _folds()[y : y + height, x : x + width, None]
    drawn = np.isfinite(canvas.depth).astype(np.float32)
    halve = lambda a: a.reshape(HEIGHT, _SUPERSAMPLE, WIDTH, _SUPERSAMPLE, -1).mean((1, 3))  # noqa: E731
    figure, cover = halve(canvas.colour), halve(drawn)

    zoom = rng.uniform(0.8, 1.7)
    left, top = rng.uniform(0, 640 - WIDTH * zoom), rng.uniform(0, 330 - HEIGHT * zoom)
    window = (left, top, left + WIDTH * zoom, top + HEIGHT * zoom)
    picture = np.asarray(camera.scene.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=window), np.float32) / 255
    rows, columns = np.ogrid[0:HEIGHT, 0:WIDTH]
    foot_x, foot_y = pose.foot[0] / _SUPERSAMPLE, pose.foot[1] / _SUPERSAMPLE
    shadow = ((columns - foot_x - 10 * camera.light[0]) / 20) ** 2 + ((rows - foot_y) / 5) ** 2
    picture = picture * (1 - 0.45 * np.exp(-shadow))[..., None]
    picture = picture * (1 - cover) + figure
    if rng.random() < 0.16:  # something stands before the person
        colour = camera.clutter * np.float32(rng.uniform(0.7, 1.3))
        if rng.random() < 0.5:
            pole = rng.uniform(2, 8)
            middle = rng.uniform(0, WIDTH)
            across = (np.arange(WIDTH) - middle) / pole
            inside = np.abs(across) < 1
            picture[:, inside] = colour * (0.6 + 0.5 * np.sqrt(1 - across[inside] ** 2))[None, :, None]
        else:
            first = int(HEIGHT * rng.uniform(0.62, 0.85))
            begin, end = sorted(int(v) for v in rng.uniform(-20, WIDTH + 20, 2))
            picture[first:, max(0, begin) : max(0, end)] = colour
    # The camera's response.
    levels = np.clip(picture @ (camera.colour.T * np.float32(gain)), 0, 1)
    image = Image.fromarray(camera.tone[(levels * 255).astype(np.uint8)].astype(np.uint8))
    if camera.resolution < 1:
        small = (round(WIDTH * camera.resolution), round(HEIGHT * camera.resolution))
        image = image.resize(small, Image.Resampling.BOX).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    image = image.filter(ImageFilter.GaussianBlur(camera.blur * rng.uniform(0.6, 1.4)))
    noisy = np.asarray(image, np.float32) + rng.standard_normal((HEIGHT, WIDTH, 1), np.float32) * camera.noise
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


# ---------------------------------------------------------------------------------------------------------
# The whole set.


@dataclasses.dataclass(frozen=True)
class _Shot:
    """One file to write: identity as drawn, and the path that names it."""

    person: int
    camera: int
    index: int
    path: str


def _shots(spec: SyntheticPeople) -> Iterator[_Shot]:
    for identity in range(1, spec.train_identities + spec.test_identities + 1):
        rng = _generator(spec, _SEEN, identity)
        count = int(rng.integers(min(3, spec.cameras), spec.cameras + 1))
        for camera in sorted((rng.permutation(spec.cameras)[:count] + 1).tolist()):
            for index in range(spec.images_per_camera):
                if identity <= spec.train_identities:
                    folder = "bounding_box_train"
                else:
                    folder = "query" if index == 0 else "bounding_box_test"
                yield _Shot(identity, camera, index, f"{folder}/{identity:04d}_c{camera}s1_{index:06d}_00.jpg")
    for stranger in range(spec.test_identities):
        camera = int(_generator(spec, _SEEN, 20000 + stranger).integers(spec.cameras)) + 1
        yield _Shot(20000 + stranger, camera, 0, f"bounding_box_test/0000_c{camera}s1_{stranger:06d}_00.jpg")


def _write(spec: SyntheticPeople, shots: list[_Shot], root: pathlib.Path) -> Iterator[None]:
    for shot in shots:
        image = draw_image(spec, shot.person, shot.camera, shot.index)
        image.save(root / shot.path, quality=_camera(spec, shot.camera).quality)
        yield None


def file_names(spec: SyntheticPeople) -> list[str]:
    """The names of the set's files, relative to its `Market-1501-v15.09.15` folder, as drawn."""
    return [shot.path for shot in _shots(spec)]


def cores() -> int:
    """The CPU cores this process may use."""
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _work() -> None:
    """A worker's whole life: a job as JSON on stdin, one line on stdout for each image written."""
    job = json.load(sys.stdin)
    spec = SyntheticPeople(**job["spec"])
    shots = list(_shots(spec))[job["worker"] :: job["workers"]]
    for _ in _write(spec, shots, pathlib.Path(job["root"])):
        print(flush=True)


def _work_command() -> list[str]:
    return [sys.executable, "-c", "from reid_jax.data import synthetic; synthetic._work()"]


def _write_in_workers(spec: SyntheticPeople, root: pathlib.Path, workers: int, bar: tqdm) -> None:
    """Splits the images over processes of their own.

    Not `multiprocessing`: forking is unsafe once JAX runs its threads, and its other ways of starting import
    the caller's main module again, which breaks scripts without a main guard and interactive sessions.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    processes: list[subprocess.Popen] = []
    counters: list[threading.Thread] = []

    def count(process: subprocess.Popen) -> None:
        for _ in process.stdout:
            bar.update()

    try:
        for worker in range(workers):
            process = subprocess.Popen(
                _work_command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
            )
            processes.append(process)
            job = {"spec": dataclasses.asdict(spec), "root": str(root), "worker": worker, "workers": workers}
            with contextlib.suppress(BrokenPipeError):  # it died early: its exit code is read below
                process.stdin.write(json.dumps(job).encode())
                process.stdin.close()
            counters.append(threading.Thread(target=count, args=(process,), daemon=True))
            counters[-1].start()
        for process, counter in zip(processes, counters, strict=True):
            counter.join()
            complaint = process.stderr.read().decode(errors="replace").strip()
            if process.wait() != 0:
                last = complaint.splitlines()[-1] if complaint else f"exit code {process.returncode}"
                raise InputError(f"drawing synthetic people into {root.parent} failed: {last}; check space and rights")
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def _record(spec: SyntheticPeople) -> dict[str, int]:
    return dataclasses.asdict(spec) | {"drawing": _DRAWING}


def _finished(spec: SyntheticPeople, target: pathlib.Path) -> bool:
    """Whether `target` holds this very set with every file of it."""
    try:
        if json.loads((target / "spec.json").read_text()) != _record(spec):
            return False
    except (OSError, ValueError):
        return False
    root = target / LAYOUT_FOLDER
    if not root.is_dir():
        return False
    there = {f"{folder.name}/{name}" for folder in root.iterdir() if folder.is_dir() for name in os.listdir(folder)}
    return there.issuperset(file_names(spec))


def render(spec: SyntheticPeople, folder: str | os.PathLike, workers: int | None = None) -> pathlib.Path:
    """Writes the whole set below `folder`, unless it is there, and returns the folder that holds it.

    That folder's name tells every number of `spec`; in it lie `spec.json` and `Market-1501-v15.09.15/`, so
    that it serves as the `data_dir` of `market1501`. Files are drawn into a temporary folder, which is then
    renamed: an interrupted drawing leaves nothing that a later run reads. The files do not depend on
    `workers` (by default one a core).

    Raises:
      InputError: `folder` cannot be written.
    """
    target = pathlib.Path(folder).expanduser() / spec.folder_name
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; give 1 or more")
    if _finished(spec, target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise InputError(
            f"cannot write synthetic people to {target.parent} ({error.strerror}); give a writable folder"
        ) from error
    try:
        root = temporary / LAYOUT_FOLDER
        for split_folder in ("bounding_box_train", "query", "bounding_box_test"):
            (root / split_folder).mkdir(parents=True)
        shots = list(_shots(spec))
        workers = workers or (cores() if len(shots) >= _IN_PROCESS and sys.executable else 1)
        with tqdm(total=len(shots), desc="drawing synthetic people", unit=" images", mininterval=0.5) as bar:
            if workers == 1:
                for _ in _write(spec, shots, root):
                    bar.update()
            else:
                _write_in_workers(spec, root, workers, bar)
        (temporary / "spec.json").write_text(json.dumps(_record(spec), indent=2) + "\n")
        temporary.chmod(0o755)
        if target.exists() and not _finished(spec, target):
            shutil.rmtree(target)  # files were taken out of it since
        try:
            os.rename(temporary, target)
        except OSError:
            # Another process may have drawn the same set meanwhile: then the files are the same.
            if not _finished(spec, target):
                raise
    except OSError as error:
        raise InputError(f"cannot write synthetic people to {target}: {error}; check space and rights") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target
