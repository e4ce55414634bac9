"""The protocol of Market-1501: which gallery items a query is ranked against, and which of them are its matches.

Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015; most benchmarks follow it. With the
identity id and the camera cam of every image, for a query q and the gallery G:

    junk          {g : id(g) = -1}                            detections that overlap a person badly: never in G
    removed(q)    {g in G : id(g) = id(q), cam(g) = cam(q)}   the same-camera rule; a camera of -1 equals none
    matches(q)    {g in G : id(g) = id(q)} without removed(q)
    negatives(q)  {g in G : id(g) != id(q)}                   distractors (identity 0 in Market-1501) among them
    valid(q)      matches(q) and negatives(q)                 what is ranked

A query without a match is in no metric of ranking, and their number is reported; in verification its pairs with other
people count. Junk is dropped where a data set is read
(`reid_jax.data.builders.source.drop_junk`); all other rules are applied here and in `ranking`.
"""

import dataclasses
from typing import Protocol

import numpy as np

from reid_jax.errors import InputError

JUNK = -1  # an identity
UNKNOWN_CAMERA = -1

# The identity-and-camera number of a query whose camera is unknown: no gallery item has it, so none is removed.
_NEVER_REMOVES = -2


class Labelled(Protocol):
    """What has labels: a split, or what is ranked."""

    @property
    def identity(self) -> np.ndarray:
        """Integers [n]."""

    @property
    def camera(self) -> np.ndarray:
        """Integers [n], -1 where unknown."""


@dataclasses.dataclass(frozen=True)
class Labels:
    """Identity and camera of each query and each gallery item, integers [nq] and [ng]; camera -1 is unknown."""

    query_identity: np.ndarray
    query_camera: np.ndarray
    gallery_identity: np.ndarray
    gallery_camera: np.ndarray

    @classmethod
    def of(cls, query: Labelled, gallery: Labelled) -> "Labels":
        """The labels of two sides that have an identity and a camera each."""
        return cls(query.identity, query.camera, gallery.identity, gallery.camera)


@dataclasses.dataclass(frozen=True)
class CheckedLabels:
    """Checked labels as int32 numbers counted from 0, so that any integers fit.

    A gallery item is removed for a query exactly where `gallery_identity_camera == query_identity_camera`: equal
    numbers are equal pairs of identity and camera. A query whose camera is unknown has -2 there, which no item has.
    """

    query_identity: np.ndarray
    gallery_identity: np.ndarray
    query_identity_camera: np.ndarray
    gallery_identity_camera: np.ndarray

    def same_identity(self) -> np.ndarray:
        """int64 [queries], the gallery items of each query's identity, removed ones included."""
        return _occurrences(self.gallery_identity, self.query_identity)

    def removed(self) -> np.ndarray:
        """int64 [queries], |removed(q)|: the gallery items of each query's identity and camera."""
        return _occurrences(self.gallery_identity_camera, self.query_identity_camera)

    def matches(self) -> np.ndarray:
        """int64 [queries], |matches(q)|: the gallery items of each query's identity that are not removed."""
        return self.same_identity() - self.removed()


def check_labels(labels: Labels, nq: int | None = None, ng: int | None = None) -> CheckedLabels:
    """Checks labels, of `nq` queries and `ng` gallery items where these counts are known already.

    Raises InputError where lengths disagree, there is no query or no gallery item, or labels are not integers.
    """
    nq = len(np.atleast_1d(labels.query_identity)) if nq is None else nq
    ng = len(np.atleast_1d(labels.gallery_identity)) if ng is None else ng
    for side, count in (("query", nq), ("gallery", ng)):
        if not count:
            raise InputError(f"{side}_identity is empty, nothing to rank; is {side} empty?")

    def both(kind: str) -> np.ndarray:
        sides = (("query", nq), ("gallery", ng))
        return np.concatenate([_check(f"{side}_{kind}", getattr(labels, f"{side}_{kind}"), n) for side, n in sides])

    identity, camera = both("identity"), both("camera")
    # Numbered anew from 0, a label fits in int32 whatever the data set's own numbers are.
    identity = np.unique(identity, return_inverse=True)[1].astype(np.int32)
    cameras, camera_index = np.unique(camera, return_inverse=True)
    pair = identity * np.int64(len(cameras)) + camera_index
    identity_camera = np.unique(pair, return_inverse=True)[1].astype(np.int32)
    query_identity_camera = np.where(camera[:nq] == UNKNOWN_CAMERA, np.int32(_NEVER_REMOVES), identity_camera[:nq])
    return CheckedLabels(identity[:nq], identity[nq:], query_identity_camera, identity_camera[nq:])


def match_cameras(gallery_cameras: set[int], query_camera: int) -> set[int]:
    """Of the cameras of a person's gallery images, those of matches: the same-camera rule over sets of cameras."""
    return gallery_cameras if query_camera == UNKNOWN_CAMERA else gallery_cameras - {query_camera}


def removal_note(labels: Labels) -> str:
    """One line for the reader where cameras are unknown, so that images stay which the rule would remove.

    Gallery images of people whom no query shows would stay in any case, distractors among them: they are not counted.

    Returns:
      The line; empty where all cameras are known.
    """
    queried = np.isin(labels.gallery_identity, labels.query_identity)
    query = np.asarray(labels.query_camera) == UNKNOWN_CAMERA
    gallery = (np.asarray(labels.gallery_camera) == UNKNOWN_CAMERA)[queried]
    if not (query.any() or gallery.any()):
        return ""
    consequence = "images taken right before or after a query count as its matches, and figures are higher than usual"
    if query.all() or (len(gallery) and gallery.all()):
        return f"cameras are unknown: no image was removed from the gallery; {consequence}"
    return (
        f"cameras of {query.sum()} of {len(query)} queries and {gallery.sum()} of {len(gallery)} gallery images of "
        f"their people are unknown: no image was removed for these queries, and none of these images; {consequence}"
    )


def no_match_error(queries: int, removed: np.ndarray | None = None) -> InputError:
    """The error for queries of which none has a match; `removed` int [queries], where it is known, tells why."""
    why = ""
    if removed is not None:
        absent = np.count_nonzero(removed == 0)
        why = (
            f": of {queries} queries {absent} have an identity that the gallery lacks, {queries - absent} one that it "
            "holds under the query's own camera only"
        )
    return InputError(
        f"query identities do not appear in gallery under other cameras{why}; check that query and gallery belong "
        "together, and how identity and camera are read from file names (camera -1, unknown, removes nothing)"
    )


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


def _occurrences(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How often each wanted value occurs among values from 0; a negative one never does."""
    counts = np.bincount(values, minlength=max(wanted.max() + 1, 0))
    return np.where(wanted >= 0, counts[np.maximum(wanted, 0)], 0)
