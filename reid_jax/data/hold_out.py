"""Training identities held out to choose by, so that no choice looks at the test set."""

from typing import TypeVar

import numpy as np

from reid_jax.data.images import Split
from reid_jax.data.split import StoredSplit
from reid_jax.data.tracklets import items_of
from reid_jax.errors import InputError

AnySplit = TypeVar("AnySplit", Split, StoredSplit)

HOLD_OUT_SEED = 0  # of every run: the same identities for every config.seed, so that runs of several seeds compare


def hold_out(train: AnySplit, identities: int, seed: int) -> tuple[AnySplit, AnySplit, AnySplit]:
    """Takes whole identities out of training as a validation set: (training rest, query, gallery).

    Images that are on disk stay there.

    The identities are drawn by `seed` among those that at least two cameras see. Of each of their cameras one
    item (an image, or a whole tracklet) drawn by `seed` is a query, and the rest are gallery; where fewer than two
    cameras saw an identity more than once, one camera's only item stays in the gallery instead, so that every query
    has a match in another camera. Where no camera is known, an identity with two items or more gives one query.

    Raises:
      InputError: `identities` is below 1, or too few are there to leave two for training.
    """
    if identities < 1:
        raise InputError(f"hold_out of {identities} identities; give at least 1, or do not hold out")
    rng = np.random.default_rng(seed)
    order = np.argsort(train.identity, kind="stable")
    present, starts = np.unique(train.identity[order], return_index=True)
    rows_of = dict(zip(present.tolist(), np.split(order, starts[1:]), strict=True))
    query = np.zeros(len(train), bool)
    gallery = np.zeros(len(train), bool)
    taken = 0
    for identity in rng.permutation(present).tolist():
        if taken == identities:
            break
        rows = rows_of[identity]
        first, item = items_of(train.tracklet[rows])
        chosen = _choose_queries(train.camera[rows[first]], rng)
        if chosen is None:
            continue
        query[rows[chosen[item]]] = True
        gallery[rows[~chosen[item]]] = True
        taken += 1
    if taken < identities or len(present) - taken < 2:
        raise InputError(
            f"cannot hold {identities} of {len(present)} training identities out: each needs two "
            "cameras, and two identities must stay for training; hold out fewer, or add training images"
        )
    return train.subset(~(query | gallery)), train.subset(query), train.subset(gallery)


def _choose_queries(camera: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Which of one identity's items are queries, bool [n]; None where no query could have a match."""
    chosen = np.zeros(len(camera), bool)
    if (camera < 0).all():  # cameras unknown: nothing is removed as same-camera, any other item is a match
        if len(camera) < 2:
            return None
        chosen[rng.integers(len(camera))] = True
        return chosen
    cameras, counts = np.unique(camera, return_counts=True)
    if len(cameras) < 2:
        return None
    for seen_by in cameras:
        chosen[rng.choice(np.flatnonzero(camera == seen_by))] = True
    if (counts > 1).sum() < 2:
        # The gallery would show one camera at most, and that camera's query would have no match.
        spared = rng.choice(cameras[counts == 1])
        chosen[camera == spared] = False
    return chosen
