"""A sequence folder of MOTChallenge: seqinfo.ini, img1 with the frames, det/det.txt, gt/gt.txt.

MOT16-02/
  seqinfo.ini
  img1/000001.jpg ...
  det/det.txt
  gt/gt.txt
"""

import configparser
import dataclasses
import os
import re
from collections.abc import Iterable
from pathlib import Path

from reid_jax.data.image_kinds import IMAGE_ENDINGS
from reid_jax.errors import InputError, shown
from reid_jax.files.writing import replace_file
from reid_jax.ranges import Number, real, whole

SEQINFO = "seqinfo.ini"
IMAGES = "img1"
DETECTIONS = Path("det", "det.txt")
GROUND_TRUTH = Path("gt", "gt.txt")

_SECTION = "Sequence"
_FRAMES = whole(1, 2**31 - 1)
_PIXELS = whole(1, 100_000)
_RATE = real(0, 1000, above=True)


@dataclasses.dataclass(frozen=True)
class Sequence:
    """What a sequence folder's seqinfo.ini says of it.

    folder: where it is.
    name: the sequence's, MOT16-02.
    frame_rate: frames a second.
    length: how many frames.
    image_size: (height, width) of the frames in pixels.
    images: the folder of the frames in `folder`.
    ending: of the frames' names, such as .jpg.
    """

    folder: Path
    name: str
    frame_rate: float
    length: int
    image_size: tuple[int, int]
    images: str = IMAGES
    ending: str = ".jpg"

    @property
    def detections(self) -> Path:
        """The file of the public detections."""
        return self.folder / DETECTIONS

    @property
    def ground_truth(self) -> Path:
        """The file of the ground truth."""
        return self.folder / GROUND_TRUTH

    @property
    def inputs(self) -> list[tuple[str, Path]]:
        """Everything that is read of it, each behind what messages call it: nothing may be written there."""
        return [
            (f"the {what} of {self.name}", path)
            for what, path in (
                ("folder", self.folder),
                (SEQINFO, self.folder / SEQINFO),
                ("detections", self.detections),
                ("ground truth", self.ground_truth),
                ("frames", self.folder / self.images),
            )
        ]

    def image(self, frame: int) -> Path:
        """The file of a frame, counted from 1, as MOTChallenge calls it; see `images_among` for others."""
        return self.folder / self.images / f"{frame:06d}{self.ending}"

    def images_among(self, names: Iterable[str]) -> dict[int, str]:
        """{frame: the name of its file} of the frames that are among names, those of six digits before others.

        DanceTrack has eight digits. Capital and small letters of the ending are alike.
        """
        found = {}
        for name in sorted(names, key=lambda name: (len(name) != 6 + len(self.ending), name)):
            stem, ending = os.path.splitext(name)
            is_frame = ending.lower() == self.ending.lower() and re.fullmatch("[0-9]{1,15}", stem)
            if is_frame and 1 <= int(stem) <= self.length:
                found.setdefault(int(stem), name)
        return found


def is_sequence(folder: str | os.PathLike) -> bool:
    """Whether a folder has a seqinfo.ini."""
    return (Path(folder) / SEQINFO).is_file()


def read_sequence(folder: str | os.PathLike) -> Sequence:
    """Reads a folder's seqinfo.ini; raises InputError where it is missing, or lacks a key, or a value is none."""
    folder = Path(folder)
    path = folder / SEQINFO
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise InputError(
            f"{shown(folder)} has no {SEQINFO}; name the folder of a sequence of MOTChallenge, which has one"
        ) from error
    except OSError as error:
        raise InputError(f"cannot read {shown(path)}: {error.strerror or error}") from error
    except (ValueError, configparser.Error) as error:
        raise InputError(f"{shown(path)} cannot be read ({shown(error)}); see [Sequence] in MOT16's") from error
    if _SECTION not in parser:
        raise InputError(f"{shown(path)} has no section [{_SECTION}]; see MOT16's")
    said = parser[_SECTION]

    def number(key: str, allowed: Number) -> float:
        text = said.get(key)
        try:
            value = allowed.kind(text)
        except (TypeError, ValueError):
            value = None
        if not allowed.holds(value):
            told = "is missing" if text is None else f"is {shown(text)!r}"
            raise InputError(f"{shown(path)}: {key} {told}; it takes {allowed}")
        return value

    images, ending = said.get("imDir", IMAGES), said.get("imExt", ".jpg")
    if ending.lower() not in IMAGE_ENDINGS:
        raise InputError(f"{shown(path)}: imExt is {shown(ending)!r}; it takes one of {', '.join(IMAGE_ENDINGS)}")
    if not images or Path(images).name != images or images == "..":  # it may not lead out of the folder
        raise InputError(f"{shown(path)}: imDir is {shown(images)!r}; it takes the name of a folder beside {SEQINFO}")
    return Sequence(
        folder,
        said.get("name") or folder.resolve().name,
        number("frameRate", _RATE),
        number("seqLength", _FRAMES),
        (number("imHeight", _PIXELS), number("imWidth", _PIXELS)),
        images,
        ending,
    )


def write_seqinfo(sequence: Sequence) -> None:
    """Writes a sequence's seqinfo.ini into its folder, complete or not at all; InputError where it cannot be."""
    height, width = sequence.image_size
    values = {
        "name": sequence.name,
        "imDir": sequence.images,
        "frameRate": f"{sequence.frame_rate:g}",
        "seqLength": sequence.length,
        "imWidth": width,
        "imHeight": height,
        "imExt": sequence.ending,
    }
    text = f"[{_SECTION}]\n" + "".join(f"{key}={value}\n" for key, value in values.items())
    replace_file(sequence.folder / SEQINFO, lambda temporary: temporary.write_text(text, encoding="utf-8"))
