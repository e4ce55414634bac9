"""Things before and under people: poles, rails, bicycles, something low; drawn onto a canvas float32 [h, w, 3]."""

import math

import numpy as np
from PIL import Image, ImageDraw

from reid_jax.data.street.chance import pick
from reid_jax.data.street.detector import Box
from reid_jax.data.street.figure import Place
from reid_jax.data.street.scenes import draw_bicycle

_OCCLUDERS = {"pole": 2, "rail": 3, "bicycle": 4, "low": 3}


def mount(canvas: np.ndarray, place: Place, rng: np.random.Generator) -> np.ndarray:
    """Returns the canvas with the bicycle of somebody who rides."""
    image = _image(canvas)
    draw = ImageDraw.Draw(image)
    sin, radius = math.sin(place.azimuth), 0.17 * place.scale

    def at(height: float, ahead: float) -> tuple[float, float]:
        return place.foot[0] + place.scale * ahead * sin, place.foot[1] - place.scale * height

    tyre, frame = (tuple(int(value) for value in rng.uniform(15, most, 3)) for most in (60, 200))
    for ahead in (-0.3, 0.34):
        x, y = at(0.12, ahead)
        wide = radius * max(abs(sin), 0.08)
        draw.ellipse((x - wide, y - radius, x + wide, y + radius), outline=tyre, width=4)
    lines = ((0.12, -0.3, 0.12, 0.0), (0.12, 0.0, 0.45, -0.05), (0.12, 0.0, 0.42, 0.25), (0.42, 0.25, 0.12, 0.34))
    for low, begin, high, end in lines:
        draw.line((*at(low, begin), *at(high, end)), fill=frame, width=4)
    return np.asarray(image, np.float32)


def occlude(canvas: np.ndarray, rng: np.random.Generator, box: Box) -> np.ndarray:
    """Returns the canvas with something before what the box is about."""
    left, top, right, bottom = box
    height, width = canvas.shape[:2]
    image = _image(canvas)
    draw = ImageDraw.Draw(image)
    fill = tuple(int(value) for value in np.clip(rng.uniform(20, 220) + rng.normal(0, 15, 3), 0, 255))
    kind = pick(rng, _OCCLUDERS)
    x, y = rng.uniform(left, right), rng.uniform(top + 0.5 * (bottom - top), bottom)
    if kind == "pole":
        draw.rectangle((x, 0, x + rng.uniform(3, 14), height), fill=fill)
    elif kind == "rail":
        for k in range(int(rng.integers(1, 4))):
            draw.line(
                (0, y + 12 * k, width, y + 12 * k + rng.uniform(-15, 15)), fill=fill, width=int(rng.integers(2, 6))
            )
    elif kind == "bicycle":
        draw_bicycle(draw, rng, x - 30, bottom + rng.uniform(-8, 10), rng.uniform(20, 36))
    else:
        draw.rectangle((x - rng.uniform(5, 60), y, x + rng.uniform(5, 60), height), fill=fill)
    return np.asarray(image, np.float32)


def _image(canvas: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
