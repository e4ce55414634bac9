"""Bayesian model averaging: descriptors averaged over sampled weights, and how far the samples disagree.

Maddox et al., NeurIPS 2019, for retrieval: the unit descriptors of S samples of the weights, each with BatchNorm
statistics of its own, are averaged and normalised again per stream. An image's spread is the root mean square distance
of its descriptors from their mean: an uncertainty that costs nothing more.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from reid_jax import parallel, swag
from reid_jax.data.split import Images
from reid_jax.errors import InputError
from reid_jax.evaluate import Items, embed_items
from reid_jax.models.recalibrate import recalibrate
from reid_jax.retrieval.aggregate import renormalise
from reid_jax.swag import Moments


def mean_variables(network, moments: Moments, train_image: np.ndarray | jax.Array, mesh: Mesh) -> dict[str, Any]:
    """SWA: the mean weights with BatchNorm statistics over the training images uint8 [n, h, w, 3]."""
    params = swag.mean(moments)
    return {"params": params, "batch_stats": recalibrate(network, params, train_image, mesh)}


def sampled_variables(
    network,
    moments: Moments,
    train_image: np.ndarray | jax.Array,
    mesh: Mesh,
    *,
    samples: int,
    seed: int = 0,
    scale: float = 1.0,
    variance_floor: float = 1e-30,
) -> Iterator[dict[str, Any]]:
    """SWAG: draws `samples` weights, each with BatchNorm statistics over the training images uint8 [n, h, w, 3].

    Sample s is a function of the seed and s alone.
    """
    if samples < 1:
        raise InputError(f"SWAG was asked for {samples} samples; give at least 1")
    draw = jax.jit(swag.sample)
    train_image = jax.device_put(train_image, parallel.replicated(mesh))
    for number in range(samples):
        key = jax.random.fold_in(jax.random.key(seed), number)
        params = draw(moments, key, scale, variance_floor)
        yield {"params": params, "batch_stats": recalibrate(network, params, train_image, mesh)}


def average_items(
    network,
    drawn: Iterator[dict[str, Any]],
    splits: Sequence[Images],
    mesh: Mesh,
    *,
    samples: int,
    flip: bool = False,
    progress: str = "",
) -> list[tuple[Items, np.ndarray]]:
    """Averages the items of several splits over the drawn variables.

    Returns, for each split, its items with the averaged descriptors and their spread float32 [items]: with m the plain
    mean of an item's unit descriptors, sqrt(1 - |m|^2), from 0 (all samples agree) to 1.
    """
    sums: list[np.ndarray] = []
    items: list[Items] = []
    bar = tqdm(drawn, progress, total=samples, unit="sample", delay=2, disable=not progress or jax.process_index() != 0)
    for variables in bar:
        items = [embed_items(network, variables, images, mesh, flip=flip) for images in splits]
        embeddings = [one.embedding for one in items]
        sums = [a + b for a, b in zip(sums, embeddings, strict=True)] if sums else embeddings
    result = []
    for one, total in zip(items, sums, strict=True):
        plain = total / np.float32(samples)
        spread = np.sqrt(np.maximum(1 - np.sum(plain**2, axis=1), 0))
        result.append((dataclasses.replace(one, embedding=renormalise(plain, network.streams)), spread))
    return result
