"""One image: figures before a scene, things before them, the detector's box, and the camera."""

import dataclasses
import functools
import math

import numpy as np
from PIL import Image, ImageDraw

from reid_jax.data.street import colours, scenes
from reid_jax.data.street.atlas import paint_atlas
from reid_jax.data.street.body import draw_riding, draw_stance
from reid_jax.data.street.camera import Camera, draw_camera, expose
from reid_jax.data.street.chance import pick, smooth_noise
from reid_jax.data.street.figure import Place, draw_figure
from reid_jax.data.street.looks import Looks, draw_looks
from reid_jax.data.street.spec import IMAGE, PASSER_BY, PERSON, TRACK, StreetPeople, generator
from reid_jax.data.street.surface import Surfaces

_HEIGHT, _WIDTH = 224, 152  # of the canvas on which figures are drawn, larger than an image
_SCALE, _FOOT = 158.0, 198.0  # pixels a body height, row of the feet
_PASSERS_BY = 40  # of a set: others than its people
_CARRIED = {"none": 70, "bag": 12, "phone": 10, "parcel": 8}


@dataclasses.dataclass(frozen=True)
class Track:
    """What stays the same while one person passes one camera."""

    camera: Camera
    azimuth: float
    scene: int
    zoom: float
    across: float  # where in the scene, 0 to 1
    tint: np.ndarray  # float32 [3], of the scene
    carries: str
    rides: bool
    looseness: float  # of the detector's boxes
    crowd: float  # probability of others in the picture
    veil: float  # darkening towards one side, a shadow's edge


@functools.lru_cache(maxsize=4)
def draw_person(seed: int, identity: int) -> tuple[Looks, np.ndarray]:
    """The looks and the atlas of one identity of a set."""
    rng = generator(seed, PERSON, identity)
    looks = draw_looks(rng)
    return looks, paint_atlas(looks, colours.draw_thing(rng))


@functools.lru_cache(maxsize=_PASSERS_BY)
def _draw_passer_by(seed: int, number: int) -> tuple[Looks, np.ndarray]:
    rng = generator(seed, PASSER_BY, number)
    looks = draw_looks(rng)
    return looks, paint_atlas(looks, colours.draw_thing(rng))


@functools.lru_cache(maxsize=1)
def _folds() -> np.ndarray:
    """Folds of cloth: smooth noise around 1, float32, larger than the canvas."""
    rng = np.random.default_rng(0)
    shape = (_HEIGHT + 100, _WIDTH + 100)
    return 1 + 0.09 * smooth_noise(rng, *shape, 14, 6) + 0.06 * smooth_noise(rng, *shape, 5, 3)


def draw_track(spec: StreetPeople, identity: int, camera_number: int) -> Track:
    """Draws how a person passes a camera."""
    rng = generator(spec.seed, TRACK, identity, camera_number)
    facing = pick(rng, {"front": 32, "back": 32, "left": 12, "right": 12, "any": 12})
    angle = {"front": 0.0, "back": math.pi, "left": math.pi / 2, "right": -math.pi / 2, "any": rng.uniform(0, 6.3)}[
        facing
    ]
    return Track(
        camera=draw_camera(rng),
        azimuth=angle + rng.normal(0, 0.35),
        scene=int(rng.integers(scenes.SCENES)),
        zoom=float(rng.uniform(0.55, 1.3)),
        across=float(rng.random()),
        tint=np.exp(rng.normal(0, 0.04, 3) + rng.normal(0, 0.14)).astype(np.float32),
        carries=pick(rng, _CARRIED),
        rides=bool(rng.random() < 0.06),
        looseness=float(rng.uniform(-0.01, 0.035)),
        crowd=float(rng.choice([0.05, 0.3])),
        veil=float(rng.normal(0, 0.25)) if rng.random() < 0.3 else 0.0,
    )


def draw_image(spec: StreetPeople, identity: int, camera_number: int, index: int) -> tuple[Image.Image, int]:
    """Draws one image, RGB of 128 x 64 pixels, and tells its JPEG quality: a function of its arguments alone."""
    track = draw_track(spec, identity, camera_number)
    rng = generator(spec.seed, IMAGE, identity, camera_number, index)
    looks, atlas = draw_person(spec.seed, identity)
    camera = track.camera
    canvas = _background(spec.seed, rng, track)
    if rng.random() < track.crowd:
        _add_other(canvas, spec.seed, rng, camera, behind=True)

    turned = rng.normal(0, 0.25) if rng.random() < 0.85 else rng.uniform(-math.pi, math.pi)
    place = Place(track.azimuth + turned, camera.pitch + rng.normal(0, 0.03), _SCALE, (_WIDTH / 2, _FOOT))
    surfaces = Surfaces(_HEIGHT, _WIDTH, camera.light, camera.ambient)
    stance = draw_riding(rng) if track.rides else draw_stance(rng, looks.build.stoop)
    draw_figure(surfaces, looks, stance, place, "none" if track.rides else track.carries)
    covered = surfaces.depth > -np.inf
    _shadow(canvas, camera, place)
    if track.rides:
        canvas = _mount(canvas, place, rng)
    _paste(canvas, surfaces, atlas, rng)

    box = _detect(covered, rng, track)
    if rng.random() < track.crowd * 0.5:
        _add_other(canvas, spec.seed, rng, camera, behind=False)
    if rng.random() < 0.1:
        canvas = _occlude(canvas, rng, box)
    if track.veil:
        ramp = np.clip(1 + track.veil * np.linspace(-1, 1, _WIDTH, dtype=np.float32), 0.3, 1.5)
        canvas *= ramp[None, :, None]
    gain = math.exp(rng.normal(0, 0.07))
    return expose(np.clip(canvas, 0, 255).astype(np.uint8), box, camera, gain, rng), camera.quality


def _background(seed: int, rng: np.random.Generator, track: Track) -> np.ndarray:
    """A window of the track's scene: float32 [h, w, 3]."""
    height, width = _HEIGHT * track.zoom, _WIDTH * track.zoom
    height, width = min(height, scenes.HEIGHT), min(width, scenes.WIDTH)
    left = np.clip(track.across + rng.normal(0, 0.06), 0, 1) * (scenes.WIDTH - width)
    top = np.clip(0.5 + rng.normal(0, 0.3), 0, 1) * (scenes.HEIGHT - height)
    scene = Image.fromarray(scenes.draw_scene(seed, track.scene))
    window = scene.resize((_WIDTH, _HEIGHT), Image.Resampling.BILINEAR, box=(left, top, left + width, top + height))
    return np.asarray(window, np.float32) * track.tint


def _paste(canvas: np.ndarray, surfaces: Surfaces, atlas: np.ndarray, rng: np.random.Generator) -> None:
    """Puts figures onto the canvas, in place, with folds over their cloth."""
    y, x = rng.integers(0, 100, 2)
    surfaces.paste(canvas, atlas, _folds()[y : y + _HEIGHT, x : x + _WIDTH])


def _shadow(canvas: np.ndarray, camera: Camera, place: Place) -> None:
    """Darkens the ground at the feet, and away from the light."""
    top = int(_FOOT) - 24
    rows = np.arange(top, _HEIGHT, dtype=np.float32)[:, None] - place.foot[1]
    columns = np.arange(_WIDTH, dtype=np.float32)[None] - place.foot[0]
    lx, _, lz = camera.light
    shifted = ((columns + 25 * lx) / 34) ** 2 + ((rows - 5 * lz) / 8) ** 2
    canvas[top:] *= (1 - (1.1 - camera.ambient) * np.exp(-shifted))[..., None]


def _mount(canvas: np.ndarray, place: Place, rng: np.random.Generator) -> np.ndarray:
    """Draws the bicycle under somebody who rides."""
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
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
    return np.asarray(image, np.float32).copy()


def _add_other(canvas: np.ndarray, seed: int, rng: np.random.Generator, camera: Camera, behind: bool) -> None:
    """Draws somebody else, behind or partly before the person."""
    looks, atlas = _draw_passer_by(seed, int(rng.integers(_PASSERS_BY)))
    side = 1 if rng.random() < 0.5 else -1
    away = rng.uniform(0.2, 0.55) if behind else rng.uniform(0.3, 0.5)
    size = rng.uniform(0.5, 0.95) if behind else rng.uniform(0.95, 1.15)
    foot = (_WIDTH / 2 + side * away * _SCALE * 0.6, _FOOT + (-35 * (1.1 - size) if behind else rng.uniform(0, 20)))
    surfaces = Surfaces(_HEIGHT, _WIDTH, camera.light, camera.ambient)
    place = Place(rng.uniform(-math.pi, math.pi), camera.pitch, _SCALE * size, foot)
    draw_figure(surfaces, looks, draw_stance(rng, looks.build.stoop), place)
    _paste(canvas, surfaces, atlas, rng)


def _detect(covered: np.ndarray, rng: np.random.Generator, track: Track) -> tuple[float, float, float, float]:
    """The detector's box about a figure, twice as high as wide, within the canvas."""
    rows = np.flatnonzero(covered.any(1))
    columns = np.flatnonzero(covered.any(0))
    top, bottom = float(rows[0]), float(rows[-1] + 1)
    # It follows the trunk rather than what reaches out.
    middle = 0.7 * _WIDTH / 2 + 0.3 * (columns[0] + columns[-1] + 1) / 2
    tall = bottom - top
    top -= tall * (track.looseness + rng.normal(0, 0.015))
    bottom += tall * (track.looseness + rng.normal(0, 0.02))
    kind = rng.random()
    if kind < 0.06:  # cut at the legs
        bottom -= tall * rng.uniform(0.05, 0.35)
    elif kind < 0.075:  # cut at the head
        top += tall * rng.uniform(0.03, 0.12)
    elif kind < 0.13:  # far too large
        grown = tall * rng.uniform(0.1, 0.5)
        share = rng.random()
        top, bottom = top - grown * share, bottom + grown * (1 - share)
    top, bottom = max(top, 0.0), min(bottom, float(_HEIGHT))
    wide = (bottom - top) / 2 * math.exp(rng.normal(-0.08, 0.05))
    middle += wide * rng.normal(0, 0.05)
    left, right = max(middle - wide / 2, 0.0), min(middle + wide / 2, float(_WIDTH))
    return left, top, right, bottom


def _occlude(canvas: np.ndarray, rng: np.random.Generator, box: tuple[float, float, float, float]) -> np.ndarray:
    """Puts something before the person: a pole, a rail, a bicycle, something low."""
    left, top, right, bottom = box
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    fill = tuple(int(value) for value in np.clip(rng.uniform(20, 220) + rng.normal(0, 15, 3), 0, 255))
    kind = pick(rng, {"pole": 2, "rail": 3, "bicycle": 4, "low": 3})
    x, y = rng.uniform(left, right), rng.uniform(top + 0.5 * (bottom - top), bottom)
    if kind == "pole":
        draw.rectangle((x, 0, x + rng.uniform(3, 14), _HEIGHT), fill=fill)
    elif kind == "rail":
        for k in range(int(rng.integers(1, 4))):
            draw.line(
                (0, y + 12 * k, _WIDTH, y + 12 * k + rng.uniform(-15, 15)), fill=fill, width=int(rng.integers(2, 6))
            )
    elif kind == "bicycle":
        scenes.draw_bicycle(draw, rng, x - 30, bottom + rng.uniform(-8, 10), rng.uniform(20, 36))
    else:
        draw.rectangle((x - rng.uniform(5, 60), y, x + rng.uniform(5, 60), _HEIGHT), fill=fill)
    return np.asarray(image, np.float32)
