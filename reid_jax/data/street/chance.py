"""Draws that the street's pages share."""

from collections.abc import Mapping

import numpy as np
from PIL import Image


def pick(rng: np.random.Generator, odds: Mapping[str, float]) -> str:
    """Draws one of the names by its odds, which need not add up to 1."""
    weights = np.cumsum(list(odds.values()))
    return list(odds)[int(np.searchsorted(weights, rng.random() * weights[-1], side="right"))]


def smooth_noise(
    rng: np.random.Generator, height: int, width: int, cell_height: float, cell_width: float
) -> np.ndarray:
    """Normal noise float32 [height, width], smooth over cells of so many pixels."""
    rows, columns = int(height / cell_height) + 3, int(width / cell_width) + 3
    coarse = Image.fromarray(rng.standard_normal((rows, columns), np.float32))
    box = (0.5, 0.5, 0.5 + width / cell_width, 0.5 + height / cell_height)
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC, box=box), np.float32)
