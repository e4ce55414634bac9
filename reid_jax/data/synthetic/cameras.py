"""Synthetic cameras: what stays the same from person to person."""

import dataclasses
import functools
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from reid_jax.data.synthetic.spec import CAMERA, SyntheticPeople, generator

_SCENE_HEIGHT, _SCENE_WIDTH = 330, 640  # pixels


@dataclasses.dataclass(frozen=True)
class Camera:
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


def smooth_noise(rng: np.random.Generator, height: int, width: int, cell: int) -> np.ndarray:
    """Normal noise float32 [height, width], smooth over `cell` pixels."""
    coarse = rng.normal(0, 1, (height // cell + 2, width // cell + 2)).astype(np.float32)
    grid = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(grid, np.float32)


def _draw_scene(rng: np.random.Generator) -> Image.Image:
    """Draws what is behind people: a wall, the ground before it, and things along the wall."""
    height, width, horizon = _SCENE_HEIGHT, _SCENE_WIDTH, int(rng.integers(90, 150))
    wall = np.array([(168, 160, 150), (142, 96, 76), (196, 190, 176), (112, 122, 130), (98, 128, 86)][rng.integers(5)])
    ground = np.array(
        [(140, 138, 134), (158, 146, 126), (106, 108, 112), (118, 132, 92), (172, 168, 164)][rng.integers(5)]
    )
    wall = np.clip(wall + rng.normal(0, 12, 3), 20, 235)
    ground = np.clip(ground + rng.normal(0, 12, 3), 20, 235)
    scene = Image.new("RGB", (width, height), tuple(wall.astype(int)))
    draw = ImageDraw.Draw(scene)
    (_draw_windows, _draw_bricks, _draw_shrubs, _draw_shops)[int(rng.integers(4))](draw, rng, wall, horizon)
    _draw_ground(draw, rng, ground, horizon)
    for _ in range(int(rng.integers(3, 9))):  # parked things and posts along the wall
        x, w, h = int(rng.integers(0, width)), int(rng.integers(4, 46)), int(rng.integers(20, 80))
        foot = horizon + int(rng.integers(0, 26))
        draw.rectangle((x, foot - h, x + w, foot), fill=_shade(rng.integers(30, 200, 3), rng.uniform(0.5, 1)))
    picture = np.asarray(scene.filter(ImageFilter.GaussianBlur(0.8)), np.float32)
    grain = smooth_noise(rng, height, width, 3) * 6 + smooth_noise(rng, height, width, 60) * 14
    return Image.fromarray(np.clip(picture + grain[..., None], 0, 255).astype(np.uint8))


def _shade(colour: np.ndarray, factor: float) -> tuple[int, ...]:
    return tuple(np.clip(colour * factor, 0, 255).astype(int))


def _draw_windows(draw: ImageDraw.ImageDraw, rng: np.random.Generator, wall: np.ndarray, horizon: int) -> None:
    """Draws a facade's windows above the horizon."""
    step, top = int(rng.integers(34, 60)), int(rng.integers(8, 30))
    for x in range(6, _SCENE_WIDTH, step):
        for y in range(top, horizon - 12, step):
            draw.rectangle((x, y, x + step // 2, y + step * 2 // 3), fill=_shade(wall, rng.uniform(0.35, 0.7)))
            draw.line((x, y, x + step // 2, y), fill=_shade(wall, 1.25), width=2)


def _draw_bricks(draw: ImageDraw.ImageDraw, rng: np.random.Generator, wall: np.ndarray, horizon: int) -> None:
    """Draws the joints of bricks or panels above the horizon."""
    step = int(rng.integers(9, 22))
    for row, y in enumerate(range(0, horizon, step)):
        draw.line((0, y, _SCENE_WIDTH, y), fill=_shade(wall, 0.75))
        for x in range((row % 2) * step, _SCENE_WIDTH, 2 * step):
            draw.line((x, y, x, y + step), fill=_shade(wall, 0.75))


def _draw_shrubs(draw: ImageDraw.ImageDraw, rng: np.random.Generator, wall: np.ndarray, horizon: int) -> None:
    """Draws shrubs and trees above the horizon."""
    del wall  # hidden behind them
    for _ in range(140):
        x, y, r = rng.integers(0, _SCENE_WIDTH), rng.integers(0, horizon), rng.integers(6, 30)
        colour = np.array((70, 104, 52)) * rng.uniform(0.5, 1.4)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=_shade(colour, 1))


def _draw_shops(draw: ImageDraw.ImageDraw, rng: np.random.Generator, wall: np.ndarray, horizon: int) -> None:
    """Draws shop fronts above the horizon."""
    x = 0
    while x < _SCENE_WIDTH:
        w = int(rng.integers(40, 110))
        draw.rectangle((x, 0, x + w, horizon), fill=_shade(rng.integers(50, 210, 3), rng.uniform(0.6, 1)))
        draw.rectangle((x + 6, horizon // 3, x + w - 6, horizon - 8), fill=_shade(wall, rng.uniform(0.25, 0.6)))
        x += w


def _draw_ground(draw: ImageDraw.ImageDraw, rng: np.random.Generator, ground: np.ndarray, horizon: int) -> None:
    """Draws paving in perspective below the horizon, and perhaps a road marking or a kerb."""
    height, width = _SCENE_HEIGHT, _SCENE_WIDTH
    draw.rectangle((0, horizon, width, height), fill=_shade(ground, 1))
    vanishing = rng.uniform(-0.5, 1.5) * width
    for x in range(-6 * width, 7 * width, int(rng.integers(50, 130))):
        draw.line((vanishing, horizon, x, height * 1.6), fill=_shade(ground, 0.82), width=1)
    depth, ratio = 6.0, rng.uniform(1.25, 1.5)
    while depth < height:
        draw.line((0, horizon + depth, width, horizon + depth), fill=_shade(ground, 0.82), width=1)
        depth *= ratio
    if rng.random() < 0.6:
        x, spread = rng.uniform(0, width), rng.uniform(20, 60)
        far = (vanishing, horizon)
        draw.polygon(
            [far, (x - spread, height * 1.3), (x + spread, height * 1.3)],
            fill=_shade(ground, rng.choice([0.7, 1.35])),
        )


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
def create_camera(spec: SyntheticPeople, camera_number: int) -> Camera:
    """The set's camera of this camera_number, counted from 1."""
    rng = generator(spec, CAMERA, camera_number)
    cast = np.array(_CASTS[(camera_number - 1) % len(_CASTS)]) * np.exp(rng.normal(0, 0.08, 3))
    saturation = rng.uniform(0.45, 1.15)
    luma = np.array((0.299, 0.587, 0.114))
    colour = (saturation * np.eye(3) + (1 - saturation) * luma[None]) * cast[:, None]
    exposure, gamma, lift = rng.uniform(0.55, 1.35), rng.uniform(0.65, 1.45), rng.uniform(0, 0.14)
    level = np.linspace(0, 1, 256)
    tone = 255 * (lift + (1 - lift) * np.clip(exposure * level, 0, 1) ** gamma)
    light = np.array((rng.uniform(-0.8, 0.8), rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.9)))
    return Camera(
        azimuth=math.radians(_FACING[(camera_number - 1) % len(_FACING)] + rng.normal(0, 12)),
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
