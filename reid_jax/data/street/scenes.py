"""What is behind people: pavements, lawns, walls, doors, hedges and bicycles, drawn once and cut in many ways."""

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from reid_jax.data.street.chance import pick, smooth_noise
from reid_jax.data.street.spec import SCENE, generator

HEIGHT, WIDTH = 320, 480  # pixels
SCENES = 48  # of a set

_BACKDROPS = {"wall": 20, "door": 16, "hedge": 20, "bricks": 8, "racks": 22, "shops": 8, "far": 10}
_GROUNDS = {"slabs": 45, "bricks": 15, "asphalt": 22, "lawn": 10, "steps": 12}


@functools.lru_cache(maxsize=2 * SCENES)
def draw_scene(seed: int, number: int) -> np.ndarray:
    """Draws scene `number` of a set: uint8 [HEIGHT, WIDTH, 3]."""
    rng = generator(seed, SCENE, number)
    horizon = int(rng.integers(70, 200))
    image = Image.new("RGB", (WIDTH, HEIGHT), _grey(rng, 30, 190))
    draw = ImageDraw.Draw(image)
    _draw_ground(draw, rng, pick(rng, _GROUNDS), horizon)
    _draw_backdrop(draw, rng, pick(rng, _BACKDROPS), horizon)
    for _ in range(int(rng.integers(2, 14))):
        _draw_thing(draw, rng, horizon)
    if rng.random() < 0.35:
        _draw_railing(draw, rng, horizon)
    picture = np.asarray(image.filter(ImageFilter.GaussianBlur(0.6)), np.float32)
    grain = (
        smooth_noise(rng, HEIGHT, WIDTH, 2, 2) * rng.uniform(2, 9)
        + smooth_noise(rng, HEIGHT, WIDTH, 7, 9) * rng.uniform(2, 9)
        + smooth_noise(rng, HEIGHT, WIDTH, 50, 60) * rng.uniform(4, 16)
    )
    return np.clip(picture * (1 + grain[..., None] / 110), 0, 255).astype(np.uint8)


def _grey(rng: np.random.Generator, least: float, most: float, tint: float = 4.0) -> tuple[int, ...]:
    colour = rng.uniform(least, most) + rng.normal(0, tint, 3) + rng.normal(3, 3) * np.array((1, 0, -1))
    return tuple(int(value) for value in np.clip(colour, 5, 250))


def _times(colour, factor: float) -> tuple[int, ...]:
    return tuple(int(value) for value in np.clip(np.array(colour) * factor, 0, 255))


def _draw_ground(draw: ImageDraw.ImageDraw, rng: np.random.Generator, kind: str, horizon: int) -> None:
    ground = _grey(rng, 95, 160, 2)
    if kind == "lawn":
        ground = _times((112, 122, 90), rng.uniform(0.6, 1.2))
    draw.rectangle((0, horizon, WIDTH, HEIGHT), fill=ground)
    dark = rng.uniform(0.72, 0.92)
    if kind == "steps":
        y = float(horizon)
        while y < HEIGHT:
            step = rng.uniform(8, 20)
            draw.rectangle((0, y, WIDTH, y + step * 0.5), fill=_times(ground, rng.uniform(0.45, 0.75)))
            y += step
    elif kind in ("slabs", "bricks"):
        vanishing, spacing = rng.uniform(-0.3, 1.3) * WIDTH, rng.uniform(18, 110)
        depth, rows = 4.0, [horizon]
        ratio = rng.uniform(1.12, 1.5)
        while depth < HEIGHT:
            rows.append(horizon + depth)
            depth *= ratio
        for x in np.arange(-5 * WIDTH, 6 * WIDTH, spacing):
            draw.line((vanishing, horizon - 40, x, HEIGHT * 1.5), fill=_times(ground, dark), width=1)
        for low, high in zip(rows, rows[1:], strict=False):
            draw.line((0, high, WIDTH, high), fill=_times(ground, dark), width=1)
            if kind == "bricks":
                for x in rng.uniform(0, WIDTH, 14):
                    w = rng.uniform(10, 60)
                    draw.rectangle((x, low, x + w, high), fill=_times(ground, rng.uniform(0.7, 1.2)))
    for _ in range(int(rng.integers(0, 3))):  # markings, kerbs, the sun between shadows
        x, y, spread = rng.uniform(0, WIDTH), rng.uniform(horizon, HEIGHT), rng.uniform(10, 120)
        slant = rng.uniform(-300, 300)
        fill = _times(ground, rng.choice([0.5, 0.7, 1.25, 1.5]))
        draw.polygon([(x, y), (x + spread, y), (x + spread + slant, HEIGHT), (x - spread + slant, HEIGHT)], fill=fill)


def _draw_backdrop(draw: ImageDraw.ImageDraw, rng: np.random.Generator, kind: str, horizon: int) -> None:
    wall = _grey(rng, 40, 170)
    draw.rectangle((0, 0, WIDTH, horizon), fill=wall)
    if kind == "wall":
        for x in np.arange(rng.uniform(0, 60), WIDTH, rng.uniform(30, 140)):
            draw.rectangle((x, 0, x + rng.uniform(1, 12), horizon), fill=_times(wall, rng.uniform(0.5, 1.3)))
        for y in np.arange(rng.uniform(0, 30), horizon, rng.uniform(14, 60)):
            draw.line((0, y, WIDTH, y), fill=_times(wall, rng.uniform(0.6, 1.2)), width=int(rng.integers(1, 4)))
    elif kind == "door":
        draw.rectangle((0, 0, WIDTH, horizon), fill=_grey(rng, 12, 50, 3))
        for x in np.arange(0, WIDTH, rng.uniform(30, 90)):
            draw.rectangle((x, 0, x + rng.uniform(2, 14), horizon), fill=_grey(rng, 20, 190))
        for _ in range(5):
            x, y = rng.uniform(0, WIDTH), rng.uniform(0, horizon)
            draw.rectangle((x, y, x + rng.uniform(4, 50), y + rng.uniform(4, 50)), fill=_grey(rng, 20, 160, 18))
    elif kind == "hedge":
        for _ in range(260):
            x, y, r = rng.uniform(0, WIDTH), rng.uniform(-10, horizon), rng.uniform(3, 22)
            draw.ellipse((x - r, y - r, x + r, y + r), fill=_times((84, 94, 70), rng.uniform(0.35, 1.5)))
        if rng.random() < 0.5:
            y = rng.uniform(0, horizon)
            draw.rectangle((0, y, WIDTH, horizon), fill=_times((116, 126, 98), rng.uniform(0.7, 1.2)))
    elif kind == "bricks":
        step = rng.uniform(6, 16)
        for row, y in enumerate(np.arange(0, horizon, step)):
            draw.line((0, y, WIDTH, y), fill=_times(wall, 0.75))
            for x in np.arange((row % 2) * step, WIDTH, 2 * step):
                draw.line((x, y, x, y + step), fill=_times(wall, 0.75))
    elif kind == "shops":
        x = 0.0
        while x < WIDTH:
            w = rng.uniform(30, 120)
            draw.rectangle((x, 0, x + w, horizon), fill=_grey(rng, 30, 210, 22))
            draw.rectangle((x + 5, horizon * 0.3, x + w - 5, horizon - 6), fill=_grey(rng, 15, 110, 12))
            x += w
    elif kind == "far":
        y = horizon * rng.uniform(0.2, 0.8)
        draw.rectangle((0, 0, WIDTH, y), fill=_grey(rng, 150, 240, 5))
        for _ in range(30):
            x, w = rng.uniform(-40, WIDTH), rng.uniform(10, 90)
            draw.rectangle((x, y - rng.uniform(-8, 40), x + w, y + rng.uniform(10, 50)), fill=_grey(rng, 40, 170, 14))
    if kind == "racks" or rng.random() < 0.3:
        for x in np.arange(rng.uniform(-20, 10), WIDTH, rng.uniform(16, 40)):
            draw_bicycle(draw, rng, x, horizon + rng.uniform(0, 26), rng.uniform(15, 30))


def draw_bicycle(draw: ImageDraw.ImageDraw, rng: np.random.Generator, x: float, y: float, radius: float) -> None:
    """Draws a bicycle whose rear wheel stands on (x, y); `radius` of a wheel in pixels."""
    frame = _grey(rng, 15, 220, 30)
    tyre = _grey(rng, 10, 90, 4)
    apart = 2.5 * radius * rng.uniform(0.35, 1.0)  # seen more or less from the side
    narrow = radius * rng.uniform(0.3, 1.0)
    width = max(1, int(radius / 12))
    for wheel in (x, x + apart):
        draw.ellipse((wheel - narrow, y - 2 * radius, wheel + narrow, y), outline=tyre, width=max(1, int(radius / 9)))
    hub, seat, front = (x, y - radius), (x + 0.3 * apart, y - 2.5 * radius), (x + 0.8 * apart, y - 2.6 * radius)
    pedal = (x + 0.4 * apart, y - 0.9 * radius)
    for line in (
        (hub, pedal),
        (pedal, seat),
        (pedal, front),
        (seat, front),
        (hub, seat),
        (front, (x + apart, y - radius)),
    ):
        draw.line((*line[0], *line[1]), fill=frame, width=width)
    sx, sy = seat
    draw.ellipse((sx - radius * 0.4, sy - radius * 0.22, sx + radius * 0.4, sy + radius * 0.1), fill=tyre)
    draw.line((front[0] - radius * 0.3, front[1] - radius * 0.2, *front), fill=tyre, width=width)
    if rng.random() < 0.3:
        bx, by = front
        draw.rectangle((bx, by, bx + radius * 0.9, by + radius * 0.7), fill=_grey(rng, 40, 200, 20))


def _draw_thing(draw: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    """Draws something along the wall: a post, a box, a van, somebody far away."""
    x, foot = rng.uniform(-20, WIDTH), horizon + rng.uniform(-4, 40)
    kind = rng.random()
    if kind < 0.35:
        w, h = rng.uniform(2, 9), rng.uniform(40, 260)
        draw.rectangle((x, foot - h, x + w, foot), fill=_grey(rng, 25, 230))
    elif kind < 0.65:
        w, h = np.exp(rng.uniform(1.8, 4.4, 2))
        draw.rectangle((x, foot - h, x + w, foot), fill=_grey(rng, 20, 230, 24))
    elif kind < 0.8:
        h = rng.uniform(30, 90)
        w = 0.26 * h
        draw.rectangle((x, foot - 0.5 * h, x + w, foot), fill=_grey(rng, 20, 120, 14))
        draw.rectangle((x - 1, foot - 0.85 * h, x + w + 1, foot - 0.45 * h), fill=_grey(rng, 20, 240, 30))
        draw.ellipse((x + 0.2 * w, foot - h, x + 0.8 * w, foot - 0.83 * h), fill=_grey(rng, 20, 120, 10))
    else:
        draw_bicycle(draw, rng, x, foot, rng.uniform(12, 40))


def _draw_railing(draw: ImageDraw.ImageDraw, rng: np.random.Generator, horizon: int) -> None:
    colour, y = _grey(rng, 110, 245, 4), horizon + rng.uniform(-40, 60)
    slant = rng.uniform(-60, 60)
    for k in range(int(rng.integers(1, 4))):
        draw.line((0, y + 14 * k, WIDTH, y + slant + 14 * k), fill=colour, width=int(rng.integers(2, 5)))
    for x in np.arange(rng.uniform(0, 60), WIDTH, rng.uniform(30, 120)):
        draw.line((x, y + slant * x / WIDTH, x, y + 60 + slant * x / WIDTH), fill=colour, width=3)
