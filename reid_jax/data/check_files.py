"""Checks every file of a data set: can it be decoded, has it the right size and kind, do equal bytes betray a leak."""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from reid_jax.data.builders.source import GALLERY, QUERY, STILL, TRAIN, Source, drop_junk
from reid_jax.data.contents import look_inside
from reid_jax.data.decode import undecodable
from reid_jax.errors import first_few
from reid_jax.retrieval.protocol import match_cameras


@dataclasses.dataclass(frozen=True)
class SplitLabels:
    """A split's images without junk, arrays [n], and how many were junk."""

    name: list[str]
    empty: np.ndarray
    identity: np.ndarray
    camera: np.ndarray
    tracklet: np.ndarray
    junk: int

    @classmethod
    def read(cls, source: Source, split: str) -> "SplitLabels":
        """Lists a split and drops its junk. Raises InputError as `Source.files`."""
        listed = source.files(split)
        kept = list(drop_junk(listed))

        def column(field: str) -> np.ndarray:
            return np.fromiter((getattr(file, field) for file in kept), np.int64, len(kept))

        labels = [column(field) for field in ("identity", "camera", "tracklet")]
        return cls([file.name for file in kept], column("size") == 0, *labels, len(listed) - len(kept))

    def items(self) -> np.ndarray:
        """The rows of what is ranked: every still image, and one frame of each tracklet."""
        still = np.flatnonzero(self.tracklet == STILL)
        first = np.unique(self.tracklet, return_index=True)[1]
        return np.concatenate([still, first[self.tracklet[first] != STILL]])


def check_files(
    source: Source, splits: Mapping[str, SplitLabels], problems: list[str], notes: list[str]
) -> dict[str, Any]:
    """Reads and decodes every file: the fields of `Report` about files.

    Adds a line about each kind of finding to `problems` or `notes`.
    """
    names = [name for labels in splits.values() for name in labels.name]
    inside = look_inside(source, names, f"checking {source.key}")
    split = np.repeat(np.array(list(splits), str), [len(labels.name) for labels in splits.values()])
    in_train = split == TRAIN
    identity = np.concatenate([np.zeros(0, int), *(labels.identity for labels in splits.values())])
    empty = np.concatenate([np.zeros(0, bool), *(labels.empty for labels in splits.values())])
    sound = np.ones(len(names), bool)
    sound[list(inside.wrong)] = False
    copied, contradictory = _compare_bytes(inside.digest, identity, in_train, sound)
    camera = np.concatenate([np.zeros(0, int), *(labels.camera for labels in splits.values())])
    self_matches = _self_matches(inside.digest, identity, camera, sound & (split == QUERY), sound & (split == GALLERY))

    def named(chosen: np.ndarray) -> tuple[str, ...]:
        return tuple(names[row] for row in np.flatnonzero(chosen))

    unreadable = {names[row]: reason for row, reason in inside.wrong.items()}
    if unreadable:
        problems.append(undecodable(list(unreadable.items())))
    if copied.any():
        problems.append(
            f"{copied.sum():,} training file(s) are byte for byte in test: {first_few(named(copied))}; "
            "remove them from training"
        )
    if self_matches.any():
        problems.append(
            f"{self_matches.sum():,} query file(s) are byte for byte in the gallery, by another or an unknown camera: "
            f"{first_few(named(self_matches))}; such a query finds itself, whatever the network; remove one of the two"
        )
    if contradictory.any():
        notes.append(
            f"{contradictory.sum():,} file(s) are byte for byte another identity's in the same part, training or "
            f"test: {first_few(named(contradictory))}"
        )
    odd = np.zeros(len(names), bool)
    if source.image_size is not None:
        odd = sound & (inside.size != source.image_size).any(1)
        if odd.any():
            height, width = source.image_size
            notes.append(
                f"{odd.sum():,} image(s) are not {height}x{width}: {first_few(named(odd))}; loading resizes them"
            )
    misnamed = sound & inside.misnamed
    if misnamed.any():
        notes.append(
            f"{misnamed.sum():,} file(s) are of another kind than their name says: {first_few(named(misnamed))}"
        )
    sizes = None
    if sound.any():
        sizes = tuple(tuple(map(int, reduce(inside.size[sound], axis=0))) for reduce in (np.min, np.max))
    return {
        "sizes": sizes,
        "unreadable": unreadable,
        "empty": named(empty & ~sound),
        "odd_sized": named(odd),
        "misnamed": named(misnamed),
        "duplicates": named(copied),
        "self_matches": named(self_matches),
        "contradictory": named(contradictory),
    }


def _compare_bytes(
    digest: np.ndarray, identity: np.ndarray, in_train: np.ndarray, sound: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which files of training are in test too, and which are another identity's in the same part; both bool [n]."""
    _, group = np.unique(digest, return_inverse=True)
    count = group.max(initial=-1) + 1
    tested = np.zeros(count, bool)
    tested[group[sound & ~in_train]] = True
    contradictory = np.zeros(len(group), bool)
    for subset in (sound & in_train, sound & ~in_train):
        least, most = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
        np.minimum.at(least, group[subset], identity[subset])
        np.maximum.at(most, group[subset], identity[subset])
        contradictory |= subset & (least < most)[group]
    return sound & in_train & tested[group], contradictory


def _self_matches(
    digest: np.ndarray, identity: np.ndarray, camera: np.ndarray, in_query: np.ndarray, in_gallery: np.ndarray
) -> np.ndarray:
    """Which queries have the bytes of a gallery image of their person that the protocol does not remove: bool [n]."""
    _, group = np.unique(digest, return_inverse=True)
    cameras_of = collections.defaultdict(set)
    for row in np.flatnonzero(in_gallery & np.isin(group, group[in_query])):
        cameras_of[group[row], identity[row]].add(int(camera[row]))
    matched = np.zeros(len(group), bool)
    for row in np.flatnonzero(in_query):
        matched[row] = bool(match_cameras(cameras_of.get((group[row], identity[row]), set()), int(camera[row])))
    return matched
