"""One image: figures before a scene, things before them, the detector's box, and the camera."""

import functools
import math

import numpy as np
from PIL import Image

from reid_jax.data.street import scenes
from reid_jax.data.street.body import draw_riding, draw_stance
from reid_jax.data.street.camera import Camera, expose
from reid_jax.data.street.chance import smooth_noise
from reid_jax.data.street.detector import detect
from reid_jax.data.street.figure import Place, draw_figure
from reid_jax.data.street.people import PASSERS_BY, draw_passer_by, draw_person
from reid_jax.data.street.spec import IMAGE, StreetPeople, generator
from reid_jax.data.street.surface import Surfaces
from reid_jax.data.street.things import mount, occlude
from reid_jax.data.street.track import Track, draw_track

_HEIGHT, _WIDTH = 224, 152  # of the canvas on which figures are drawn, larger than an image
_SCALE, _FOOT = 158.0, 198.0  # pixels a body height, row of the feet


def draw_image(spec: StreetPeople, identity: int, camera_number: int, index: int) -> tuple[Image.Image, int]:
    """Draws one image, RGB of 128 x 64 pixels, and tells its JPEG quality: a function of its arguments alone."""
    track = draw_track(spec, identity, camera_number)
    rng = generator(spec.seed, IMAGE, identity, camera_number, index)
    looks, atlas = draw_person(spec.seed, identity)
    camera = track.camera
    canvas = _background(spec.seed, rng, track)
    if rng.random() < track.crowd:
        _add_other(canvas, spec.seed, rng, camera, behind=True)

    turned = rng.normal(0, 0.35) if rng.random() < 0.85 else rng.uniform(-math.pi, math.pi)
    place = Place(track.azimuth + turned, camera.pitch + rng.normal(0, 0.03), _SCALE, (_WIDTH / 2, _FOOT))
    surfaces = Surfaces(_HEIGHT, _WIDTH, camera.light, camera.ambient)
    stance = draw_riding(rng) if track.rides else draw_stance(rng, looks.build.stoop)
    draw_figure(surfaces, looks, stance, place, "none" if track.rides else track.carries)
    covered = surfaces.depth > -np.inf
    _shadow(canvas, camera, place)
    if track.rides:
        canvas = mount(canvas, place, rng)
    _paste(canvas, surfaces, atlas, rng)

    box = detect(covered, rng, track.looseness)
    if rng.random() < track.crowd * 0.5:
        _add_other(canvas, spec.seed, rng, camera, behind=False)
    if rng.random() < 0.1:
        canvas = occlude(canvas, rng, box)
    if track.veil:
        ramp = np.clip(1 + track.veil * np.linspace(-1, 1, _WIDTH, dtype=np.float32), 0.3, 1.5)
        canvas *= ramp[None, :, None]
    gain = math.exp(rng.normal(0, 0.09))
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


def _shadow(canvas: np.ndarray, camera: Camera, place: Place) -> None:
    """Darkens the ground at the feet, and away from the light."""
    top = int(_FOOT) - 24
    rows = np.arange(top, _HEIGHT, dtype=np.float32)[:, None] - place.foot[1]
    columns = np.arange(_WIDTH, dtype=np.float32)[None] - place.foot[0]
    lx, _, lz = camera.light
    shifted = ((columns + 25 * lx) / 34) ** 2 + ((rows - 5 * lz) / 8) ** 2
    canvas[top:] *= (1 - (1.1 - camera.ambient) * np.exp(-shifted))[..., None]


def _add_other(canvas: np.ndarray, seed: int, rng: np.random.Generator, camera: Camera, behind: bool) -> None:
    """Draws somebody else, behind or partly before the person."""
    looks, atlas = draw_passer_by(seed, int(rng.integers(PASSERS_BY)))
    side = 1 if rng.random() < 0.5 else -1
    away = rng.uniform(0.2, 0.55) if behind else rng.uniform(0.3, 0.5)
    size = rng.uniform(0.5, 0.95) if behind else rng.uniform(0.95, 1.15)
    foot = (_WIDTH / 2 + side * away * _SCALE * 0.6, _FOOT + (-35 * (1.1 - size) if behind else rng.uniform(0, 20)))
    surfaces = Surfaces(_HEIGHT, _WIDTH, camera.light, camera.ambient)
    place = Place(rng.uniform(-math.pi, math.pi), camera.pitch, _SCALE * size, foot)
    draw_figure(surfaces, looks, draw_stance(rng, looks.build.stoop), place)
    _paste(canvas, surfaces, atlas, rng)


def _paste(canvas: np.ndarray, surfaces: Surfaces, atlas: np.ndarray, rng: np.random.Generator) -> None:
    """Puts figures onto the canvas, in place, with folds over their cloth."""
    y, x = rng.integers(0, 100, 2)
    surfaces.paste(canvas, atlas, _folds()[y : y + _HEIGHT, x : x + _WIDTH])


@functools.lru_cache(maxsize=1)
def _folds() -> np.ndarray:
    """Folds of cloth: smooth noise around 1, float32, larger than the canvas."""
    rng = np.random.default_rng(0)
    shape = (_HEIGHT + 100, _WIDTH + 100)
    return 1 + 0.07 * smooth_noise(rng, *shape, 14, 6) + 0.05 * smooth_noise(rng, *shape, 5, 3)
