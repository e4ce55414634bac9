"""k-reciprocal re-ranking, exact, without a matrix of all items by all items.

Zhong, Zheng, Cao and Li, "Re-ranking Person Re-identification with k-reciprocal Encoding", CVPR 2017, as the authors'
code and the libraries that follow it compute it. Neighbours are found in blocks on the devices; neighbour sets and
their encodings are sparse, for a set holds a few dozen items however many there are; distances are made when they are
needed, a few queries at a time.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from scipy import sparse

from reid_jax.errors import InputError
from reid_jax.parallel import one_device, place
from reid_jax.progress import with_progress
from reid_jax.retrieval import pairs
from reid_jax.retrieval.pairs import Distances
from reid_jax.retrieval.top_k import top_k

# Neighbour sets are extended and encoded for so many items at once, and distances within them taken for so many pairs:
# differences of 256 pairs stay in a processor's cache.
ITEMS_AT_ONCE = 2048
PAIRS_AT_ONCE = 256
# Queries whose encodings are compared with the gallery's at once: enough to hide what one look-up costs.
QUERIES_AT_ONCE = 16


def rerank(
    query: np.ndarray | jax.Array,
    gallery: np.ndarray | jax.Array,
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    mesh: Mesh | None = None,
) -> Distances:
    """Re-ranks by k-reciprocal encoding: returns the function that gives queries' new distances to the gallery.

    Over all n = nq + ng items, queries first, with D(i, j) the squared Euclidean distance over its maximum in row i:

    - N(i, k): i itself and its k nearest others, the lower number first at equal distances;
    - R(i, k): those j of N(i, k) with i in N(j, k);
    - R*(i): R(i, k1) with each R(c, k1 / 2) added, c in R(i, k1), of which more than 2/3 lie in R(i, k1); k1 / 2 is
      rounded half to even;
    - V(i): exp(-D(i, j)) at the j of R*(i), scaled to sum 1, then averaged over N(i, k2 - 1);
    - J(i, j) = 1 - sum min(V(i), V(j)) / sum max(V(i), V(j)).

    The new distance is (1 - weight) J + weight D. Of fewer items than k1 + 1 or k2 all are neighbours, as in the
    authors' code. That an item stands before its duplicates leaves no set empty; where all items are equal D is 0. No
    labels are used: what the protocol removes for a query still counts as a neighbour, as it does in the published
    figures.

    Args:
      query: float [nq, d], embeddings of any norm. `gallery`: float [ng, d].
      k1: neighbours that are looked at for reciprocity, at least 1.
      k2: items, the item itself among them, that an encoding is averaged over, at least 1, which is no averaging.
      weight: of the original distance, in [0, 1]; lambda in the paper.
      mesh: a mesh with the one axis 'data': blocks are spread over its devices, each of which holds all items. The
        result does not depend on it. By default the first local device.

    Returns:
      distances(rows): int [b], rows of query -> float32 [b, ng], in [0, 1]; it raises InputError for a row that is
      not there. Of several processes all call it alike. It keeps the items on the devices, and on the host the
      encodings, which take about a kilobyte an item.

    Raises:
      InputError: shapes disagree, query or gallery is empty, an embedding is not finite, k1 or k2 is below 1, or
        weight is outside [0, 1].
    """
    query, gallery = pairs.check_embeddings("query", query), pairs.check_embeddings("gallery", gallery)
    if query.vector.shape[1] != gallery.vector.shape[1]:
        raise InputError(
            f"query embeddings have {query.vector.shape[1]} dimensions, gallery embeddings {gallery.vector.shape[1]}; "
            "embed both with one model"
        )
    for name, value in (("k1", k1), ("k2", k2)):
        if value < 1:
            raise InputError(f"re-ranking: {name} is {value}; give at least 1")
    if not 0 <= weight <= 1:
        raise InputError(f"re-ranking: the weight of the original distance is {weight}; give a number in [0, 1]")

    nq, ng = len(query), len(gallery)
    # Behind padding, whose norm puts it behind everything, equal items get bit-equal distances.
    padded = pairs.round_up(nq + ng, pairs.GALLERY_MULTIPLE)
    item = _centred(np.concatenate([query.vector, gallery.vector], dtype=np.float32))
    half_norm = np.float32(0.5) * np.einsum("nd,nd->n", item, item)
    item = pairs.pad(item, padded)
    mesh = one_device() if mesh is None else mesh
    placed = tuple(place(mesh, array, PartitionSpec()) for array in (item, pairs.pad(half_norm, padded, np.inf)))
    neighbour, farthest = _neighbours(mesh, placed, nq + ng, max(k1 + 1, k2))
    encoding = _average(_encode(item, neighbour, farthest, k1), neighbour[:, :k2])
    query_encoding = encoding[:nq]
    inverted = encoding[nq:].T.tocsr()  # [n, ng]: for each item the gallery items whose encodings name it
    original = _original_function(mesh, nq, ng)
    block_rows = pairs.block_rows(mesh, nq, padded) * mesh.size
    multiple = pairs.QUERY_MULTIPLE * mesh.size

    def distances(rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows)
        if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
            raise InputError(f"re-ranking: rows are {rows.dtype} {list(rows.shape)}; give one integer for each query")
        outside = rows[(rows < 0) | (rows >= nq)]
        if len(outside):
            raise InputError(f"re-ranking: there is no query {outside[0]}; there are {nq}, counted from 0")
        result = np.empty((len(rows), ng), np.float32)
        blocks = pairs.blocks(np.arange(len(rows)), block_rows)
        # One block behind: the devices compute the next original distances while the host computes Jaccard distances.
        dispatched = ((block, [original(_place_rows(mesh, rows[block], multiple), *placed)]) for block in blocks)
        for block, (squared,) in pairs.one_behind(mesh, dispatched):
            for few in pairs.blocks(block, QUERIES_AT_ONCE):
                result[few] = (1 - weight) * _jaccard(query_encoding[rows[few]], inverted)
            squared = squared[: len(block)]
            result[block] += weight * _normalised(squared, farthest[rows[block], None])
        return result

    return distances


def _centred(item: np.ndarray) -> np.ndarray:
    """Moves and scales the items, in place: one that is near their mean becomes 0, the largest number less than 1.

    The sets, D and J stay the same. Rounding is then a share of how far the items are apart, not of how far they are
    from 0: nothing is left of equal items, for D to magnify. Nor can their squares leave float32. An item and a power
    of two, rather than mean and spread, keep whole numbers exact, and with them equal distances.
    """
    mean = np.mean(item, axis=0, dtype=np.float64).astype(np.float32)
    nearness = np.einsum("nd,d->n", item, mean) - np.float32(0.5) * np.einsum("nd,nd->n", item, item)
    item -= item[np.argmax(nearness)].copy()
    _, exponent = np.frexp(np.abs(item).max())
    return np.ldexp(item, -exponent, out=item)


def _neighbours(mesh: Mesh, placed: tuple[jax.Array, jax.Array], count: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of each item, itself first, int32 [n, min(k, n)], and its squared distance to the farthest, [n]."""
    k = min(k, count)
    neighbour = np.empty((count, k), np.int32)
    farthest = np.empty(count, np.float32)
    function = _neighbour_function(mesh, k)
    size = pairs.block_rows(mesh, count, len(placed[0])) * mesh.size
    blocks = pairs.blocks(np.arange(count), size)
    bar = with_progress(blocks, "neighbours", "blocks")
    dispatched = ((block, function(_place_rows(mesh, block, size), *placed)) for block in bar)
    for block, results in pairs.one_behind(mesh, dispatched):
        neighbour[block], farthest[block] = (result[: len(block)] for result in results)
    return neighbour, farthest


def _encode(item: np.ndarray, neighbour: np.ndarray, farthest: np.ndarray, k1: int) -> sparse.csr_array:
    """The encodings before they are averaged: float32 [n, n], row i is V(i) over R*(i), of sum 1."""
    near = _reciprocal(neighbour[:, : k1 + 1])
    half = _reciprocal(neighbour[:, : round(k1 / 2) + 1])  # Python rounds half to even, as NumPy does
    half_size = np.diff(half.indptr)
    encoded = []
    starts = range(0, len(neighbour), ITEMS_AT_ONCE)
    for start in with_progress(starts, "re-ranking", "blocks"):
        near_block = near[start : start + ITEMS_AT_ONCE]
        # At (i, c) the size of the intersection of R(i, k1) and R(c, k1 / 2): `half` is symmetric. c is in both.
        overlap = (near_block @ half).multiply(near_block).tocsr()
        # Whole numbers: no rounding decides at 2/3.
        overlap.data = (3 * overlap.data > 2 * half_size[overlap.indices]).astype(np.int32)
        overlap.eliminate_zeros()
        extended = (near_block + overlap @ half).astype(np.float32)  # its columns in row i are R*(i)
        extended.sort_indices()
        row = np.repeat(np.arange(extended.shape[0]), np.diff(extended.indptr))
        squared = _squared_distances(item, start + row, extended.indices)
        value = np.exp(-_normalised(squared, farthest[start + row]).astype(np.float64))
        extended.data = (value / np.add.reduceat(value, extended.indptr[:-1])[row]).astype(np.float32)
        encoded.append(extended)
    return sparse.vstack(encoded, format="csr")


def _reciprocal(neighbour: np.ndarray) -> sparse.csr_array:
    """1 at (i, j) where i and j are neighbours of each other: int32 [n, n], symmetric, from neighbours int32 [n, k]."""
    near = _rows(neighbour, np.int32)
    return near.multiply(near.T).tocsr()


def _average(encoding: sparse.csr_array, neighbour: np.ndarray) -> sparse.csr_array:
    """Local query expansion: each encoding becomes the mean of its neighbours', int32 [n, k], itself among them."""
    return (_rows(neighbour, np.float32) / np.float32(neighbour.shape[1])) @ encoding


def _rows(column: np.ndarray, dtype: type) -> sparse.csr_array:
    """Ones in the columns int32 [n, k] of each row: [n, n]."""
    n, k = column.shape
    ones = np.ones(column.size, dtype)
    matrix = sparse.csr_array((ones, column.reshape(-1), np.arange(0, column.size + 1, k)), shape=(n, n))
    matrix.sort_indices()
    return matrix


def _jaccard(encoding: sparse.csr_array, inverted: sparse.csr_array) -> np.ndarray:
    """Jaccard distances of encodings [b, n] to the gallery: float64 [b, ng].

    `inverted` [n, ng] holds, for each item, the weights it has in the gallery's encodings: pairs of encodings that name
    no item in common cost nothing.
    """
    b, ng = encoding.shape[0], inverted.shape[1]
    gallery = inverted[encoding.indices]
    length = np.diff(gallery.indptr)
    row = np.repeat(np.arange(b), np.diff(encoding.indptr))
    smaller = np.minimum(gallery.data, np.repeat(encoding.data, length))
    shared = np.bincount(gallery.indices + np.repeat(row * ng, length), smaller, minlength=b * ng).reshape(b, ng)
    shared = np.minimum(shared, 1)
    return 1 - shared / (2 - shared)  # both sum to 1, so the larger values sum to 2 less the smaller ones


def _squared_distances(item: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances of pairs of items, float32 [pairs], from the differences: exactly 0 for equal items."""
    result = np.empty(len(a), np.float32)
    for start in range(0, len(a), PAIRS_AT_ONCE):
        some = slice(start, start + PAIRS_AT_ONCE)
        difference = item[b[some]]
        difference -= item[a[some]]
        np.einsum("pd,pd->p", difference, difference, out=result[some])
    return result


def _normalised(squared: np.ndarray, farthest: np.ndarray) -> np.ndarray:
    """Squared distances over the row's largest; where that is 0, so are they."""
    return np.minimum(squared / np.where(farthest > 0, farthest, 1), 1)


def _score(row: jax.Array, item: jax.Array, half_norm: jax.Array) -> jax.Array:
    """The scores a.b - |b|^2 / 2 of the items int32 [b] with all: float32 [b, n], -inf to the padding.

    It orders a row as the distance does, with less rounding. HIGHEST keeps a GPU's TF32 and a TPU's bfloat16, which
    would change neighbours, out of the product.
    """
    product = lax.dot_general(item[row], item, (((1,), (1,)), ((), ())), precision=lax.Precision.HIGHEST)
    return product - half_norm


def _squared(score: jax.Array, row: jax.Array, half_norm: jax.Array) -> jax.Array:
    """Squared distances float32 [b, p] from scores of the items int32 [b]; rounding below zero becomes zero."""
    return 2.0 * jnp.maximum(half_norm[row][:, None] - score, 0.0)


def _neighbour_block(row, item, half_norm, *, k):
    """One device's items int32 [b]: their k nearest int32 [b, k], and the largest squared distance float32 [b]."""
    # An item comes before its duplicates, and before what rounding would put in front of it.
    score = _score(row, item, half_norm).at[jnp.arange(len(row)), row].set(jnp.inf)
    _, index = top_k(score, k)
    # A maximum, not a selection: XLA for a CPU takes the minimum of a selection one number at a time.
    least = jnp.min(jnp.maximum(score, jnp.where(jnp.isinf(half_norm), jnp.inf, -jnp.inf)), axis=1, keepdims=True)
    return index, _squared(least, row, half_norm)[:, 0]


def _original_block(row, item, half_norm, *, nq, ng):
    """One device's queries int32 [b]: squared distances to the gallery, float32 [b, ng]."""
    return _squared(_score(row, item, half_norm)[:, nq : nq + ng], row, half_norm)


_IN_SPECS = (PartitionSpec("data"), PartitionSpec(), PartitionSpec())


@functools.cache
def _neighbour_function(mesh: Mesh, k: int):
    """`_neighbour_block` over a mesh: each device takes its own rows and all items."""
    return pairs.spread(functools.partial(_neighbour_block, k=k), mesh, _IN_SPECS)


@functools.cache
def _original_function(mesh: Mesh, nq: int, ng: int):
    """`_original_block` over a mesh, as `_neighbour_function`."""
    return pairs.spread(functools.partial(_original_block, nq=nq, ng=ng), mesh, _IN_SPECS)


def _place_rows(mesh: Mesh, block: np.ndarray, multiple: int) -> jax.Array:
    """Numbers of items, int [b], on the devices that take them: int32, padded with item 0 to a multiple."""
    size = pairs.round_up(len(block), multiple)
    return place(mesh, pairs.pad(block.astype(np.int32), size), PartitionSpec("data"))
