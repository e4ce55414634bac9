"""Descriptors placed on a plane (t-SNE), as values: near on the map is near for the network, mostly."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from reid_jax.errors import InputError
from reid_jax.progress import announce
from reid_jax.visualize.failures import require

if TYPE_CHECKING:
    from reid_jax.embed import Items

ITEMS = 1000
IDENTITIES = 20
LEAST_ITEMS = 8  # fewer have no neighbourhoods to keep
MOST_IDENTITIES = 42  # colours and shapes that differ
UNKNOWN_CAMERA = -1
COLOR_BY = ("identity", "camera")


@dataclasses.dataclass(frozen=True)
class EmbeddingMap:
    """Items placed on a plane; all arrays share their first axis.

    position: float32 [n, 2]. identity, camera: int32 [n]. name: str [n]. side: str [n], 'query' or 'gallery'.
    colored: the identities that a map by identity tells apart, the rest is grey.
    """

    position: np.ndarray
    identity: np.ndarray
    camera: np.ndarray
    name: np.ndarray
    side: np.ndarray
    colored: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.identity)


def choose_items(
    query_identity: np.ndarray,
    gallery_identity: np.ndarray,
    *,
    items: int = ITEMS,
    identities: int = IDENTITIES,
    seed: int = 0,
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Chooses what a map shows: all items of some identities, and others drawn at random until it is full.

    The identities are drawn by `seed` among those on both sides, so no distractor of the gallery is among them.

    Args:
      query_identity: int [nq]. gallery_identity: int [ng].
      items: how many items at most. identities: how many of them are told apart, at most.

    Returns:
      int64 [at most items], ascending, numbers into queries followed by gallery items; and the identities, ascending.

    Raises:
      InputError: items or identities are out of range.
    """
    if items < LEAST_ITEMS:
        raise InputError(f"a map of {items} items has too few; give at least {LEAST_ITEMS}")
    if not 1 <= identities <= MOST_IDENTITIES:
        raise InputError(
            f"a map cannot have {identities} identities in colour; give 1 to {MOST_IDENTITIES}: more colours "
            "and shapes cannot be told apart"
        )
    rng = np.random.default_rng(seed)
    identity = np.concatenate([query_identity, gallery_identity])
    both = np.intersect1d(query_identity, gallery_identity)
    chosen: list[np.ndarray] = []
    colored: list[int] = []
    left = items
    for number in rng.permutation(both)[:identities].tolist():
        rows = np.flatnonzero(identity == number)
        if len(rows) > left:
            rows = np.sort(rng.choice(rows, left, replace=False))
        if not len(rows):
            break
        chosen.append(rows)
        colored.append(int(number))
        left -= len(rows)
    others = np.flatnonzero(~np.isin(identity, colored))
    chosen.append(rng.choice(others, min(left, len(others)), replace=False))
    return np.sort(np.concatenate(chosen)), tuple(sorted(colored))


def project(embedding: np.ndarray, seed: int = 0) -> np.ndarray:
    """Places descriptors [n, d] on a plane: float32 [n, 2], t-SNE (van der Maaten and Hinton, JMLR 2008).

    Perplexity 30, or a quarter of the items where they are few; started from the principal components; the same seed
    gives the same map. A line on stderr says that it has begun: it takes a while.

    Raises:
      InputError: scikit-learn is missing, there are fewer than 8 items, or an embedding is not finite.
    """
    embedding = np.asarray(embedding, np.float32)
    if len(embedding) < LEAST_ITEMS:
        raise InputError(f"a map of {len(embedding)} items has no neighbourhoods; give at least {LEAST_ITEMS}")
    if not np.isfinite(embedding).all():
        raise InputError("some embeddings are not finite and have no place on a map; look at the weights")
    require("scikit-learn")
    from sklearn.manifold import TSNE

    announce(f"placing {len(embedding):,} descriptors on a plane (t-SNE)")
    # Where all descriptors are equal there are no principal components to start from.
    start = "pca" if np.ptp(embedding, axis=0).max() > 0 and embedding.shape[1] > 1 else "random"
    tsne = TSNE(perplexity=min(30.0, len(embedding) / 4), init=start, learning_rate="auto", random_state=seed)
    return tsne.fit_transform(embedding).astype(np.float32)


def map_items(
    query: "Items", gallery: "Items", *, items: int = ITEMS, identities: int = IDENTITIES, seed: int = 0
) -> EmbeddingMap:
    """Chooses items of both sides (`choose_items`) and places them (`place_items`).

    Raises InputError as these do.
    """
    rows, colored = choose_items(query.identity, gallery.identity, items=items, identities=identities, seed=seed)
    count = len(query.identity)
    return place_items(_take(query, rows[rows < count]), _take(gallery, rows[rows >= count] - count), colored, seed)


def place_items(query: "Items", gallery: "Items", colored: tuple[int, ...], seed: int = 0) -> EmbeddingMap:
    """Places all items of both sides (`project`); `colored` are the identities to tell apart."""

    def both(field: str) -> np.ndarray:
        return np.concatenate([getattr(query, field), getattr(gallery, field)])

    side = np.repeat(["query", "gallery"], [len(query.identity), len(gallery.identity)])
    return EmbeddingMap(project(both("embedding"), seed), both("identity"), both("camera"), both("name"), side, colored)


def _take(items: "Items", rows: np.ndarray) -> "Items":
    return dataclasses.replace(
        items, **{field.name: getattr(items, field.name)[rows] for field in dataclasses.fields(items)}
    )


def groups(shown: EmbeddingMap, color: str) -> list[tuple[str | None, np.ndarray]]:
    """Returns what is drawn alike, in order: (name or None for the grey rest, int64 rows of the map).

    Raises InputError where `color` is unknown.
    """
    if color not in COLOR_BY:
        raise InputError(f"a map cannot be coloured by {color!r}; choose identity or camera")
    if color == "camera":
        names = {number: "unknown" if number == UNKNOWN_CAMERA else str(number) for number in np.unique(shown.camera)}
        return [(name, np.flatnonzero(shown.camera == number)) for number, name in names.items()]
    rest = np.flatnonzero(~np.isin(shown.identity, shown.colored))
    named = [(str(number), np.flatnonzero(shown.identity == number)) for number in shown.colored]
    return named + ([(None, rest)] if len(rest) else [])
