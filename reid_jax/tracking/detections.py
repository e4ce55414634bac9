"""Detections from the files that detectors write: MOTChallenge text, COCO's JSON, a CSV with named columns.

`read(path)` goes by the file's ending. All become the same rows, in the order in which the file has them.
"""

import csv
import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from reid_jax.errors import InputError, did_you_mean, shown
from reid_jax.files.json_files import is_number, read_json
from reid_jax.tracking.mot_files import Row, Rows, detection, finite_number, gather, read_detections

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
_PEOPLE = ("person", "pedestrian", "people", "human")  # names of the category


def read(path: str | os.PathLike, category: int | None = None) -> Rows:
    """Reads a file of detections: .json is COCO's, .csv has named columns, anything else is MOTChallenge text.

    Of several categories in a COCO file those called person are taken, or the number `category`. Raises InputError as
    `mot_files.read_ground_truth` does; for COCO and CSV in their own words, see `read_coco` and `read_table`.
    """
    ending = Path(path).suffix.lower()
    if ending == ".json":
        return read_coco(path, category)
    if category is not None:
        raise InputError(f"category {category} is given, but {shown(path)} has none: only COCO's JSON has categories")
    return read_table(path) if ending == ".csv" else read_detections(path)


def read_table(path: str | os.PathLike) -> Rows:
    """Reads a CSV whose first line names its columns: frame, left, top, width, height, confidence, in any order.

    Instead of width and height there may be right and bottom. Names that others use are known too (x1, xmin, w, score),
    and other columns are passed over; without a confidence it is 1. Raises InputError where a column is missing or
    there twice, and for wrong lines.
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
    rows = ((f"line {number}", functools.partial(_table_row, line, place)) for number, line in lines[1:])
    return gather(path, "lines of detections", rows)


def _places(path: Path, names: list[str]) -> dict[str, int]:
    """Where each column is that is used."""
    spelt = [re.sub(r"[\s_]+", "_", name.strip().lower()) for name in names]
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
    return place


def _table_row(line: list[str], place: dict[str, int]) -> Row:
    def value(column: str) -> float:
        if place[column] >= len(line):
            raise InputError(f"it has {len(line)} fields, and {column} would be field {place[column] + 1}")
        return finite_number(column, line[place[column]])

    left, top = value("left"), value("top")
    width = value("width") if "width" in place else value("right") - left
    height = value("height") if "height" in place else value("bottom") - top
    confidence = value("confidence") if "confidence" in place else 1.0
    return detection(value("frame"), (left, top, width, height), confidence)


def read_coco(path: str | os.PathLike, category: int | None = None) -> Rows:
    """Reads COCO's JSON: a list of results, or an object with images and annotations.

    A result's image_id is its frame. Of an object the images are the frames, by their frame_id where all have one,
    otherwise in the order of their names, whose last numbers go by value. bbox is (left, top, width, height); score
    may be missing. Raises InputError where the file is none, for wrong entries, and where the entries are of several
    categories of which none is called person and `category` does not choose one.
    """
    path = Path(path)
    value = read_json(path)
    if value is None:
        raise InputError(f"there is no file {shown(path)}; name the file of the detections")
    entries, frame_of, people = value, None, None
    if isinstance(value, dict):
        entries, frame_of = value.get("annotations"), _coco_frames(path, value.get("images"))
        people = _coco_people(value.get("categories"))
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{shown(path)} is not COCO's: it takes a list of results, or an object with annotations")
    if category is not None:
        people = {category}
    kinds = {entry.get("category_id") for entry in entries if is_number(entry.get("category_id"))}
    if people is None and len(kinds) > 1:
        raise InputError(
            f"{shown(path)} has detections of the categories {', '.join(f'{kind:g}' for kind in sorted(kinds))}; say "
            "which are people with --category"
        )
    return gather(path, "entries", _coco_rows(entries, frame_of, people))


def _coco_rows(
    entries: list[dict], frame_of: dict[Any, int] | None, people: set[int] | None
) -> Iterator[tuple[str, Callable[[], Row]]]:
    for number, entry in enumerate(entries):
        if people is None or entry.get("category_id") in people:
            yield f"entry {number}, counted from 0", functools.partial(_coco_row, entry, frame_of)


def _coco_row(entry: dict, frame_of: dict[Any, int] | None) -> Row:
    box, image, score = entry.get("bbox"), entry.get("image_id"), entry.get("score", 1.0)
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
    if all(type(image.get("frame_id")) is int for image in images):
        return {image["id"]: image["frame_id"] for image in images}
    if not all(isinstance(image.get("file_name"), str) for image in images):
        raise InputError(f"{shown(path)}: images have neither a frame_id nor a file_name each; give either")
    ordered = sorted(images, key=lambda image: by_number(image["file_name"]))
    return {image["id"]: number for number, image in enumerate(ordered, 1)}


def _coco_people(categories: Any) -> set[int] | None:
    """The numbers of the categories that are called person; None where none is."""
    if not isinstance(categories, list):
        return None
    named = [each for each in categories if isinstance(each, dict) and str(each.get("name")).lower() in _PEOPLE]
    return {each["id"] for each in named if isinstance(each.get("id"), int)} or None


def by_number(name: str) -> tuple[str, int, str]:
    """A key that sorts names by the last number in them, what stands before it first: a9 before a10."""
    found = re.fullmatch(r"(.*?)([0-9]+)([^0-9]*)", name, re.DOTALL)
    return (found[1], int(found[2]), found[3]) if found and len(found[2]) < 1000 else (name, -1, "")
