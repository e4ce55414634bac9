"""Ranked results as values: queries of an evaluation, each with its nearest gallery images."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reid_jax.errors import InputError
from reid_jax.retrieval import metrics

if TYPE_CHECKING:
    from reid_jax.data.images import Images
    from reid_jax.evaluate import Evaluation

ORDERS = ("random", "worst", "best")


@dataclasses.dataclass(frozen=True)
class Result:
    """One gallery item in a query's list; `image` uint8 [h, w, 3], `rank` from 1, `camera` -1 where unknown."""

    rank: int
    name: str
    identity: int
    camera: int
    distance: float
    correct: bool
    image: np.ndarray


@dataclasses.dataclass(frozen=True)
class RankedQuery:
    """A query and its nearest gallery items, nearest first.

    image: uint8 [h, w, 3]. average_precision: NaN without a match. first_correct: the rank of the nearest match, which
    may lie beyond `results`; 0 without a match.
    """

    name: str
    identity: int
    camera: int
    average_precision: float
    first_correct: int
    image: np.ndarray
    results: tuple[Result, ...]

    @property
    def note(self) -> str:
        """Where the first correct result stands, in words."""
        return f"first at {self.first_correct}" if self.first_correct else "no match"

    def record(self) -> dict[str, Any]:
        """Everything but the images, as JSON takes it."""
        precision = None if np.isnan(self.average_precision) else self.average_precision
        results = [{key: value for key, value in vars(result).items() if key != "image"} for result in self.results]
        return {
            "query": self.name,
            "identity": self.identity,
            "camera": self.camera,
            "average_precision": precision,
            "results": results,
        }


def choose_rows(
    average_precision: np.ndarray,
    count: int,
    order: Literal["random", "worst", "best"] = "random",
    seed: int = 0,
) -> np.ndarray:
    """Chooses the queries of a sheet among those with a match.

    Args:
      average_precision: float [queries], NaN for a query without a match, which is never chosen.
      count: how many; fewer come back if fewer have a match.
      order: 'random' draws without replacement, in query order; 'worst' and 'best' sort by average precision,
        the lower index first at equal ones.
      seed: of the draw.

    Returns:
      int64 [at most count], indices of queries.

    Raises:
      InputError: the order is unknown or the count below 1.
    """
    if count < 1:
        raise InputError(f"a sheet of {count} rows shows nothing; give at least 1")
    with_match = np.flatnonzero(~np.isnan(average_precision))
    if order == "random":
        rng = np.random.default_rng(seed)
        return np.sort(rng.choice(with_match, min(count, len(with_match)), replace=False))
    if order not in ORDERS:
        raise InputError(f"order of rows {order!r} is unknown; give 'random', 'worst' or 'best'")
    sign = 1 if order == "worst" else -1
    return with_match[np.argsort(sign * np.asarray(average_precision)[with_match], kind="stable")][:count]


def rank_queries(
    query: "Images", gallery: "Images", evaluation: "Evaluation", rows: Sequence[int], top: int = 10
) -> list[RankedQuery]:
    """Finds the `top` nearest of the queries `rows` (numbers of `evaluation.query`) and decodes what is shown.

    Only these images are decoded, each once. With a smaller gallery the lists are as long as it.

    Raises:
      InputError: no rows, a row outside of the evaluation, or `top` below 1.
    """
    rows = np.asarray(rows, np.int64)
    if not len(rows):
        raise InputError("a sheet without rows shows nothing; name at least one query")
    if rows.min() < 0 or rows.max() >= len(evaluation.query.identity):
        raise InputError(
            f"rows reach from {rows.min()} to {rows.max()}, but there are {len(evaluation.query.identity)} queries, "
            "counted from 0"
        )
    if top < 1:
        raise InputError(f"{top} results a query show nothing; give at least 1")
    index, distance = evaluation.nearest(rows, min(top, len(evaluation.gallery.identity)))
    shown = np.unique(index[index >= 0])
    gallery_image = dict(zip(shown.tolist(), gallery.select(evaluation.gallery.row[shown]).image, strict=True))
    query_image = query.select(evaluation.query.row[rows]).image
    precision = metrics.average_precision(evaluation.ranking)
    ranks, offsets = metrics.match_ranks(evaluation.ranking), evaluation.ranking.offsets

    def results(line: int) -> tuple[Result, ...]:
        return tuple(
            Result(
                rank=column + 1,
                name=str(evaluation.gallery.name[item]),
                identity=int(evaluation.gallery.identity[item]),
                camera=int(evaluation.gallery.camera[item]),
                distance=float(distance[line, column]),
                correct=bool(evaluation.gallery.identity[item] == evaluation.query.identity[rows[line]]),
                image=gallery_image[item],
            )
            for column, item in enumerate(index[line].tolist())
            if item >= 0
        )

    return [
        RankedQuery(
            name=str(evaluation.query.name[row]),
            identity=int(evaluation.query.identity[row]),
            camera=int(evaluation.query.camera[row]),
            average_precision=float(precision[row]),
            first_correct=int(ranks[offsets[row]]) if offsets[row + 1] > offsets[row] else 0,
            image=query_image[line],
            results=results(line),
        )
        for line, row in enumerate(rows.tolist())
    ]
