"""Detections from the files that detectors write: MOTChallenge text, COCO's JSON, a CSV with named columns.

`read(path)` goes by the file's ending. All become the same rows, in the order in which the file has them.
"""

import csv
import functools
import os
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from reid_jax.errors import InputError, did_you_mean, first_few, shown
from reid_jax.files.json_files import is_number, read_json
from reid_jax.tracking.mot_files import Row, Rows, detection, finite_number, gather, read_detections
from reid_jax.tracking.numbering import by_number, in_order

# What a column of a CSV may be called, letter case and spaces aside.
_COLUMNS = {
    "frame": ("frame", "frame_id", "frame_number", "image_id"),
    "left": ("left", "x1", "xmin", "x_min", "bb_left", "x"),
    "top": ("top", "y1", "ymin", "y_min", "bb_top", "y"),
    "right": ("right", "x2", "xmax", "x_max"),
    "bottom": ("bottom", "y2", "ymax", "y_max"),
    "width": ("width", "w", "bb_width"),
    "height": ("height", "h", "bb_height"),
    "confidence": ("confidence", "conf", "score"),
}
# The same of columns that say what a box shows; there may be several.
_CATEGORIES = ("category", "category_id", "class", "class_id", "class_name", "label", "cls")
_PEOPLE = ("person", "pedestrian", "people", "human")  # names of the category


def read(path: str | os.PathLike, category: int | None = None) -> Rows:
    """Reads a file of detections: .json is COCO's, .csv has named columns, anything else is MOTChallenge text.

    Of several categories in a COCO file or a CSV those called person are taken, or the number `category`. Raises
    InputError as `mot_files.read_ground_truth` does; for COCO and CSV in their own words, see `read_coco` and
    `read_table`.
    """
    ending = Path(path).suffix.lower()
    if ending == ".json":
        return read_coco(path, category)
    if ending == ".csv":
        return read_table(path, category)
    if category is not None:
        raise InputError(
            f"category {category} is given, but {shown(path)} has none: only COCO's JSON and a CSV have categories"
        )
    return read_detections(path)


def read_table(path: str | os.PathLike, category: int | None = None) -> Rows:
    """Reads a CSV whose first line names its columns: frame, left, top, width, height, confidence, in any order.

    Instead of width and height there may be right and bottom. Names that others use are known too (x1, xmin, w, score),
    and other columns are passed over but for a category, class or label, as in COCO's; without a confidence it is 1.
    Raises InputError where a column is missing or there twice, for wrong lines, and for several categories of which
    none is called person and `category` does not choose one, or chooses one that is not there.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, line) for line in reader if line]
    except FileNotFoundError as error:
        raise InputError(f"there is no file {shown(path)}; name the file of the detections") from error
    except OSError as error:
        raise InputError(f"cannot read {shown(path)}: {error.strerror or error}") from error
    except (ValueError, csv.Error) as error:
        raise InputError(f"{shown(path)} is no CSV ({shown(error)})") from error
    if not lines:
        raise InputError(f"{shown(path)} is empty; its first line names the columns: frame, left, top, width, height")
    place = _places(path, lines[0][1])
    lines = [lines[0], *_people(path, lines[0][1], lines[1:], category)]
    rows = ((f"line {number}", functools.partial(_table_row, line, place)) for number, line in lines[1:])
    return gather(path, "lines of detections", rows)


def _spelt(name: str) -> str:
    return re.sub(r"[\s_]+", "_", name.strip().lower())


def _places(path: Path, names: list[str]) -> dict[str, int]:
    """Where each column is that is used."""
    spelt = [_spelt(name) for name in names]
    place: dict[str, int] = {}
    for column, known in _COLUMNS.items():
        found = [number for number, name in enumerate(spelt) if name in known]
        if len(found) > 1:
            several = ", ".join(shown(names[number]) for number in found)
            raise InputError(f"{shown(path)} has several columns for {column}: {several}; leave one")
        place |= {column: found[0]} if found else {}
    for pair in (("width", "right"), ("height", "bottom")):
        if all(column in place for column in pair):
            raise InputError(f"{shown(path)} has columns for {pair[0]} and for {pair[1]}; leave one of these")
    needed = ("frame", "left", "top", "width or right", "height or bottom")
    missing = [each for each in needed if not any(column in place for column in each.split(" or "))]
    if missing:
        close = did_you_mean(missing[0].partition(" ")[0], spelt)
        has = ", ".join(map(shown, names[:20]))
        raise InputError(f"{shown(path)} has no column for {', '.join(missing)}; it has {has}{close}")
    categories = _category_places(names)
    return place | ({"category": categories[-1]} if categories else {})


def _people(
    path: Path, names: list[str], lines: list[tuple[int, list[str]]], category: int | None
) -> list[tuple[int, list[str]]]:
    """The lines of people, by the columns that say what a box shows; all where there is none, or nothing to choose."""
    places = _category_places(names)
    if not places:
        if category is not None:
            raise InputError(f"--category={category} is given, but {shown(path)} has no column category; leave it out")
        return lines
    kinds = [tuple(_plain(line[place]) for place in places if place < len(line)) for _, line in lines]
    too_short = {kind for kind in kinds if len(kind) < len(places)}  # told with the other wrong lines
    if category is None:
        wanted = {kind for kind in kinds if not set(_PEOPLE).isdisjoint(kind)}
    else:
        wanted = {kind for kind in kinds if f"{category}" in kind}
    there = sorted({" ".join(filter(None, kind)) for kind in kinds if kind not in too_short} - {""}, key=by_number)
    if category is not None and there and not wanted:
        raise InputError(_no_category(path, category, there))
    if category is None and not wanted and len(there) > 1:
        raise InputError(
            f"{shown(path)} has detections of the categories {first_few(there)}; say the number of people with "
            "--category, leave only people's lines, or, where these are none, give the column another name"
        )
    return [line for line, kind in zip(lines, kinds, strict=True) if kind in wanted | too_short] if wanted else lines


def _category_places(names: list[str]) -> list[int]:
    return [number for number, name in enumerate(names) if _spelt(name) in _CATEGORIES]


def _plain(category: Any) -> str:
    """A category's text, or a number's: alike for 1, 1.0 and '1'."""
    text = f"{category}".strip().lower()
    return f"{int(float(text))}" if re.fullmatch(r"[0-9]{1,10}(\.0*)?", text) else text


def _no_category(path: Path, category: int, there: list[str]) -> str:
    return f"--category is {category}, which no detection of {shown(path)} has; these have {first_few(there)}"


def _table_row(line: list[str], place: dict[str, int]) -> Row:
    for column, number in place.items():
        if number >= len(line):
            raise InputError(f"it has {len(line)} fields, and {column} would be field {number + 1}")

    def value(column: str) -> float:
        return finite_number(column, line[place[column]])

    left, top = value("left"), value("top")
    width = value("width") if "width" in place else value("right") - left
    height = value("height") if "height" in place else value("bottom") - top
    confidence = value("confidence") if "confidence" in place else 1.0
    return detection(value("frame"), (left, top, width, height), confidence)


def read_coco(path: str | os.PathLike, category: int | None = None) -> Rows:
    """Reads COCO's JSON: a list of results, or an object with images and annotations.

    A result's image_id is its frame. Of an object the images are the frames, of one video, by their frame_id where all
    have one, otherwise in the order of their names, as a folder's; see `numbering`. bbox is (left, top, width, height);
    score may be missing. Raises InputError where the file is none, for wrong entries, for images of several videos or
    folders, or of one name or number, and where the entries are of several categories of which none is called person
    and `category` does not choose one, or chooses one that is not there.
    """
    path = Path(path)
    value = read_json(path)
    if value is None:
        raise InputError(f"there is no file {shown(path)}; name the file of the detections")
    entries, frame_of, declared = value, None, None
    if isinstance(value, dict):
        entries, frame_of = value.get("annotations"), _coco_frames(path, value.get("images"))
        declared = value.get("categories")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{shown(path)} is not COCO's: it takes a list of results, or an object with annotations")
    people = _coco_people(declared) if category is None else {f"{category}"}
    kinds = {_plain(entry["category_id"]) for entry in entries if _is_category(entry.get("category_id"))}
    there = sorted(kinds, key=by_number)
    if category is not None and entries and f"{category}" not in kinds | _numbers(declared):
        raise InputError(_no_category(path, category, there or ["none"]))
    if people is None and len(kinds) > 1:
        people = kinds.intersection(_PEOPLE)
        if not people:
            raise InputError(
                f"{shown(path)} has detections of the categories {first_few(there)}; say which are people with "
                "--category"
            )
    return gather(path, "entries", _coco_rows(entries, frame_of, people))


def _coco_rows(
    entries: list[dict], frame_of: dict[Any, int] | None, people: set[str] | None
) -> Iterator[tuple[str, Callable[[], Row]]]:
    for number, entry in enumerate(entries):
        kind = entry.get("category_id")
        if people is None or (kind is not None and not _is_category(kind)) or _plain(kind) in people:
            yield f"entry {number}, counted from 0", functools.partial(_coco_row, entry, frame_of)


def _coco_row(entry: dict, frame_of: dict[Any, int] | None) -> Row:
    box, image, score = entry.get("bbox"), entry.get("image_id"), entry.get("score", 1.0)
    kind = entry.get("category_id")
    if kind is not None and not _is_category(kind):
        raise InputError(f"category_id is {shown(kind, 60)}; it takes a number")
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        raise InputError(f"bbox is {shown(box, 60)}; it takes four numbers: left, top, width, height")
    if not is_number(score):
        raise InputError(f"score is {shown(score, 60)}; it takes a number")
    if frame_of is not None:
        if not isinstance(image, int | str) or image not in frame_of:
            raise InputError(f"image_id is {shown(image, 60)}, which none of the images has")
        image = frame_of[image]
    if not is_number(image):
        raise InputError(f"image_id is {shown(image, 60)}; it takes the number of the frame, counted from 1")
    return detection(float(image), tuple(map(float, box)), float(score))


def _coco_frames(path: Path, images: Any) -> dict[Any, int]:
    """{id of an image: its frame, counted from 1}."""
    sound = isinstance(images, list) and all(
        isinstance(image, dict) and isinstance(image.get("id"), int | str) for image in images
    )
    if not sound:
        raise InputError(f"{shown(path)} is not COCO's: images is no list of objects with an id each")
    _require_once(path, images, "id")
    videos = sorted({str(image["video_id"]) for image in images if image.get("video_id") is not None}, key=by_number)
    if len(videos) > 1:
        raise InputError(f"{shown(path)} has images of the videos {first_few(videos)} (video_id); give a file for each")
    if all(type(image.get("frame_id")) is int for image in images):
        _require_once(path, images, "frame_id")
        return {image["id"]: image["frame_id"] for image in images}
    if not all(isinstance(image.get("file_name"), str) for image in images):
        raise InputError(f"{shown(path)}: images have neither a frame_id nor a file_name each; give either")
    _require_once(path, images, "file_name")
    folders = sorted({posixpath.dirname(image["file_name"]) for image in images})
    if len(folders) > 1:
        raise InputError(
            f"{shown(path)} has images of the folders {first_few([each or '.' for each in folders])} by file_name; "
            "give a file for each, or each image a frame_id"
        )
    by_name = {image["file_name"]: image["id"] for image in images}
    ordered = in_order(by_name, path, "give each image a frame_id, or list the images between")
    return {by_name[name]: number for number, name in enumerate(ordered, 1)}


def _require_once(path: Path, images: list[dict], key: str) -> None:
    """Raises InputError where two images have one value: their detections would be taken for one frame's."""
    value, times = Counter(image[key] for image in images).most_common(1)[0] if images else (None, 0)
    if times > 1:
        raise InputError(f"{shown(path)} has {times:,} images of the {key} {shown(value)}; give each its own")


def _is_category(value: Any) -> bool:
    return isinstance(value, str) or is_number(value)


def _coco_people(categories: Any) -> set[str] | None:
    """The numbers of the categories that are called person; None where none is."""
    return _numbers(categories, _PEOPLE) or None


def _numbers(categories: Any, names: tuple[str, ...] = ()) -> set[str]:
    """The numbers of the categories that a file declares, or only of those with one of the names."""
    declared = [each for each in categories if isinstance(each, dict)] if isinstance(categories, list) else []
    named = [each for each in declared if not names or str(each.get("name")).lower() in names]
    return {_plain(each["id"]) for each in named if _is_category(each.get("id"))}
