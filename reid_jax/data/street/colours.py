"""Colours of clothes, skin and hair, as a summer's street has them: mostly dark, white or grey, few of them vivid."""

import colorsys

import numpy as np

from reid_jax.data.street.chance import pick

_TOPS = {"white": 27, "black": 24, "grey": 14, "dull": 13, "vivid": 22}
_BOTTOMS = {"white": 5, "black": 40, "grey": 18, "denim": 24, "khaki": 8, "dull": 4, "vivid": 1}
_THINGS = {"white": 8, "black": 42, "grey": 12, "dull": 20, "vivid": 18}
_SHOES = {"white": 22, "black": 38, "grey": 14, "dull": 14, "vivid": 12}
# Odds of vivid colours, their hue and its deviation.
_VIVID = {"red": (36, 0.98, 0.025), "yellow": (12, 0.12, 0.04), "blue": (28, 0.6, 0.04), "any": (24, 0.5, 0.3)}
_SKIN_LIGHT, _SKIN_DARK = np.array((0.91, 0.77, 0.7)), np.array((0.4, 0.29, 0.24))
_HAIR = {"black": 82, "brown": 13, "fair": 3, "grey": 2}


def _hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value), np.float32)


def _of_family(rng: np.random.Generator, family: str) -> np.ndarray:
    hue = rng.random()
    if family == "white":
        return _hsv(hue, rng.uniform(0, 0.07), rng.uniform(0.8, 0.97))
    if family == "black":
        return _hsv(hue, rng.uniform(0, 0.3), rng.uniform(0.06, 0.2))
    if family == "grey":
        return _hsv(hue, rng.uniform(0, 0.12), rng.uniform(0.25, 0.75))
    if family == "denim":
        return _hsv(rng.normal(0.61, 0.02), rng.uniform(0.12, 0.45), rng.uniform(0.18, 0.6))
    if family == "khaki":
        return _hsv(rng.normal(0.1, 0.02), rng.uniform(0.1, 0.32), rng.uniform(0.35, 0.75))
    if family == "dull":
        return _hsv(hue, rng.uniform(0.15, 0.5), rng.uniform(0.2, 0.85))
    middle, spread = _VIVID[pick(rng, {name: odds for name, (odds, *_) in _VIVID.items()})][1:]
    return _hsv(rng.normal(middle, spread), rng.uniform(0.55, 0.95), rng.uniform(0.35, 0.95))


def draw_top(rng: np.random.Generator) -> np.ndarray:
    """A colour of shirts, jackets and dresses: float32 [3] in 0..1, as all colours here."""
    return _of_family(rng, pick(rng, _TOPS))


def draw_bottom(rng: np.random.Generator) -> np.ndarray:
    """A colour of trousers, shorts and skirts."""
    return _of_family(rng, pick(rng, _BOTTOMS))


def draw_thing(rng: np.random.Generator) -> np.ndarray:
    """A colour of bags, hats and what is carried."""
    return _of_family(rng, pick(rng, _THINGS))


def draw_shoes(rng: np.random.Generator) -> np.ndarray:
    """A colour of shoes."""
    return _of_family(rng, pick(rng, _SHOES))


def draw_skin(rng: np.random.Generator) -> np.ndarray:
    """A skin, mostly light or medium."""
    depth = rng.beta(1.3, 3.0)
    return (_SKIN_LIGHT * (1 - depth) + _SKIN_DARK * depth + rng.normal(0, 0.015, 3)).astype(np.float32)


def draw_hair(rng: np.random.Generator) -> np.ndarray:
    """A hair's colour, mostly black."""
    family = pick(rng, _HAIR)
    if family == "black":
        return _hsv(0.07, rng.uniform(0, 0.35), rng.uniform(0.05, 0.14))
    if family == "brown":
        return _hsv(rng.normal(0.06, 0.015), rng.uniform(0.4, 0.65), rng.uniform(0.15, 0.4))
    if family == "fair":
        return _hsv(rng.normal(0.1, 0.015), rng.uniform(0.3, 0.55), rng.uniform(0.5, 0.8))
    return _hsv(0.1, 0.05, rng.uniform(0.4, 0.75))


def apart(rng: np.random.Generator, first: np.ndarray, draw, least: float = 0.35) -> np.ndarray:
    """A colour by `draw(rng)` that can be told from `first`: their channels differ by `least` in sum."""
    for _ in range(20):
        second = draw(rng)
        if np.abs(second - first).sum() >= least:
            break
    return second
