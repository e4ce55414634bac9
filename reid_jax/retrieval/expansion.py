"""Average query expansion: a query becomes the mean of itself and its nearest gallery items.

Chum, Philbin, Sivic, Isard and Zisserman, "Total Recall: Automatic Query Expansion with a Generative Feature Model for
Object Retrieval", ICCV 2007, section 3.2, without its spatial verification.
"""

import jax
import numpy as np
from jax.sharding import Mesh

from reid_jax.errors import InputError
from reid_jax.retrieval.aggregate import renormalise
from reid_jax.retrieval.labels import Labels
from reid_jax.retrieval.ranking import nearest


def expand_queries(
    query: np.ndarray | jax.Array,
    gallery: np.ndarray | jax.Array,
    labels: Labels,
    k: int,
    *,
    streams: tuple[int, ...],
    mesh: Mesh | None = None,
) -> np.ndarray:
    """Averages each query with its k nearest valid gallery items, and renormalises each stream.

    Valid is what the protocol of `reid_jax.retrieval.ranking.rank` ranks: all but the gallery items of the query's
    identity and camera. Labels say nothing else here; whether an item is a match is never asked. The removal is no
    leak: it defines the gallery that a query is searched in, the same for every method, and an expansion may learn
    from no other items than those that are ranked. To leave it out would leak: the query would be averaged with further
    pictures of the same person from its own camera, which is what the multi-query protocol hands out.

    Args:
      query: float [nq, d], each stream at norm 1/sqrt(streams), as `embed` gives them. `gallery`: float [ng, d], too.
      labels: as in `rank`.
      k: gallery items for each query, at least 0; 0 returns the queries as they are.
      streams: widths of the network's vectors, which add up to d.
      mesh: as in `rank`.

    Returns:
      float32 [nq, d], each stream at norm 1/sqrt(streams). A query with fewer than k valid items gets the mean with
      those there are.

    Raises:
      InputError: k is below 0, or as `rank` and `renormalise`.
    """
    if k < 0:
        raise InputError(f"query expansion: k is {k}; give at least 0 gallery items, 0 for none")
    total = np.array(query, np.float32)
    if k == 0:
        return total
    gallery = np.asarray(gallery, np.float32)
    index, _ = nearest(query, gallery, labels, min(k, max(len(gallery), 1)), mesh=mesh)
    for column in index.T:
        there = column >= 0
        total[there] += gallery[column[there]]
    return renormalise(total, streams)  # a sum and a mean renormalise to the same
