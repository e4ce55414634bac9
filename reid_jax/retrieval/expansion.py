"""Average query expansion: q becomes the mean of itself and its k nearest valid gallery items.

    q' = renormalise(q + sum over N of g),  N the k items nearest to q among matches(q) and negatives(q)

Chum, Philbin, Sivic, Isard and Zisserman, "Total Recall: Automatic Query Expansion with a Generative Feature Model for
Object Retrieval", ICCV 2007, section 3.2, without its spatial verification.
"""

import jax
import numpy as np
from jax.sharding import Mesh

from reid_jax.errors import InputError
from reid_jax.retrieval.aggregate import renormalise
from reid_jax.retrieval.nearest import nearest
from reid_jax.retrieval.protocol import Labels


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

    Valid items are those that `reid_jax.retrieval.protocol` ranks. Labels are used for the same-camera rule alone,
    never to tell matches from negatives. Without that rule labels would leak: the query would be averaged with further
    pictures of its person from its own camera, which only the multi-query protocol allows.

    Args:
      query: float [nq, d], each stream at norm 1/sqrt(streams), as `embed` gives them. `gallery`: float [ng, d], too.
      labels: as in `ranking.rank`.
      k: gallery items for each query, at least 0; 0 returns the queries as they are.
      streams: widths of the network's vectors, which add up to d.
      mesh: as in `ranking.rank`.

    Returns:
      float32 [nq, d], each stream at norm 1/sqrt(streams). A query with fewer than k valid items gets the mean with
      those there are.

    Raises:
      InputError: k is below 0, or as `ranking.rank` and `renormalise`.
    """
    if k < 0:
        raise InputError(f"query expansion: k is {k}; give at least 0 gallery items, 0 for none")
    total = np.array(query, np.float32)
    if k == 0:
        return total
    gallery = np.asarray(gallery, np.float32)
    index, _ = nearest(query, gallery, labels, min(k, max(len(gallery), 1)), mesh=mesh)
    for item in index.T:  # the j-th nearest item of every query, -1 where there is none
        exists = item >= 0
        total[exists] += gallery[item[exists]]
    return renormalise(total, streams)  # a sum and a mean renormalise to the same
