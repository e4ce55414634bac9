"""Cloth: the pattern of a fabric over a surface that is unrolled into rows (along) and columns (around).

A fabric is drawn over `length` (float32 [h, 1], along) and `around` (float32 [1, w], 0 in front), both in body heights,
so that stripes are as wide on a sleeve as on a chest: float32 [h, w, 3] in 0..1.
"""

import dataclasses

import numpy as np

from reid_jax.data.street.chance import pick, smooth_noise
from reid_jax.data.street.colours import apart

_PATTERNS = {
    "plain": 85,
    "heather": 8,
    "stripes": 9,
    "pinstripes": 4,
    "checks": 9,
    "gingham": 3,
    "print": 8,
    "dots": 3,
    "fade": 2,
    "camouflage": 1,
}


@dataclasses.dataclass(frozen=True)
class Fabric:
    """A pattern's name, its colours, and its size in body heights; `seed` draws what is irregular in it."""

    pattern: str
    colour: np.ndarray
    second: np.ndarray
    third: np.ndarray
    size: float
    share: float  # of the second colour
    seed: int


def draw_fabric(rng: np.random.Generator, draw_colour, plain: float = 1.0) -> Fabric:
    """Draws a fabric whose colours are drawn by `draw_colour(rng)`; `plain` multiplies the odds of no pattern."""
    colour = draw_colour(rng)
    return Fabric(
        pattern=pick(rng, _PATTERNS | {"plain": _PATTERNS["plain"] * plain}),
        colour=colour,
        second=apart(rng, colour, draw_colour),
        third=draw_colour(rng),
        size=float(np.exp(rng.uniform(np.log(0.012), np.log(0.07)))),
        share=float(rng.uniform(0.2, 0.55)),
        seed=int(rng.integers(2**31)),
    )


def _bands(where: np.ndarray, period: float, share: float) -> np.ndarray:
    """1 within bands that cover `share` of each period, 0 between."""
    return ((where / period) % 1.0 < share).astype(np.float32)


def weave(fabric: Fabric, length: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Draws the fabric over a surface; see the module."""
    rng = np.random.default_rng(fabric.seed)
    shape = np.broadcast_shapes(length.shape, around.shape)
    first, second, third = (colour[None, None] for colour in (fabric.colour, fabric.second, fabric.third))
    size, share = fabric.size, fabric.share
    cells = _cell(length, around, size)
    if fabric.pattern == "heather":
        mixed = np.broadcast_to(0.18 * rng.standard_normal(shape, np.float32), shape)[..., None]
        cloth = first + mixed * 0.5
    elif fabric.pattern == "stripes":
        cloth = _mix(first, second, _bands(length, 1.6 * size, share) + 0 * around)
    elif fabric.pattern == "pinstripes":
        cloth = _mix(first, second, 0.7 * _bands(around, 0.8 * size, min(share, 0.35)) + 0 * length)
    elif fabric.pattern == "checks":
        across, down = _bands(length, 1.8 * size, share), _bands(around, 1.8 * size, share)
        cloth = _mix(
            _mix(first, second, 0.5 * (across + down)), third, 0.6 * _bands(length + 0 * around, 1.8 * size, 0.1)
        )
    elif fabric.pattern == "gingham":
        cloth = _mix(first, second, 0.5 * (_bands(length, size, 0.5) + _bands(around, size, 0.5)))
    elif fabric.pattern == "print":
        blobs, sprigs = smooth_noise(rng, *shape, *cells), smooth_noise(rng, *shape, *cells)
        cloth = _mix(_mix(first, second, (blobs > 1.1 - 1.6 * share)), third, (sprigs > 1.0))
    elif fabric.pattern == "dots":
        rows, columns = (length / size) % 1 - 0.5, (around / size + 0.5 * (np.floor(length / size) % 2)) % 1 - 0.5
        cloth = _mix(first, second, (rows**2 + columns**2 < 0.09).astype(np.float32))
    elif fabric.pattern == "fade":
        cloth = _mix(first, second, np.clip(length / 0.3, 0, 1) + 0 * around)
    elif fabric.pattern == "camouflage":
        blobs, others = smooth_noise(rng, *shape, *cells), smooth_noise(rng, *shape, *cells)
        cloth = _mix(_mix(first, 0.6 * first, blobs > 0.3), 0.5 * first + 0.5 * second, others > 0.6)
    else:
        cloth = np.broadcast_to(first, (*shape, 3))
    folds = 1 + 0.03 * smooth_noise(rng, *shape, 12, 9) + 0.02 * rng.standard_normal(shape, np.float32)
    return (cloth * folds[..., None]).astype(np.float32)


def _mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    share = np.asarray(share, np.float32)[..., None]
    return first + share * (second - first)


def _cell(length: np.ndarray, around: np.ndarray, size: float) -> tuple[float, float]:
    """Rows and columns that `size` body heights take on the surface, at least one."""
    rows = size / max(float(length[1, 0] - length[0, 0]), 1e-4)
    columns = size / max(float(around[0, 1] - around[0, 0]), 1e-4)
    return max(1.0, rows), max(1.0, columns)
