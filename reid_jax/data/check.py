"""Looks over a data set before a run: counts beside the expected ones, matches, broken files, leaks.

Market-1501's numbers: Zheng et al., ICCV 2015 (19,732 gallery files less 3,819 of identity -1).
"""

import collections
import dataclasses
import hashlib
import os
import pathlib
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from reid_jax.data import split as split_module
from reid_jax.data import synthetic
from reid_jax.data.builders import market1501
from reid_jax.errors import InputError

_IMAGE_SIZE = (128, 64)  # height, width of every image in the layout
_CHUNK = 512  # files in work at a time: bounds the memory
_NAMED = 5  # files that a problem names one by one


@dataclasses.dataclass(frozen=True)
class Counts:
    """Images (junk left out), identities (distractors left out) and cameras of a split."""

    images: int
    identities: int
    cameras: int


MARKET1501 = {
    "train": Counts(12936, 751, 6),
    "query": Counts(3368, 750, 6),
    "gallery": Counts(15913, 750, 6),
}


@dataclasses.dataclass(frozen=True)
class SplitReport:
    """What one split holds beside what it should; `single_camera` counts identities of one camera only."""

    split: str
    found: Counts
    expected: Counts
    junk: int
    distractors: int
    single_camera: int


@dataclasses.dataclass(frozen=True)
class Report:
    """The findings of one check: `problems` make a run unsound, `notes` do not.

    `unreadable`, `odd_sized` and `duplicates` (files in training whose bytes are also in query or gallery)
    hold names relative to the data set's folder, of every such file.
    """

    dataset: str
    place: str
    splits: tuple[SplitReport, ...]
    queries_without_match: int
    unreadable: tuple[str, ...]
    odd_sized: tuple[str, ...]
    duplicates: tuple[str, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether a run on this data set would be sound."""
        return not self.problems

    def table(self) -> str:
        """The report as lines of text for a reader."""
        head = ["split", "images", "expected", "identities", "expected", "cameras", "expected"]
        head += ["junk dropped", "distractors", "one camera only"]
        rows = [head]
        for item in self.splits:
            pairs = zip(dataclasses.astuple(item.found), dataclasses.astuple(item.expected), strict=True)
            rows.append([item.split, *(f"{number:,}" for pair in pairs for number in pair)])
            rows[-1] += [f"{number:,}" for number in (item.junk, item.distractors, item.single_camera)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [f"{self.dataset} in {self.place}"] if self.place else [self.dataset]
        for row in rows if self.splits else []:
            first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join([row[0].ljust(len(first)), *rest]))
        if self.splits:
            lines.append(
                f"queries without a match: {self.queries_without_match}; unreadable: {len(self.unreadable)}; "
                f"odd-sized: {len(self.odd_sized)}; in training and test alike: {len(self.duplicates)}"
            )
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"PROBLEM: {problem}" for problem in self.problems]
        lines.append("sound: a run can start" if self.sound else "not sound: mend the above, then check again")
        return "\n".join(lines)


def _count(files: list[market1501.SourceFile]) -> Counts:
    people = {file.identity for file in files if file.identity != market1501.DISTRACTOR}
    return Counts(len(files), len(people), len({file.camera for file in files}))


def _expected(name: str) -> dict[str, Counts]:
    if not name.startswith("synthetic"):
        return MARKET1501
    folder_of = {folder: split for split, folder in market1501.SPLIT_FOLDERS.items()}
    files = collections.defaultdict(list)
    for path in synthetic.file_names(synthetic.parse(name)):
        folder, _, file = path.partition("/")
        identity, camera = market1501.parse_name(file)
        files[folder_of[folder]].append(market1501.SourceFile(path, identity, camera, 0, 0))
    return {split: _count(files[split]) for split in market1501.SPLIT_FOLDERS}


def _some(names: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _look_inside(source: market1501.Source, files: list[market1501.SourceFile]) -> dict[str, tuple[str, str]]:
    """Per file name: (digest of its bytes, 'ok', 'odd' or why it cannot be decoded)."""

    def look(name: str) -> tuple[str, str]:
        try:
            data = read(name)
        except (OSError, InputError) as error:
            return f"unread {name}", str(error)
        digest = hashlib.sha256(data).hexdigest()
        try:
            image = split_module.decode(data)
        except Exception as error:  # Pillow's plugins raise many kinds; each means an unreadable file
            return digest, (str(error) or type(error).__name__).splitlines()[0]
        return digest, "ok" if image.shape[:2] == _IMAGE_SIZE else "odd"

    found = {}
    names = [file.name for file in files]
    with (
        source.reader() as read,
        ThreadPoolExecutor(synthetic.cores()) as pool,
        tqdm(total=len(names), desc="checking", unit=" images", mininterval=0.5) as bar,
    ):
        for start in range(0, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            found.update(zip(chunk, pool.map(look, chunk), strict=True))
            bar.update(len(chunk))
    return found


def check(name: str, data_dir: str | os.PathLike) -> Report:
    """Reads and decodes the whole data set and reports what was found; nothing is written.

    `name` and `data_dir` are as for `load_split`; synthetic people that are missing are drawn first. What is
    missing or broken becomes a problem of the report.

    Raises:
      InputError: an unknown data set, or a `data_dir` that does not exist.
    """
    split_module.check_name(name)
    expected = _expected(name)
    if name.startswith("synthetic"):
        data_dir = synthetic.render(synthetic.parse(name), data_dir)
    elif not pathlib.Path(data_dir).expanduser().exists():
        raise InputError(f"data_dir {str(data_dir)!r} does not exist; give the folder that holds {name}, or its zip")
    problems: list[str] = []
    notes: list[str] = []
    try:
        source = market1501.find_source(data_dir)
    except InputError as error:
        return Report(name, "", (), 0, (), (), (), (str(error),), ())

    files: dict[str, list[market1501.SourceFile]] = {}
    reports = []
    for split in market1501.SPLIT_FOLDERS:
        try:
            listed = source.files(split)
        except InputError as error:
            problems.append(str(error))
            listed = []
        files[split] = [file for file in listed if file.identity != market1501.JUNK]
        cameras_of = collections.defaultdict(set)
        for file in files[split]:
            if file.identity != market1501.DISTRACTOR:
                cameras_of[file.identity].add(file.camera)
        report = SplitReport(
            split=split,
            found=_count(files[split]),
            expected=expected[split],
            junk=len(listed) - len(files[split]),
            distractors=sum(file.identity == market1501.DISTRACTOR for file in files[split]),
            single_camera=sum(len(cameras) == 1 for cameras in cameras_of.values()),
        )
        reports.append(report)
        if listed and report.found != report.expected:
            found, wanted = dataclasses.astuple(report.found), dataclasses.astuple(report.expected)
            problems.append(
                f"{split} has {found[0]:,} images of {found[1]:,} identities by {found[2]} cameras, expected "
                f"are {wanted[0]:,} of {wanted[1]:,} by {wanted[2]}: results would not compare with others'; "
                f"unpack the whole set again into {source.location(split)}"
            )

    gallery_cameras = collections.defaultdict(set)
    for file in files["gallery"]:
        gallery_cameras[file.identity].add(file.camera)
    without = sum(not gallery_cameras.get(file.identity, set()) - {file.camera} for file in files["query"])
    absent = {file.identity for file in files["query"]} - set(gallery_cameras)
    if absent and files["gallery"]:
        problems.append(
            f"{len(absent)} query identities do not appear in gallery, the first is {min(absent)}; "
            f"fill {source.location('gallery')} from the same set as {source.location('query')}"
        )
    elif without and files["gallery"]:
        notes.append(f"{without} queries have no gallery image by another camera: evaluation does not count them")
    tested = {file.identity for split in ("query", "gallery") for file in files[split]} - {market1501.DISTRACTOR}
    shared = {file.identity for file in files["train"]} & tested
    if shared:
        problems.append(
            f"{len(shared)} identities are both in training and in test, the first is {min(shared)}: "
            "results would flatter; keep the official split"
        )

    inside = _look_inside(source, [file for split in files for file in files[split]])
    unreadable = tuple(file for file, (_, state) in inside.items() if state not in ("ok", "odd"))
    odd = tuple(file for file, (_, state) in inside.items() if state == "odd")
    seen_in_test = {inside[file.name][0] for split in ("query", "gallery") for file in files[split]}
    duplicates = tuple(file.name for file in files["train"] if inside[file.name][0] in seen_in_test)
    if unreadable:
        problems.append(f"{len(unreadable)} file(s) cannot be decoded: {_some(unreadable)}; unpack these again")
    if duplicates:
        problems.append(
            f"{len(duplicates)} training file(s) are byte for byte in query or gallery: {_some(duplicates)}; "
            "remove them from training"
        )
    if odd:
        height, width = _IMAGE_SIZE
        notes.append(f"{len(odd)} image(s) are not {height}x{width}: {_some(odd)}; loading resizes them")
    return Report(
        dataset=name,
        place=str(source.path),
        splits=tuple(reports),
        queries_without_match=without,
        unreadable=unreadable,
        odd_sized=odd,
        duplicates=duplicates,
        problems=tuple(problems),
        notes=tuple(notes),
    )
