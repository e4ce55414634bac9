"""What a detector makes of a synthetic frame: misses, shaken boxes, and boxes of nobody."""

import numpy as np

from reid_jax.tracking.scene.frame import Stage, Truth
from reid_jax.tracking.scene.room import DEPTH, WIDTH
from reid_jax.tracking.scene.spec import DETECTIONS, SyntheticScene, generator

_HIDDEN, _CLEAR = 0.2, 0.6  # visibilities up to which nobody is found, and from which on only `miss_rate` is missed
_LEAST = 4.0  # pixels of a box's sides: smaller ones are no detections


def hit_rate(spec: SyntheticScene, visibility: float) -> float:
    """The chance that somebody is detected: 0 up to a visibility of 0.2, 1 - miss_rate from 0.6 on, linear between."""
    return (1 - spec.miss_rate) * min(1.0, max(0.0, (visibility - _HIDDEN) / (_CLEAR - _HIDDEN)))


def draw_detections(
    spec: SyntheticScene, stage: Stage, camera: int, frame: int, truth: list[Truth]
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes float64 [n, 4] as (left, top, width, height) within the image, and confidences float64 [n] in 0 to 1.

    An edge is off by a normal error of jitter x (1 + 2 (1 - visibility)) of the box's width or height. Confidence is
    about 0.95 for somebody wholly seen and 0.55 for somebody hardly seen; false detections, as large as a person would
    be somewhere on the floor, have 0.2 to 0.6. The order says nothing about who is who.
    """
    rng = generator(spec, DETECTIONS, camera, frame)
    boxes, confidences = [], []
    for person in truth:
        # Drawn for everybody, so that another miss rate leaves the other boxes where they are.
        chance, shift, noise = rng.random(), rng.normal(0, 1, 4), rng.normal(0, 0.04)
        if chance >= hit_rate(spec, person.visibility):
            continue
        left, top, width, height = person.box
        spread = spec.jitter * (1 + 2 * (1 - person.visibility))
        edges = np.array((left, top, left + width, top + height))
        boxes.append(edges + spread * shift * (width, height, width, height))
        confidences.append(0.5 + 0.45 * person.visibility + noise)
    for _ in range(rng.poisson(spec.false_rate)):
        spot = rng.uniform(1.0, (WIDTH - 1.0, DEPTH - 1.0))
        left, top, width, height = stage.stand_in(spot, rng.uniform(1.0, 1.8))
        boxes.append(np.array((left, top, left + width, top + height)))
        confidences.append(rng.uniform(0.2, 0.6))
    edges = np.array(boxes).reshape(-1, 4)
    edges = np.clip(edges, 0, (spec.width, spec.height, spec.width, spec.height))
    box = np.concatenate([edges[:, :2], edges[:, 2:] - edges[:, :2]], 1).round(2)
    confidence = np.clip(np.array(confidences), 0.05, 1).round(3)
    order = rng.permutation(len(box))
    kept = order[(box[order, 2:] >= _LEAST).all(1)]
    return box[kept], confidence[kept]
