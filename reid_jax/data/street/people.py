"""People and passers-by of a set: their looks and atlases, made once and kept for a while."""

import functools

import numpy as np

from reid_jax.data.street.atlas import paint_atlas
from reid_jax.data.street.colours import draw_thing
from reid_jax.data.street.looks import Looks, draw_looks
from reid_jax.data.street.spec import PASSER_BY, PERSON, generator

PASSERS_BY = 40  # of a set: others than its people


@functools.lru_cache(maxsize=4)
def draw_person(seed: int, identity: int) -> tuple[Looks, np.ndarray]:
    """The looks and the atlas of one identity of a set."""
    return _draw(generator(seed, PERSON, identity))


@functools.lru_cache(maxsize=PASSERS_BY)
def draw_passer_by(seed: int, number: int) -> tuple[Looks, np.ndarray]:
    """The same of somebody whom no image is of; `number` below PASSERS_BY."""
    return _draw(generator(seed, PASSER_BY, number))


def _draw(rng: np.random.Generator) -> tuple[Looks, np.ndarray]:
    looks = draw_looks(rng)
    return looks, paint_atlas(looks, draw_thing(rng))
