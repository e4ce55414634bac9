"""The detector: its box about a figure, mostly tight, sometimes cut or far too large, as real ones are."""

import math

import numpy as np

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels


def detect(covered: np.ndarray, rng: np.random.Generator, looseness: float) -> Box:
    """Draws a box about a figure (bool [h, w]), nearly three times as high as wide, within the picture.

    Made an image of 2:1, its figure is as squat as detectors' crops of people are there.
    `looseness` is the margin above and below, in heights of the figure.
    """
    height, width = covered.shape
    rows = np.flatnonzero(covered.any(1))
    columns = np.flatnonzero(covered.any(0))
    top, bottom = float(rows[0]), float(rows[-1] + 1)
    # It follows the trunk rather than what reaches out.
    middle = 0.7 * width / 2 + 0.3 * (columns[0] + columns[-1] + 1) / 2
    tall = bottom - top
    top -= tall * (looseness + rng.normal(0, 0.015))
    bottom += tall * (looseness + rng.normal(0, 0.02))
    kind = rng.random()
    if kind < 0.06:  # cut at the legs
        bottom -= tall * rng.uniform(0.05, 0.35)
    elif kind < 0.075:  # cut at the head
        top += tall * rng.uniform(0.03, 0.12)
    elif kind < 0.13:  # far too large
        grown = tall * rng.uniform(0.1, 0.5)
        share = rng.random()
        top, bottom = top - grown * share, bottom + grown * (1 - share)
    top, bottom = max(top, 0.0), min(bottom, float(height))
    wide = (bottom - top) / 2 * math.exp(rng.normal(-0.33, 0.08))
    middle += wide * rng.normal(0, 0.05)
    left, right = max(middle - wide / 2, 0.0), min(middle + wide / 2, float(width))
    return left, top, right, bottom
