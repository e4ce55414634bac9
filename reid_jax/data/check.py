"""Looks over a data set before a run: counts beside the published ones, matches, broken files, leaks."""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from reid_jax.data import datasets
from reid_jax.data.builders import synthetic_people
from reid_jax.data.builders.source import GALLERY, QUERY, STILL, TRAIN, UNKNOWN_CAMERA, Counts, Source, drop_junk
from reid_jax.data.contents import Contents, look_inside
from reid_jax.errors import InputError, first_few
from reid_jax.text_table import format_table

_BATCH_IDENTITIES = 8  # that the default batch holds


@dataclasses.dataclass(frozen=True)
class SplitReport:
    """What one split holds beside what was published, None where nothing was.

    `junk` images are dropped; `distractors` are images of nobody; `tracklets` counts those of a video set;
    `single_camera` counts identities of one camera only, and `unknown_camera` images whose camera is unknown.
    """

    split: str
    found: Counts
    expected: Counts | None
    junk: int
    distractors: int
    tracklets: int
    single_camera: int
    unknown_camera: int


@dataclasses.dataclass(frozen=True)
class Report:
    """The findings of one check: `problems` make a run unsound, `notes` do not.

    `trainable` and `testable` say whether `train` and `evaluate` can start on the images of this set; `train` scores as
    well, and takes the images for that from config.test_dataset where this set has none.

    Files are named relative to the data set's folder, every one of them: `unreadable` with the reason; `empty` (0
    bytes, unreadable as well); `odd_sized`, where the set fixes a size; `misnamed`, of another kind than the name says;
    `duplicates`, in training with bytes that are in the test splits too; `self_matches`, queries with the bytes of a
    gallery image of their person that the protocol does not remove; `contradictory`, with bytes that another identity
    has too, both in training or both in test. `sizes` is the least and the largest (height, width) by axis.
    """

    dataset: str
    place: str = ""
    trainable: bool = False
    testable: bool = False
    splits: tuple[SplitReport, ...] = ()
    queries_without_match: int = 0
    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)
    empty: tuple[str, ...] = ()
    odd_sized: tuple[str, ...] = ()
    misnamed: tuple[str, ...] = ()
    duplicates: tuple[str, ...] = ()
    self_matches: tuple[str, ...] = ()
    contradictory: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether what can start on this data set, `train` or `evaluate` or both, would be sound."""
        return not self.problems

    @property
    def verdict(self) -> str:
        """What can start, in one line."""
        if not self.sound:
            return "not sound: mend the above, then check again"
        if not self.testable:
            return (
                "sound for training only: there is no query and gallery, so that evaluate cannot start, and train "
                "needs config.test_dataset"
            )
        if not self.trainable:
            return "sound for evaluation only: there are no training images, so that train cannot start"
        return "sound: train and evaluate can start"

    def table(self) -> str:
        """The report as lines of text for a reader."""
        lines = [f"{self.dataset} in {self.place}" if self.place else self.dataset]
        if self.splits:
            lines.append(format_table(self._rows()))
            lines.append(
                f"queries without a match: {self.queries_without_match:,}; unreadable: {len(self.unreadable):,}, "
                f"of 0 bytes: {len(self.empty):,}; odd-sized: {len(self.odd_sized):,}; "
                f"in training and test alike: {len(self.duplicates):,}; "
                f"in query and gallery alike: {len(self.self_matches):,}"
            )
        if self.sizes:
            (low, narrow), (high, wide) = self.sizes
            lines.append(f"height x width: {low}x{narrow} to {high}x{wide}")
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"PROBLEM: {problem}" for problem in self.problems]
        lines.append(self.verdict)
        return "\n".join(lines)

    def _rows(self) -> list[list[str]]:
        video = any(item.tracklets for item in self.splits)
        head = ["split", "images", "expected", "identities", "expected", "cameras", "expected"]
        rows = [[*head, "junk dropped", "distractors", "one camera only", *(["tracklets"] if video else [])]]
        for item in self.splits:
            expected = item.expected or Counts(None, None, None)
            pairs = zip(dataclasses.astuple(item.found), dataclasses.astuple(expected), strict=True)
            numbers = [*(number for pair in pairs for number in pair), item.junk, item.distractors, item.single_camera]
            numbers += [item.tracklets] if video else []
            rows.append([item.split, *("-" if number is None else f"{number:,}" for number in numbers)])
        return rows


@dataclasses.dataclass(frozen=True)
class _Labels:
    """A split's images without junk, arrays [n], and how many were junk."""

    name: list[str]
    empty: np.ndarray
    identity: np.ndarray
    camera: np.ndarray
    tracklet: np.ndarray
    junk: int

    @classmethod
    def read(cls, source: Source, split: str) -> "_Labels":
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


def check(name: str, data_dir: str | os.PathLike) -> Report:
    """Reads and decodes one whole data set and reports what was found; nothing is written.

    `name` and `data_dir` are as for `load_split`; synthetic people that are missing are drawn first. What is missing
    or broken becomes a problem of the report.

    Raises:
      InputError: an unknown data set, several joined ones, or a `data_dir` that does not exist.
    """
    if len(datasets.check_name(name)) > 1:
        raise InputError(f"{name!r} joins several data sets; check them one by one")
    drawn = name.partition(":")[0] == synthetic_people.NAME
    if not drawn and not pathlib.Path(os.path.expanduser(data_dir)).exists():
        raise InputError(f"data_dir {str(data_dir)!r} does not exist; give the folder that holds {name}, or its zip")
    try:
        source = datasets.find_source(name, data_dir)
    except InputError as error:
        return Report(name, problems=(str(error),))

    problems: list[str] = []
    splits: dict[str, _Labels] = {}
    for split in source.splits:
        try:
            splits[split] = _Labels.read(source, split)
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
        asked, unmatched = _match_queries(source, splits[QUERY], splits[GALLERY], problems, notes)
        testable = unmatched < asked
    _find_shared_identities(source, splits, problems)

    names = [name for labels in splits.values() for name in labels.name]
    inside = look_inside(source, names, f"checking {source.key}")
    files = _file_findings(source, splits, names, inside, problems, notes)
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


def _split_report(source: Source, split: str, labels: _Labels) -> SplitReport:
    distractor = _is_distractor(source, split, labels)
    unknown = labels.camera == UNKNOWN_CAMERA
    people = labels.identity[~distractor]
    # Each identity's pairs of (identity, camera): one pair is one camera.
    pairs = np.unique(np.stack([people, labels.camera[~distractor]], 1), axis=0)
    identity, cameras = np.unique(pairs[:, 0], return_counts=True)
    known = identity[(cameras == 1)]
    single = np.setdiff1d(known, labels.identity[~distractor & unknown])
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


def _is_distractor(source: Source, split: str, labels: _Labels) -> np.ndarray:
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
    if any(wanted is not None and there != wanted for there, wanted in zip(found, expected, strict=True)):
        wanted = ["any number" if number is None else f"{number:,}" for number in expected]
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
    source: Source, query: _Labels, gallery: _Labels, problems: list[str], notes: list[str]
) -> tuple[int, int]:
    """Counts the queries, tracklets as one, and those that the protocol leaves without a match, and tells why."""
    cameras_of = collections.defaultdict(set)
    for identity, camera in zip(gallery.identity.tolist(), gallery.camera.tolist(), strict=True):
        cameras_of[identity].add(camera)
    asked = query.items()
    pairs = zip(query.identity[asked].tolist(), query.camera[asked].tolist(), strict=True)
    without = sum(not _kept(cameras_of.get(identity, set()), camera) for identity, camera in pairs)
    absent = set(query.identity.tolist()) - set(cameras_of)
    cameras = set(query.camera.tolist()) | set(gallery.camera.tolist())
    if absent:
        problems.append(
            f"{len(absent):,} query identities do not appear in gallery, the first is {min(absent)}; take query and "
            f"gallery of {source.location} from the same set"
        )
    elif 0 < without == len(asked) and len(cameras) == 1:
        problems.append(
            f"all images of query and gallery are of camera {cameras.pop()}, and a query's own camera is left out: "
            "evaluation has nothing to score; tell the cameras apart, or leave them out where none is known"
        )
    elif 0 < without == len(asked):
        problems.append(
            "no query has a gallery image by another camera: evaluation has nothing to score; add such images"
        )
    elif without:
        notes.append(f"{without:,} queries have no gallery image by another camera: evaluation does not count them")
    if len(cameras_of) == 1:
        problems.append("gallery holds one identity only: every ranking is right, whatever the network; add people")
    return len(asked), without


def _kept(cameras: set[int], camera: int) -> set[int]:
    """Of the cameras of a person's gallery images, those that the protocol keeps for a query of `camera`."""
    return cameras if camera == UNKNOWN_CAMERA else cameras - {camera}


def _find_shared_identities(source: Source, splits: dict[str, _Labels], problems: list[str]) -> None:
    if TRAIN not in splits or source.test_numbered_apart:
        return
    tested = {number for split in splits if split != TRAIN for number in splits[split].identity.tolist()}
    shared = set(splits[TRAIN].identity.tolist()) & (tested - {source.distractor})
    if shared:
        problems.append(
            f"{len(shared):,} identities are both in training and in test, the first is {min(shared)}: "
            "results would flatter; keep the official split"
        )


def _file_findings(
    source: Source,
    splits: dict[str, _Labels],
    names: Sequence[str],
    inside: Contents,
    problems: list[str],
    notes: list[str],
) -> dict:
    """The report's fields about files, with a problem or a note about each kind."""
    split = np.repeat(np.array(list(splits), str), [len(labels.name) for labels in splits.values()])
    in_train = split == TRAIN
    identity = np.concatenate([np.zeros(0, int), *(labels.identity for labels in splits.values())])
    empty = np.concatenate([np.zeros(0, bool), *(labels.empty for labels in splits.values())])
    sound = np.ones(len(names), bool)
    sound[list(inside.wrong)] = False
    copied, contradictory = _compare_bytes(inside.digest, identity, in_train, sound)
    camera = np.concatenate([np.zeros(0, int), *(labels.camera for labels in splits.values())])
    found = _self_matches(inside.digest, identity, camera, sound & (split == QUERY), sound & (split == GALLERY))

    def named(chosen: np.ndarray) -> tuple[str, ...]:
        return tuple(names[row] for row in np.flatnonzero(chosen))

    unreadable = {names[row]: reason for row, reason in inside.wrong.items()}
    if unreadable:
        some = first_few([f"{name} ({reason})" for name, reason in unreadable.items()])
        problems.append(f"{len(unreadable):,} file(s) cannot be decoded: {some}; unpack these again")
    if copied.any():
        problems.append(
            f"{copied.sum():,} training file(s) are byte for byte in test: {first_few(named(copied))}; "
            "remove them from training"
        )
    if found.any():
        problems.append(
            f"{found.sum():,} query file(s) are byte for byte in the gallery, by another or an unknown camera: "
            f"{first_few(named(found))}; such a query finds itself, whatever the network; remove one of the two"
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
        "self_matches": named(found),
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
    for part in (sound & in_train, sound & ~in_train):
        least, most = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
        np.minimum.at(least, group[part], identity[part])
        np.maximum.at(most, group[part], identity[part])
        contradictory |= part & (least < most)[group]
    return sound & in_train & tested[group], contradictory


def _self_matches(
    digest: np.ndarray, identity: np.ndarray, camera: np.ndarray, in_query: np.ndarray, in_gallery: np.ndarray
) -> np.ndarray:
    """Which queries have the bytes of a gallery image of their person that the protocol does not remove: bool [n]."""
    _, group = np.unique(digest, return_inverse=True)
    cameras_of = collections.defaultdict(set)
    for row in np.flatnonzero(in_gallery & np.isin(group, group[in_query])):
        cameras_of[group[row], identity[row]].add(int(camera[row]))
    found = np.zeros(len(group), bool)
    for row in np.flatnonzero(in_query):
        found[row] = bool(_kept(cameras_of.get((group[row], identity[row]), set()), int(camera[row])))
    return found
