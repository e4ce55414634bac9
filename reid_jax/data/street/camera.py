"""Cameras: light, colours, sharpness and compression, drawn anew for each track, so that no palette is a camera's."""

import dataclasses
import math

import numpy as np
from PIL import Image, ImageFilter

from reid_jax.data.street.spec import HEIGHT, WIDTH

_LUMA = np.array((0.299, 0.587, 0.114), np.float32)


@dataclasses.dataclass(frozen=True)
class Camera:
    """How one camera shows one track."""

    pitch: float  # looking down, radians
    light: np.ndarray  # float32 [3], unit, towards the light: right, up, towards the camera
    ambient: float
    colour: np.ndarray  # float32 [3, 3]: saturation, turned hues and the cast
    tone: np.ndarray  # float32 [256]: exposure, contrast and gamma, from linear 0..255 to what is stored
    rows: float  # of the sensor, for the height of an image
    blur: float  # pixels
    sharpening: float  # per cent of an unsharp mask
    halo: float  # pixels of that mask
    noise: float
    quality: int  # of the JPEG


def draw_camera(rng: np.random.Generator) -> Camera:
    """Draws a camera."""
    light = np.array((rng.uniform(-0.9, 0.9), rng.uniform(0.35, 1.0), rng.uniform(-0.2, 0.9)))
    saturation = rng.uniform(0.6, 1.1)
    turn = rng.normal(0, 0.05, (3, 3))
    turn -= turn.mean(1, keepdims=True)  # greys stay grey
    cast = np.exp(rng.normal(0, 0.013, 3) + rng.normal(0.005, 0.012) * np.array((1, 0, -1)))
    colour = (saturation * (np.eye(3) + turn) + (1 - saturation) * _LUMA[None]) * cast[:, None]
    level = np.linspace(0, 1, 256)
    gain, gamma = math.exp(rng.normal(0.03, 0.06)), math.exp(rng.normal(0.0, 0.09))
    lift, steep = rng.uniform(0.02, 0.1), rng.uniform(0, 0.6)
    curve = np.clip(gain * level, 0, 1) ** gamma
    curve = (1 - steep) * curve + steep * (3 * curve**2 - 2 * curve**3)
    return Camera(
        pitch=math.radians(rng.uniform(2, 22)),
        light=(light / np.linalg.norm(light)).astype(np.float32),
        ambient=float(rng.uniform(0.55, 0.88)),
        colour=colour.astype(np.float32),
        tone=(255 * (lift + (1 - lift) * curve)).astype(np.float32),
        rows=float(HEIGHT * np.exp(rng.uniform(math.log(0.5), math.log(1.1)))),
        blur=float(rng.uniform(0, 0.6)),
        sharpening=float(rng.uniform(0, 90)),
        halo=float(rng.uniform(0.8, 2.0)),
        noise=float(rng.uniform(0.5, 2.3)),
        quality=int(rng.integers(50, 93)),
    )


def expose(
    picture: np.ndarray, box: tuple[float, ...], camera: Camera, gain: float, rng: np.random.Generator
) -> Image.Image:
    """What the camera makes of a box (left, top, right, bottom) of uint8 [h, w, 3]: an RGB image of 128 x 64 pixels."""
    rows = min(HEIGHT, round(camera.rows))
    small = Image.fromarray(picture).resize((round(rows * WIDTH / HEIGHT), rows), Image.Resampling.BOX, box=box)
    if camera.blur > 0.2:
        small = small.filter(ImageFilter.GaussianBlur(camera.blur * rng.uniform(0.5, 1.3)))
    levels = np.asarray(small, np.float32) @ (camera.colour.T * np.float32(gain))
    levels += rng.standard_normal(levels.shape, np.float32) * np.float32(camera.noise)
    toned = camera.tone[np.clip(levels, 0, 255).astype(np.uint8)]
    image = Image.fromarray(toned.astype(np.uint8))
    if rows != HEIGHT:
        image = image.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    if camera.sharpening:
        image = image.filter(ImageFilter.UnsharpMask(camera.halo, round(camera.sharpening), 0))
    return image
