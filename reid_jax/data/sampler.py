"""Batches of P identities with K images each, as a pure function of (seed, step).

Hermans et al., "In Defense of the Triplet Loss" (2017), section 2; 8 x 4 in arXiv 1910.07038, section 4. Nothing is
consumed, so a resumed run draws what the uninterrupted one would have drawn.
"""

import functools
from collections.abc import Sequence

import numpy as np

from reid_jax.errors import InputError


class IdentitySampler:
    """Draws batches of `identities` x `images` images from the training images' labels.

    Each epoch every identity's images are shuffled and cut into groups of `images`, the rest dropped; an identity
    with fewer gets one group, drawn with replacement. The groups are dealt to batches so that no batch holds an
    identity twice and as many batches as possible are full: that number, `steps_per_epoch`, depends on the labels
    alone.

    Raises InputError where there are fewer identities than a batch holds.
    """

    def __init__(self, label: np.ndarray, identities: int, images: int, *, stream: int = 0):
        """`label` int [n]: the identity of each training image, any numbers; other streams draw other batches."""
        self.identities, self.images, self._stream = identities, images, stream
        present, label = np.unique(label, return_inverse=True)
        if len(present) < identities:
            raise InputError(
                f"a batch holds {identities} identities (config.batch.identities), but the training split has "
                f"{len(present)}; lower it, or hold out fewer identities"
            )
        bounds = np.cumsum(np.bincount(label))[:-1]
        self._members = np.split(np.argsort(label, kind="stable"), bounds)
        self._groups = np.array([max(1, len(members) // images) for members in self._members])
        self.steps_per_epoch = self._most_full_batches()

    @property
    def batch_size(self) -> int:
        """Images in a batch."""
        return self.identities * self.images

    def indices(self, seed: int, step: int) -> np.ndarray:
        """Returns the image numbers of batch `step` (0 for the first) as int32 [batch_size], grouped by identity."""
        epoch, within = divmod(step, self.steps_per_epoch)
        return self._epoch(seed, epoch)[within]

    def _most_full_batches(self) -> int:
        """The largest s with sum(min(groups, s)) >= P s: an identity is in a batch once, so it fills at most s."""
        low, high = 1, int(self._groups.sum()) // self.identities
        while low < high:
            middle = (low + high + 1) // 2
            if np.minimum(self._groups, middle).sum() >= self.identities * middle:
                low = middle
            else:
                high = middle - 1
        return low

    @functools.lru_cache(maxsize=2)  # noqa: B019 - two epochs of indices, freed with the sampler's process
    def _epoch(self, seed: int, epoch: int) -> np.ndarray:
        random = np.random.default_rng((seed, epoch, self._stream))
        steps = self.steps_per_epoch
        groups_in_line = []
        for identity in random.permutation(len(self._members)):
            members = self._members[identity]
            if len(members) < self.images:
                groups_in_line.append(random.choice(members, (1, self.images)))
                continue
            groups = min(self._groups[identity], steps)
            groups_in_line.append(random.permutation(members)[: groups * self.images].reshape(groups, self.images))
        # Dealing the groups out like cards, the i-th to batch i modulo steps, puts those of an identity, which are
        # neighbours and at most as many as batches, into different ones.
        dealt = np.concatenate(groups_in_line)[: self.identities * steps].reshape(self.identities, steps, self.images)
        order = random.permutation(steps)
        return dealt[:, order].transpose(1, 0, 2).reshape(steps, self.batch_size).astype(np.int32)


class JoinedSampler:
    """Draws batches to which each of several joined data sets gives a fixed number of identities.

    Every set is drawn from by an `IdentitySampler` of its own, in a stream of its own. The one that needs most steps
    for its images sets `steps_per_epoch`; the others start over meanwhile, shuffled anew.
    """

    def __init__(self, label: np.ndarray, origin: np.ndarray, shares: Sequence[int], images: int):
        """Splits the training images by their set.

        Args:
          label: int [n], the identity of each training image, any numbers.
          origin: int [n], the set of each image, counted from 0.
          shares: identities in a batch, by set.
          images: images of each identity.

        Raises:
          InputError: as many shares as sets are needed, each at least 1 and at most the set's identities.
        """
        sets = int(origin.max()) + 1
        if len(shares) != sets or min(shares) < 1:
            raise InputError(
                f"config.batch.shares is {tuple(shares)}, but {sets} data sets are joined; give {sets} numbers above 0"
            )
        self.images = images
        self._rows = [np.flatnonzero(origin == i) for i in range(sets)]
        self._samplers = []
        for i, (rows, share) in enumerate(zip(self._rows, shares, strict=True)):
            identities = len(np.unique(label[rows]))
            if identities < share:
                raise InputError(
                    f"config.batch.shares asks data set {i + 1} of {sets} for {share} identities a batch, but "
                    f"its training split has {identities}; lower that share"
                )
            self._samplers.append(IdentitySampler(label[rows], share, images, stream=i))
        self.identities = sum(shares)
        self.steps_per_epoch = max(sampler.steps_per_epoch for sampler in self._samplers)

    @property
    def batch_size(self) -> int:
        """Images in a batch."""
        return self.identities * self.images

    def indices(self, seed: int, step: int) -> np.ndarray:
        """Returns the image numbers of batch `step` as int32 [batch_size], set by set and grouped by identity."""
        parts = zip(self._rows, self._samplers, strict=True)
        return np.concatenate([rows[sampler.indices(seed, step)] for rows, sampler in parts]).astype(np.int32)
