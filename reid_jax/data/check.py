"""Checks a data set before a run: counts beside the published ones, matches, shared identities, and every file."""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Iterable

import numpy as np

from reid_jax.data import datasets
from reid_jax.data.builders import street_people, synthetic_people
from reid_jax.data.builders.source import GALLERY, QUERY, STILL, TRAIN, Counts, Source
from reid_jax.data.check_files import SplitLabels, check_files
from reid_jax.data.check_report import Report, SplitReport
from reid_jax.errors import InputError
from reid_jax.retrieval.protocol import UNKNOWN_CAMERA, match_cameras

_BATCH_IDENTITIES = 8  # that the default batch holds


def check(name: str, data_dir: str | os.PathLike) -> Report:
    """Reads and decodes one whole data set and reports what was found; nothing is written.

    `name` and `data_dir` are as for `load_split`; drawn people that are missing are drawn first. What is missing
    or broken becomes a problem of the report.

    Raises:
      InputError: an unknown data set, several joined ones, or a `data_dir` that does not exist.
    """
    if len(datasets.check_name(name)) > 1:
        raise InputError(f"{name!r} joins several data sets; check them one by one")
    drawn = name.partition(":")[0] in (synthetic_people.NAME, street_people.NAME)
    if not drawn and not pathlib.Path(os.path.expanduser(data_dir)).exists():
        raise InputError(f"data_dir {str(data_dir)!r} does not exist; give the folder that holds {name}, or its zip")
    try:
        source = datasets.find_source(name, data_dir)
    except InputError as error:
        return Report(name, problems=(str(error),))

    problems: list[str] = []
    splits: dict[str, SplitLabels] = {}
    for split in source.splits:
        try:
            splits[split] = SplitLabels.read(source, split)
        except InputError as error:
            problems.append(str(error))
    notes = source.notes_so_far()
    reports = [_split_report(source, split, labels) for split, labels in splits.items()]
    for report in reports:
        problems += _count_problems(source, report)
        notes += _split_notes(report)
    problems += _missing_splits(source)
    trainable = any(report.split == TRAIN and report.found.identities >= _BATCH_IDENTITIES for report in reports)
    testable, unmatched = False, len(splits[QUERY].items()) if QUERY in splits else 0
    if QUERY in splits and GALLERY in splits:
        queries, unmatched = _match_queries(source, splits[QUERY], splits[GALLERY], problems, notes)
        testable = unmatched < queries
    _find_shared_identities(source, splits, problems)

    files = check_files(source, splits, problems, notes)
    broken = {split for split, labels in splits.items() if not files["unreadable"].keys().isdisjoint(labels.name)}
    return Report(
        dataset=source.name,
        place=source.location,
        trainable=trainable and TRAIN not in broken,
        testable=testable and not {QUERY, GALLERY} & broken,
        splits=tuple(reports),
        queries_without_match=unmatched,
        **files,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _split_report(source: Source, split: str, labels: SplitLabels) -> SplitReport:
    distractor = _is_distractor(source, split, labels)
    unknown = labels.camera == UNKNOWN_CAMERA
    people = labels.identity[~distractor]
    # Each identity's pairs of (identity, camera): one pair is one camera.
    pairs = np.unique(np.stack([people, labels.camera[~distractor]], 1), axis=0)
    identity, cameras = np.unique(pairs[:, 0], return_counts=True)
    single = np.setdiff1d(identity[cameras == 1], labels.identity[~distractor & unknown])
    return SplitReport(
        split=split,
        found=Counts(len(labels.name), len(identity), len(np.unique(labels.camera[~unknown]))),
        expected=source.expected(split),
        junk=labels.junk,
        distractors=int(distractor.sum()),
        tracklets=len(np.unique(labels.tracklet[labels.tracklet != STILL])),
        single_camera=len(single),
        unknown_camera=int(unknown.sum()),
    )


def _is_distractor(source: Source, split: str, labels: SplitLabels) -> np.ndarray:
    if source.distractor is None or split == TRAIN:
        return np.zeros(len(labels.identity), bool)
    return labels.identity == source.distractor


def _count_problems(source: Source, report: SplitReport) -> Iterable[str]:
    if report.found.images == 0:
        yield f"{report.split} holds junk only (identity -1); unpack the whole set again into {source.location}"
        return
    if report.split == TRAIN and report.found.identities < 2:
        yield "train holds one identity only: there is nothing to tell apart; add people"
    elif report.split == TRAIN and report.found.identities < _BATCH_IDENTITIES:
        yield (
            f"train has {report.found.identities} identities, fewer than the {_BATCH_IDENTITIES} of a default batch, "
            f"and refuses to start; add people, or lower config.batch.identities to {report.found.identities}"
        )
    if report.expected is None:
        return
    found, expected = dataclasses.astuple(report.found), dataclasses.astuple(report.expected)
    if any(published is not None and count != published for count, published in zip(found, expected, strict=True)):
        wanted = ["any number" if count is None else f"{count:,}" for count in expected]
        yield (
            f"{report.split} has {found[0]:,} images of {found[1]:,} identities by {found[2]:,} cameras, expected are "
            f"{wanted[0]} of {wanted[1]} by {wanted[2]}: results would not compare with others'; unpack the whole set "
            f"again into {source.location}"
        )


def _missing_splits(source: Source) -> Iterable[str]:
    if QUERY in source.splits and GALLERY not in source.splits:
        yield "there is a query but no gallery to find it in: nothing can be evaluated; add one, or drop the query"
    elif GALLERY in source.splits and QUERY not in source.splits:
        yield "there is a gallery but no query: nothing can be evaluated; make some of its images queries, or drop it"
    elif not {TRAIN, QUERY} & set(source.splits):
        yield "there are neither training images nor query and gallery: nothing can start; add either"


def _split_notes(report: SplitReport) -> Iterable[str]:
    if report.split == TRAIN and 2 <= report.found.identities == report.found.images:
        yield "no one has a second image in train: what the images of one person share cannot be learned"
    if report.unknown_camera:
        yield (
            f"{report.split}: the camera of {report.unknown_camera:,} of {report.found.images:,} images is unknown; "
            "none of them is left out of a ranking as of the query's own camera"
        )


def _match_queries(
    source: Source, query: SplitLabels, gallery: SplitLabels, problems: list[str], notes: list[str]
) -> tuple[int, int]:
    """Counts the queries, a tracklet as one, and those without a match; adds why to problems or notes."""
    cameras_of = collections.defaultdict(set)
    for identity, camera in zip(gallery.identity.tolist(), gallery.camera.tolist(), strict=True):
        cameras_of[identity].add(camera)
    items = query.items()
    pairs = zip(query.identity[items].tolist(), query.camera[items].tolist(), strict=True)
    without = sum(not match_cameras(cameras_of.get(identity, set()), camera) for identity, camera in pairs)
    absent = set(query.identity.tolist()) - set(cameras_of)
    cameras = set(query.camera.tolist()) | set(gallery.camera.tolist())
    if absent:
        problems.append(
            f"{len(absent):,} query identities do not appear in gallery, the first is {min(absent)}; take query and "
            f"gallery of {source.location} from the same set"
        )
    elif 0 < without == len(items) and len(cameras) == 1:
        problems.append(
            f"all images of query and gallery are of camera {cameras.pop()}, and a query's own camera is left out: "
            "evaluation has nothing to score; tell the cameras apart, or leave them out where none is known"
        )
    elif 0 < without == len(items):
        problems.append(
            "no query has a gallery image by another camera: evaluation has nothing to score; add such images"
        )
    elif without:
        notes.append(f"{without:,} queries have no gallery image by another camera: evaluation does not count them")
    if len(cameras_of) == 1:
        problems.append("gallery holds one identity only: every ranking is right, whatever the network; add people")
    return len(items), without


def _find_shared_identities(source: Source, splits: dict[str, SplitLabels], problems: list[str]) -> None:
    if TRAIN not in splits or source.test_numbered_apart:
        return
    tested = {identity for split in splits if split != TRAIN for identity in splits[split].identity.tolist()}
    shared = set(splits[TRAIN].identity.tolist()) & (tested - {source.distractor})
    if shared:
        problems.append(
            f"{len(shared):,} identities are both in training and in test, the first is {min(shared)}: "
            "results would flatter; keep the official split"
        )
