"""Who is on queries and gallery items, under which cameras: what makes a match, and what the protocol removes."""

import dataclasses

import numpy as np

from reid_jax.errors import InputError

UNKNOWN_CAMERA = -1


@dataclasses.dataclass(frozen=True)
class Labels:
    """Identity and camera of each query and each gallery item, integers [nq] and [ng].

    A gallery item of a query's identity and camera is removed from its ranking; one whose camera is unknown (-1) never
    is, nor is any for a query whose camera is unknown.
    """

    query_identity: np.ndarray
    query_camera: np.ndarray
    gallery_identity: np.ndarray
    gallery_camera: np.ndarray


@dataclasses.dataclass(frozen=True)
class CheckedLabels:
    """Labels found good, int32, counted anew from 0.

    A sight is an identity under a camera: a gallery item of the query's sight is removed. The sight of a query whose
    camera is unknown is -2, which no gallery item has.
    """

    query_identity: np.ndarray
    gallery_identity: np.ndarray
    query_sight: np.ndarray
    gallery_sight: np.ndarray

    def same_identity(self) -> np.ndarray:
        """int64 [queries], the gallery items of each query's identity, removed ones included."""
        return _counts(self.gallery_identity, self.query_identity)

    def removed(self) -> np.ndarray:
        """int64 [queries], the gallery items of each query's identity and camera."""
        return _counts(self.gallery_sight, self.query_sight)

    def matches(self) -> np.ndarray:
        """int64 [queries], the gallery items of each query's identity that are not removed."""
        return self.same_identity() - self.removed()


def check_labels(labels: Labels, nq: int | None = None, ng: int | None = None) -> CheckedLabels:
    """Checks labels, of `nq` queries and `ng` gallery items where these numbers are known already.

    Raises InputError where lengths disagree, there is no query or no gallery item, or labels are not integers.
    """
    nq = len(np.atleast_1d(labels.query_identity)) if nq is None else nq
    ng = len(np.atleast_1d(labels.gallery_identity)) if ng is None else ng
    for name, count in (("query", nq), ("gallery", ng)):
        if not count:
            raise InputError(f"{name}_identity is empty, nothing to rank; is {name} empty?")

    def both(kind: str) -> np.ndarray:
        sides = (("query", nq), ("gallery", ng))
        return np.concatenate([_check(f"{side}_{kind}", getattr(labels, f"{side}_{kind}"), n) for side, n in sides])

    identity, camera = both("identity"), both("camera")
    # Numbered anew from 0, a label fits in int32 whatever the data set's own numbers are.
    identity = np.unique(identity, return_inverse=True)[1].astype(np.int32)
    cameras, camera_index = np.unique(camera, return_inverse=True)
    sight = np.unique(identity * np.int64(len(cameras)) + camera_index, return_inverse=True)[1].astype(np.int32)
    query_sight = np.where(camera[:nq] == UNKNOWN_CAMERA, np.int32(-2), sight[:nq])
    return CheckedLabels(identity[:nq], identity[nq:], query_sight, sight[nq:])


def _check(name: str, values: np.ndarray, count: int) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != (count,):
        side = name.split("_")[0]
        raise InputError(
            f"{name} has shape {list(values.shape)}, but there are {count} {side} items; give one integer for each"
        )
    if not np.issubdtype(values.dtype, np.integer):
        raise InputError(f"{name} has type {values.dtype}; give integers")
    return values.astype(np.int64)


def _counts(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How often each wanted value, if it is not negative, stands among values from 0."""
    counts = np.bincount(values, minlength=max(wanted.max() + 1, 0))
    return np.where(wanted >= 0, counts[np.maximum(wanted, 0)], 0)
