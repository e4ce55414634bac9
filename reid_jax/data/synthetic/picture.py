"""One synthetic image: figures before a camera's scene, then the camera's light, tone, blur and noise."""

import dataclasses
import functools
import itertools
import math

import numpy as np
from PIL import Image, ImageFilter

from reid_jax.data.synthetic.cameras import Camera, create_camera, smooth_noise
from reid_jax.data.synthetic.canvas import Canvas
from reid_jax.data.synthetic.figure import Pose, draw_figure, draw_pose
from reid_jax.data.synthetic.people import draw_person
from reid_jax.data.synthetic.spec import (
    HEIGHT,
    IMAGE,
    PASSER_BY,
    PERSON,
    TRACK,
    WIDTH,
    SyntheticPeople,
    generator,
)

_SUPERSAMPLE = 2  # a canvas is larger than the image by this factor


@functools.lru_cache(maxsize=8)
def cloth_folds() -> np.ndarray:
    """Folds of cloth: smooth noise around 1, float32, larger than a canvas."""
    rng = np.random.default_rng(20)
    return 1 + 0.07 * smooth_noise(rng, 512, 320, 9) + 0.03 * smooth_noise(rng, 512, 320, 3)


def draw_image(spec: SyntheticPeople, identity: int, camera_number: int, index: int) -> Image.Image:
    """Draws one image, RGB of 128 x 64 pixels, before its JPEG: a function of its four arguments alone."""
    camera = create_camera(spec, camera_number)
    person = draw_person(generator(spec, PERSON, identity))
    track = generator(spec, TRACK, identity, camera_number)
    azimuth = camera.azimuth + track.normal(0, 0.5) if track.random() < 0.8 else track.uniform(-math.pi, math.pi)
    gain = math.exp(track.normal(0, 0.12))
    rng = generator(spec, IMAGE, identity, camera_number, index)
    height, width = HEIGHT * _SUPERSAMPLE, WIDTH * _SUPERSAMPLE
    gain *= math.exp(rng.normal(0, 0.08))

    canvas = Canvas(height, width, camera.light, camera.ambient)
    pose = draw_pose(rng, camera, azimuth + rng.normal(0, 0.2), height, width)
    draw_figure(canvas, person, pose)
    if rng.random() < 0.15:
        _draw_passer_by(canvas, rng, spec, camera)
    y, x = int(rng.integers(0, 512 - height)), int(rng.integers(0, 320 - width))
    canvas.colour *= cloth_folds()[y : y + height, x : x + width, None]
    figure, cover = _halve(canvas.colour), _halve(np.isfinite(canvas.depth).astype(np.float32))

    picture = _draw_background(rng, camera, pose)
    picture = picture * (1 - cover) + figure
    if rng.random() < 0.16:
        _occlude(picture, rng, camera)
    return camera_response(picture, rng, camera, gain)


def _halve(pixels: np.ndarray) -> np.ndarray:
    """Float32 [h, w] or [h, w, c] of the canvas -> [HEIGHT, WIDTH, c], means over squares of pixels."""
    squares = pixels.reshape(HEIGHT, _SUPERSAMPLE, WIDTH, _SUPERSAMPLE, -1)
    pixels_of_square = itertools.product(range(_SUPERSAMPLE), repeat=2)
    # NumPy's mean over two such short axes takes six times as long.
    return sum(squares[:, row, :, column] for row, column in pixels_of_square) / _SUPERSAMPLE**2


def _draw_passer_by(canvas: Canvas, rng: np.random.Generator, spec: SyntheticPeople, camera: Camera) -> None:
    """Draws somebody else who walks before or behind the person."""
    height, width = canvas.depth.shape
    other = draw_person(generator(spec, PASSER_BY, int(rng.integers(200))))
    beside = draw_pose(rng, camera, rng.uniform(-math.pi, math.pi), height, width)
    offset = width * rng.uniform(0.4, 0.65) * (1 if rng.random() < 0.5 else -1)
    nearer = 400.0 if rng.random() < 0.4 else -400.0
    foot = (width / 2 + offset, beside.foot[1] + (8 if nearer > 0 else -24))
    smaller = 1.0 if nearer > 0 else 0.85
    pose = dataclasses.replace(beside, foot=foot, nearer=nearer, scale=beside.scale * smaller)
    draw_figure(canvas, other, pose)


def _draw_background(rng: np.random.Generator, camera: Camera, pose: Pose) -> np.ndarray:
    """A window of the camera's scene with the person's shadow: float32 [HEIGHT, WIDTH, 3] in 0..1."""
    zoom = rng.uniform(0.8, 1.7)
    left, top = rng.uniform(0, 640 - WIDTH * zoom), rng.uniform(0, 330 - HEIGHT * zoom)
    window = (left, top, left + WIDTH * zoom, top + HEIGHT * zoom)
    picture = np.asarray(camera.scene.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=window), np.float32) / 255
    rows, columns = np.ogrid[0:HEIGHT, 0:WIDTH]
    foot_x, foot_y = pose.foot[0] / _SUPERSAMPLE, pose.foot[1] / _SUPERSAMPLE
    shadow = ((columns - foot_x - 10 * camera.light[0]) / 20) ** 2 + ((rows - foot_y) / 5) ** 2
    return picture * (1 - 0.45 * np.exp(-shadow))[..., None]


def _occlude(picture: np.ndarray, rng: np.random.Generator, camera: Camera) -> None:
    """Puts a pole, or something low, before the person, in place."""
    colour = camera.clutter * np.float32(rng.uniform(0.7, 1.3))
    if rng.random() < 0.5:
        radius = rng.uniform(2, 8)
        middle = rng.uniform(0, WIDTH)
        across = (np.arange(WIDTH) - middle) / radius
        inside = np.abs(across) < 1
        picture[:, inside] = colour * (0.6 + 0.5 * np.sqrt(1 - across[inside] ** 2))[None, :, None]
    else:
        first = int(HEIGHT * rng.uniform(0.62, 0.85))
        begin, end = sorted(int(v) for v in rng.uniform(-20, WIDTH + 20, 2))
        picture[first:, max(0, begin) : max(0, end)] = colour


def camera_response(picture: np.ndarray, rng: np.random.Generator, camera: Camera, gain: float) -> Image.Image:
    """What the camera makes of a picture, [h, w, 3] in 0..1: colour cast, tone curve, resolution, blur and noise."""
    height, width = picture.shape[:2]
    levels = np.clip(picture @ (camera.colour.T * np.float32(gain)), 0, 1)
    image = Image.fromarray(camera.tone[(levels * 255).astype(np.uint8)].astype(np.uint8))
    if camera.resolution < 1:
        small = (round(width * camera.resolution), round(height * camera.resolution))
        image = image.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BILINEAR)
    image = image.filter(ImageFilter.GaussianBlur(camera.blur * rng.uniform(0.6, 1.4)))
    noisy = np.asarray(image, np.float32) + rng.standard_normal((height, width, 1), np.float32) * camera.noise
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
