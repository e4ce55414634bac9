"""Bayesian model averaging: descriptors averaged over sampled weights, and how far the samples disagree.

Maddox et al., NeurIPS 2019, for retrieval: the unit descriptors of S samples of the weights, each with BatchNorm
statistics of its own, are averaged and normalised again per stream. An image's spread is the root mean square distance
of its descriptors from their mean: an uncertainty that costs nothing more.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from reid_jax import parallel, swag
from reid_jax.averaging.batch_statistics import recalibrate
from reid_jax.data.augment import Augmentation
from reid_jax.data.images import Images
from reid_jax.data.resident import ResidentImages
from reid_jax.describe import Encoder
from reid_jax.embed import Items, embed_items
from reid_jax.errors import InputError
from reid_jax.evaluate import Evaluation, Protocol, score
from reid_jax.progress import with_progress
from reid_jax.retrieval.aggregate import renormalise
from reid_jax.swag import Moments


def mean_variables(
    network,
    moments: Moments,
    train_image: np.ndarray | ResidentImages,
    mesh: Mesh,
    *,
    augmentation: Augmentation | None,
) -> dict[str, Any]:
    """SWA: the mean weights with BatchNorm statistics over the training images uint8 [n, h, w, 3].

    `augmentation` is that of training; see `recalibrate`.
    """
    params = swag.mean(moments)
    return {"params": params, "batch_stats": recalibrate(network, params, train_image, mesh, augmentation=augmentation)}


def sampled_encoders(
    network,
    moments: Moments,
    train_image: np.ndarray | ResidentImages,
    mesh: Mesh,
    *,
    samples: int,
    seed: int = 0,
    scale: float = 1.0,
    augmentation: Augmentation | None,
    variance_floor: float = 1e-30,
) -> Iterator[Encoder]:
    """SWAG: draws `samples` weights, each with BatchNorm statistics as `mean_variables` has them.

    The encoders read images of the training images' size.

    Sample s is a function of the moments, the seed and s alone. Raises InputError for fewer than one sample.
    """
    if samples < 1:
        raise InputError(f"SWAG of {samples} samples; give at least 1")
    train_image = jax.device_put(train_image, parallel.replicated(mesh))
    for sample in range(samples):
        key = jax.random.fold_in(jax.random.key(seed), sample)
        params = _draw(moments, key, scale, variance_floor)
        batch_stats = recalibrate(network, params, train_image, mesh, augmentation=augmentation)
        variables = {"params": params, "batch_stats": batch_stats}
        yield Encoder(network, variables, train_image.shape[1:3], mesh)


def average_items(
    encoders: Iterable[Encoder],
    splits: Sequence[Images],
    *,
    samples: int,
    flip: bool = False,
    progress: str = "",
) -> list[tuple[Items, np.ndarray]]:
    """Averages the items of several splits over `samples` encoders, at least one.

    Returns, for each split, its items with the averaged descriptors and their spread float32 [items]: of an item's
    descriptors x and their plain mean m the root of mean |x|^2 - |m|^2, from 0 (all samples agree) to 1.
    """
    sums: list[np.ndarray] = []
    squares: list[np.ndarray] = []
    items: list[Items] = []
    for encoder in with_progress(encoders, progress, "samples", samples):
        items = [embed_items(encoder, images, flip=flip) for images in splits]
        embeddings = [described.embedding for described in items]
        sums = [a + b for a, b in zip(sums, embeddings, strict=True)] if sums else embeddings
        norms = [_squared_norm(embedding) for embedding in embeddings]
        squares = [a + b for a, b in zip(squares, norms, strict=True)] if squares else norms
    averaged = []
    for described, total, square in zip(items, sums, squares, strict=True):
        variance = square / samples - _squared_norm(total) / samples**2
        spread = np.sqrt(np.maximum(variance, 0)).astype(np.float32)
        averaged.append((dataclasses.replace(described, embedding=renormalise(total, encoder.streams)), spread))
    return averaged


def evaluate_samples(
    encoders: Iterable[Encoder],
    pairs: Sequence[Sequence[Images]],
    *,
    samples: int,
    protocol: Protocol = Protocol(),  # noqa: B008 - frozen
    progress: bool = False,
) -> list[tuple[Evaluation, np.ndarray, np.ndarray]]:
    """Evaluates the averaged descriptors of each (query, gallery).

    Returns, for each pair, (evaluation, spread of the queries, spread of the gallery's items).
    """
    name = f"SWAG, {samples} samples" if progress else ""
    splits = [split for pair in pairs for split in pair]
    encoders = iter(encoders)
    first = next(encoders)
    streams, mesh = first.streams, first.mesh
    encoders = itertools.chain([first], encoders)
    del first  # a sample's weights are freed once it has described the splits
    averaged = average_items(encoders, splits, samples=samples, flip=protocol.flip, progress=name)
    return [
        (score(query, gallery, streams, mesh, protocol=protocol), query_spread, gallery_spread)
        for (query, query_spread), (gallery, gallery_spread) in zip(averaged[::2], averaged[1::2], strict=True)
    ]


_draw = jax.jit(swag.sample)


def _squared_norm(embedding: np.ndarray) -> np.ndarray:
    """float64 [n]: a spread is a small difference of large numbers."""
    return np.einsum("nd,nd->n", embedding, embedding, dtype=np.float64)
