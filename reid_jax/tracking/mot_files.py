"""MOTChallenge text: ground truth, detections and results, a box a line, read and written.

    ground truth   frame,id,left,top,width,height,flag,class,visibility      (MOT16 and later)
                   frame,id,left,top,width,height,flag,x,y,z                 (2D MOT 2015)
    detections     frame,-1,left,top,width,height,confidence[,x,y,z]
    results        frame,id,left,top,width,height,confidence[,x,y,z[,camera]]

Frames count from 1; boxes are in pixels, as they stand in the file. x, y and z, places in the world, are not used, and
written as -1. Of ten fields in ground truth the eighth is a class where it is -1 or a whole number from 1 on in every
such line of the file. The eleventh column of results is ours, and written for several cameras alone: TrackEval passes
over it, but py-motmetrics reads shifted columns then. Ground truth of several cameras is a sequence folder for each,
with identities in common. Lines that begin with # are comments.
"""

import dataclasses
import functools
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from reid_jax.errors import InputError, first_few, shown
from reid_jax.files.writing import replace_file
from reid_jax.tracking.boxes import corners

NOBODY = -1  # the identity of a detection
UNKNOWN = -1  # a class or a visibility that the file does not say
PEDESTRIAN = 1  # MOTChallenge's class of people who walk or stand
MOST = 2**31 - 1  # of frames, identities, classes and cameras: what other tools hold them in

# How the file of a run is called that has not ended, and what its last line says; see `results_file`.
PARTIAL = ".partial"
COMMENT = "#"
_TO_FRAME = re.compile(r"# to frame [0-9]+( of [0-9]+)?\s*")

_DIGITS = 3  # of boxes, behind the point: a thousandth of a pixel


@dataclasses.dataclass(frozen=True)
class Rows:
    """n boxes, as columns that share their first axis [n].

    frame: int64 [n], counted from 1.
    identity: int64 [n], `NOBODY` for detections.
    box: float64 [n, 4], (left, top, width, height) in pixels, each width and height above 0.
    confidence: float64 [n]; of ground truth the flag, 0 for a box that is not to be scored.
    category: int64 [n], MOTChallenge's class of ground truth; `UNKNOWN` where the file has none.
    visibility: float64 [n], the part of a ground truth box that is seen, 0 to 1; `UNKNOWN` where the file has none.
    camera: int64 [n]; 0 where the file has none.
    """

    frame: np.ndarray
    identity: np.ndarray
    box: np.ndarray
    confidence: np.ndarray
    category: np.ndarray
    visibility: np.ndarray
    camera: np.ndarray

    @classmethod
    def of(
        cls,
        frame: Sequence[int] | np.ndarray,
        box: Sequence[Sequence[float]] | np.ndarray,
        *,
        identity: Sequence[int] | np.ndarray | int = NOBODY,
        confidence: Sequence[float] | np.ndarray | float = 1.0,
        category: Sequence[int] | np.ndarray | int = UNKNOWN,
        visibility: Sequence[float] | np.ndarray | float = UNKNOWN,
        camera: Sequence[int] | np.ndarray | int = 0,
    ) -> "Rows":
        """Returns rows of these columns; one number stands for a column of it."""
        frame = np.asarray(frame, np.int64)

        def column(values, kind) -> np.ndarray:
            return np.array(np.broadcast_to(np.asarray(values, kind), frame.shape))

        return cls(
            frame,
            column(identity, np.int64),
            np.asarray(box, np.float64).reshape(len(frame), 4),
            column(confidence, np.float64),
            column(category, np.int64),
            column(visibility, np.float64),
            column(camera, np.int64),
        )

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def corners(self) -> np.ndarray:
        """The boxes as float64 [n, 4], (left, top, right, bottom)."""
        return corners(self.box)

    def select(self, index: np.ndarray) -> "Rows":
        """The rows that `index` (int [m], or bool [n]) names, in its order."""
        return Rows(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))

    def sorted(self) -> "Rows":
        """The rows by frame, then by identity; equals keep their order."""
        return self.select(np.lexsort((self.identity, self.frame)))

    def by_frame(self) -> dict[int, np.ndarray]:
        """{frame: the rows int64 [m] of it, in their order} for every frame that has any, in the order of frames."""
        order = np.argsort(self.frame, kind="stable")
        frames, first = np.unique(self.frame[order], return_index=True)
        return dict(zip(frames.tolist(), np.split(order, first[1:]), strict=True)) if len(self) else {}


def join(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts, one behind the other."""
    names = [field.name for field in dataclasses.fields(Rows)]
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def read_ground_truth(path: str | os.PathLike) -> Rows:
    """Reads ground truth of either form, lines in any order; the rows keep the file's order.

    Raises InputError, naming the file and its first wrong lines, where a line has too few or too many fields, a field
    is no finite number, a frame is below 1, an identity or a class no whole number up to 2^31 - 1, a width or a height
    not above 0, or where a person has two boxes in one frame; and where the file cannot be read.
    """
    path, what = Path(path), "ground truth"
    lines = list(_lines(path, what))
    has_places = not all(_may_be_class(line) for _, line in lines)
    return _gather_lines(path, what, lines, functools.partial(_ground_truth, has_places=has_places), (6, 10))


def read_detections(path: str | os.PathLike) -> Rows:
    """Reads detections as `read_ground_truth` does; what stands for an identity is not read."""
    return _read(path, "detections", _detection, (6, 10))


def read_results(path: str | os.PathLike) -> Rows:
    """Reads results as `read_ground_truth` does; a person may have a box in each camera.

    Raises InputError also for the results of a run that has not ended.
    """
    return _read(path, "results", _result, (6, 11))


def write_ground_truth(path: str | os.PathLike, rows: Rows) -> None:
    """Writes ground truth in MOT16's form, by frame and identity, complete or not at all.

    Raises InputError where the file cannot be written.
    """
    _write(path, rows.sorted(), _ground_truth_line)


def write_detections(path: str | os.PathLike, rows: Rows) -> None:
    """Writes detections by frame as `write_ground_truth` does."""
    _write(path, rows.select(np.argsort(rows.frame, kind="stable")), _detection_line)


def write_results(path: str | os.PathLike, rows: Rows) -> None:
    """Writes results as `write_ground_truth` does; with the camera's column where any camera is not 0."""
    _write(path, rows.sorted(), result_line if not rows.camera.any() else _camera_line)


def result_line(rows: Rows, row: int) -> str:
    """The line of results, without a line break, of one row."""
    return f"{_start(rows, row, rows.identity[row])},{_number(rows.confidence[row])},-1,-1,-1"


def _camera_line(rows: Rows, row: int) -> str:
    return f"{result_line(rows, row)},{rows.camera[row]}"


def _detection_line(rows: Rows, row: int) -> str:
    return f"{_start(rows, row, NOBODY)},{_number(rows.confidence[row])},-1,-1,-1"


def _ground_truth_line(rows: Rows, row: int) -> str:
    flag, category, visibility = rows.confidence[row], rows.category[row], rows.visibility[row]
    return f"{_start(rows, row, rows.identity[row])},{_number(flag)},{category},{_number(visibility)}"


def _start(rows: Rows, row: int, identity: int) -> str:
    left, top, *sides = rows.box[row]
    box = [left, top, *(max(side, 10**-_DIGITS) for side in sides)]  # a side of 0 could not be read
    return f"{rows.frame[row]},{identity},{','.join(map(_number, box))}"


def _number(value: float) -> str:
    text = f"{value:.{_DIGITS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _write(path: str | os.PathLike, rows: Rows, line: Callable[[Rows, int], str]) -> None:
    text = "".join(f"{line(rows, row)}\n" for row in range(len(rows)))
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="ascii"))


@dataclasses.dataclass(frozen=True)
class Row:
    """One line's values, in the order of `Rows`' fields."""

    frame: int
    identity: int
    box: tuple[float, float, float, float]
    confidence: float
    category: int = UNKNOWN
    visibility: float = UNKNOWN
    camera: int = 0


def detection(frame: float, box: Sequence[float], confidence: float = 1.0) -> Row:
    """A detection, box (left, top, width, height); raises InputError for a frame below 1 and a box without area."""
    left, top, width, height = box
    if width <= 0 or height <= 0:
        raise InputError(f"the box is {width:g} wide and {height:g} high; both must be above 0")
    return Row(whole_number("the frame", frame, 1), NOBODY, (left, top, width, height), confidence)


def whole_number(what: str, value: float, least: int = 0) -> int:
    """The value as an int; raises InputError, which says `what` it is, where it is none from `least` to `MOST`."""
    if not value.is_integer() or not least <= value <= MOST:
        raise InputError(f"{what} is {value:.15g}; it takes a whole number from {least} to {MOST:,}")
    return int(value)


def finite_number(what: str, text: str) -> float:
    """The number that a text spells; raises InputError, which says `what` it is, where it is none, or not finite."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:
        raise InputError(f"{what} is {shown(text.strip(), 40)!r}, no finite number")
    return value


def _detection(fields: list[float]) -> Row:
    return detection(fields[0], fields[2:6], fields[6] if len(fields) > 6 else 1.0)


def _result(fields: list[float]) -> Row:
    camera = whole_number("the camera", fields[10]) if len(fields) > 10 else 0
    return dataclasses.replace(_detection(fields), identity=whole_number("the id", fields[1]), camera=camera)


def _may_be_class(line: str) -> bool:
    """Whether a line of ten fields, such as 2015's, has a class in the eighth and not a place in the world."""
    texts = line.split(",")
    return len(texts) != 10 or re.fullmatch(r"\s*(-1|0*[1-9][0-9]*)(\.0*)?\s*", texts[7]) is not None


def _ground_truth(fields: list[float], has_places: bool) -> Row:
    row = _result(fields[:10])
    if len(fields) == 10 and has_places:
        return row
    category = whole_number("the class", fields[7], UNKNOWN) if len(fields) > 7 else UNKNOWN
    return dataclasses.replace(row, category=category, visibility=fields[8] if len(fields) > 8 else UNKNOWN)


def _read(path: str | os.PathLike, what: str, read: Callable[[list[float]], Row], fields: tuple[int, int]) -> Rows:
    path = Path(path)
    return _gather_lines(path, what, _lines(path, what), read, fields)


def _gather_lines(
    path: Path,
    what: str,
    lines: Iterable[tuple[int, str]],
    read: Callable[[list[float]], Row],
    fields: tuple[int, int],
) -> Rows:
    parts = ((f"line {number}", functools.partial(_row, read, line, fields)) for number, line in lines)
    return gather(path, f"lines of {what}", parts)


def _row(read: Callable[[list[float]], Row], line: str, fields: tuple[int, int]) -> Row:
    return read(_fields(line, fields))


def gather(path: Path, what: str, parts: Iterable[tuple[str, Callable[[], Row]]]) -> Rows:
    """Returns the rows of a file, each read by a call that raises InputError where it cannot be taken.

    Args:
      path: the file, `what` it consists of, such as 'lines of results': for messages.
      parts: where each row stands in the file, such as 'line 7', and the call that reads it.

    Raises InputError that counts the wrong ones and names the first; a person twice in one frame of a camera is wrong.
    """
    rows: list[Row] = []
    wrong: list[str] = []
    seen: dict[tuple[int, int, int], str] = {}
    count = 0
    for where, read in parts:
        count += 1
        try:
            row = read()
            person = (row.frame, row.identity, row.camera)
            if row.identity != NOBODY and seen.setdefault(person, where) != where:
                raise InputError(f"id {row.identity} has a box in frame {row.frame} already, in {seen[person]}")
            rows.append(row)
        except InputError as error:
            wrong.append(f"{where} ({error})")
    if wrong:
        raise InputError(
            f"{shown(path)}: {len(wrong):,} of {count:,} {what} cannot be taken: {first_few(wrong, '; ')}; correct "
            "these or take them out"
        )
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in dataclasses.fields(Row)}
    return Rows.of(**columns)


def _lines(path: Path, what: str) -> Iterator[tuple[int, str]]:
    """The lines that are neither empty nor comments, each with its number counted from 1."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise InputError(f"there is no file {shown(path)}; name the file of the {what}") from error
    except OSError as error:
        raise InputError(
            f"cannot read {shown(path)}: {error.strerror or error}; name the file of the {what}"
        ) from error
    except ValueError as error:
        raise InputError(f"{shown(path)} is no text; name the file of the {what}") from error
    unfinished = [line for line in lines if _TO_FRAME.fullmatch(line)]
    if unfinished or path.name.endswith(PARTIAL):
        said = unfinished[-1].removeprefix(COMMENT).strip() if unfinished else f"by its ending {PARTIAL}"
        raise InputError(f"{shown(path)} holds the {what} of a run that did not end ({shown(said)}); run it again")
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith(COMMENT):
            yield number, line


def _fields(line: str, bounds: tuple[int, int]) -> list[float]:
    texts = line.split(",")
    least, most = bounds
    if len(texts) == 1:
        raise InputError(f"{shown(line, 60)!r} has no comma; fields are separated by commas")
    if not least <= len(texts) <= most:
        raise InputError(f"it has {len(texts)} fields; it takes {least} to {most}")
    return [finite_number(f"field {column}", text) for column, text in enumerate(texts, 1)]
