"""Where a run's batches come from: images that lie on the devices, or a split on disk that is read ahead."""

import functools
import time

import jax
import numpy as np
from jax.sharding import Mesh

from reid_jax import parallel
from reid_jax.data.images import Split
from reid_jax.data.resident import ResidentImages
from reid_jax.data.sampler import IdentitySampler, JoinedSampler
from reid_jax.data.split import StoredSplit
from reid_jax.data.stream import Stream
from reid_jax.training.batches import Handed, Resident

Sampler = IdentitySampler | JoinedSampler


class ResidentSource:
    """Batches of images that every device holds. Each process hands over its own copy of them, which are the same.

    image: all of them, on the devices. waited: seconds spent waiting for images: none.
    """

    kind = Resident
    waited = 0.0

    def __init__(self, train: Split, label: np.ndarray, sampler: Sampler, seed: int, at_once: int, mesh: Mesh):
        """`label` int32 [n]: the class of each image; `at_once`: the most steps of a chunk."""
        self._sampler, self._seed, self._at_once = sampler, seed, at_once
        self.image = ResidentImages.of(train.image, mesh)
        self._label = jax.device_put(label, parallel.replicated(mesh))

    def batches(self, begin: int, end: int) -> Resident:
        """Returns the batches of steps `begin` to `end`."""
        return Resident(self.image, self._label, batch_indices(self._sampler, self._seed, begin, end, self._at_once))

    def close(self) -> None:
        """Nothing is open."""


class StreamedSource:
    """Batches of images on disk; each process reads and decodes those that its devices get.

    waited: seconds spent waiting for images, from the second chunk on.
    """

    kind = Handed

    def __init__(
        self,
        train: StoredSplit,
        label: np.ndarray,
        sampler: Sampler,
        seed: int,
        at_once: int,
        mesh: Mesh,
        *,
        steps: int,
        workers: int,
    ):
        """As `ResidentSource`; `steps` of the whole run, `workers`: processes that decode, 0 for threads."""
        self._label, self._sampler, self._seed, self._mesh = label, sampler, seed, mesh
        self._shape = (at_once, sampler.batch_size, *train.image_size, 3)
        self._here = _places_here(sampler.batch_size, mesh)
        rows_of = functools.partial(_rows_here, sampler, seed, self._here)
        self._stream = Stream(train, rows_of, steps=steps, at_once=at_once, workers=workers)
        self.waited = 0.0
        self._begun = False

    def batches(self, begin: int, end: int) -> Handed:
        """Returns the batches of steps `begin` to `end`, once they are decoded."""
        started = time.perf_counter()
        image = np.zeros((self._shape[0], len(self._here), *self._shape[2:]), np.uint8)
        image[: end - begin] = self._stream.read(begin, end)
        if self._begun:  # nothing was read ahead of the first
            self.waited += time.perf_counter() - started
        self._begun = True
        indices = batch_indices(self._sampler, self._seed, begin, end, self._shape[0])
        label = self._label[indices[:, self._here]]
        return Handed(self._placed(image, self._shape), self._placed(label, indices.shape))

    def close(self) -> None:
        """Stops reading ahead."""
        self._stream.close()

    def _placed(self, here: np.ndarray, shape: tuple[int, ...]) -> jax.Array:
        """This process's part of an array of that shape, [k, batch, ...], as part of the array on the mesh."""

        def part(index: tuple[slice, ...]) -> np.ndarray:
            places = np.arange(shape[1])[index[1]]
            return here[:, np.searchsorted(self._here, places)]

        return jax.make_array_from_callback(shape, Handed.sharding(self._mesh), part)


def batch_indices(sampler: Sampler, seed: int, begin: int, end: int, rows: int) -> np.ndarray:
    """Returns the image numbers of steps `begin` to `end`, int32 [rows, batch]; rows beyond them are 0, not used."""
    indices = np.zeros((rows, sampler.batch_size), np.int32)
    for step in range(begin, end):
        indices[step - begin] = sampler.indices(seed, step)
    return indices


def _rows_here(sampler: Sampler, seed: int, here: np.ndarray, step: int) -> np.ndarray:
    return sampler.indices(seed, step)[here]


def _places_here(batch: int, mesh: Mesh) -> np.ndarray:
    """Which examples of a batch this process's devices get, in ascending order."""
    indices = parallel.by_example(mesh).addressable_devices_indices_map((batch,))
    return np.unique(np.concatenate([np.arange(batch)[index] for (index,) in indices.values()]))
