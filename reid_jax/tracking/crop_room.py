"""A room made of a data set's images: its people come, are seen by one or two of its cameras, and come back by others.

What re-entry can be tried on with real images where no film of several cameras is to be had. Each camera of the data
set is a sequence folder of MOTChallenge with ground truth, whose frames show, side by side, the crops of the people who
are there; where they stand means nothing, and there are no detections. A visit takes all images of one person by one or
two cameras, an image a frame, so that nobody is ever seen twice by the same camera, and a return is known across
cameras or not at all.
"""

import dataclasses
import heapq
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from reid_jax.data.builders.source import ImageFile, Source, drop_junk
from reid_jax.data.decode import decode
from reid_jax.data.hold_out import HOLD_OUT_SEED, hold_out
from reid_jax.data.images import Split
from reid_jax.errors import InputError, shown
from reid_jax.files.writing import new_folder
from reid_jax.progress import with_progress
from reid_jax.ranges import real, require, whole
from reid_jax.tracking.mot_files import PEDESTRIAN, Rows, write_ground_truth
from reid_jax.tracking.sequences import Sequence as SequenceFolder
from reid_jax.tracking.sequences import write_seqinfo

RANGES = {
    "people": whole(1, 10_000),
    "at_once": whole(1, 30),
    "away": real(0, 3600),
    "frame_rate": real(0.5, 60),
    "seed": whole(0, 10**9),
}

_LEAST_AWAY = 2.0  # seconds: longer than what cuts ground truth into visits
_CROP = (128, 64)  # height and width in pixels, where the data set's images vary
_ENDING = ".png"  # without loss: what is described is the data set's own pixels
_GREY = 128


@dataclasses.dataclass(frozen=True)
class CropRoom:
    """How people come and go; the same numbers and images give the same room.

    Attributes:
      people: of the data set, drawn among those whom two cameras or more saw.
      at_once: how many are in the room at once, at most.
      away: seconds for which somebody who has left stays away, on average; two at least.
      frame_rate: images a second.
      seed: of everything.
    """

    people: int = 20
    at_once: int = 7
    away: float = 10.0
    frame_rate: float = 4.0
    seed: int = 0

    def __post_init__(self):
        for field, allowed in RANGES.items():
            require(f"room: {field}", getattr(self, field), allowed)


@dataclasses.dataclass(frozen=True)
class Stay:
    """One visit: `images` {camera: one a frame} of a person, from frame `first` on, at place `slot` of each frame."""

    person: int
    first: int
    slot: int
    images: dict[int, tuple[ImageFile, ...]]

    @property
    def last(self) -> int:
        """The last frame."""
        return self.first + max(map(len, self.images.values())) - 1


def plan(room: CropRoom, files: Sequence[ImageFile]) -> list[Stay]:
    """Everybody's visits, in the order of their first frames.

    Raises InputError where fewer than `room.people` of `files`' identities were seen by two cameras or more.
    """
    rng = np.random.default_rng(room.seed)
    images: dict[int, dict[int, list[ImageFile]]] = {}
    for file in files:
        images.setdefault(file.identity, {}).setdefault(file.camera, []).append(file)
    several = sorted(identity for identity, seen in images.items() if len(seen) > 1)
    if len(several) < room.people:
        raise InputError(f"{len(several):,} people were seen by two cameras or more; take no more than these")
    waiting: list[tuple[int, int, list[dict[int, tuple[ImageFile, ...]]]]] = []
    for order, identity in enumerate(rng.choice(several, room.people, replace=False).tolist()):
        parts = _parts(sorted(images[identity]), rng)
        visits = [{camera: tuple(images[identity][camera]) for camera in part} for part in parts]
        heapq.heappush(waiting, (1 + int(order * room.frame_rate), identity, visits))
    there: dict[int, int] = {}  # slot: the last frame in which somebody is at it
    stays = []
    while waiting:
        ready, identity, visits = heapq.heappop(waiting)
        there = {slot: last for slot, last in there.items() if last >= ready}
        if len(there) == room.at_once:
            heapq.heappush(waiting, (min(there.values()) + 1, identity, visits))
            continue
        slot = min(set(range(room.at_once)) - set(there))
        stays.append(Stay(identity, ready, slot, visits[0]))
        there[slot] = stays[-1].last
        if visits[1:]:
            away = max(_LEAST_AWAY, float(rng.exponential(room.away)))
            heapq.heappush(waiting, (stays[-1].last + 1 + round(away * room.frame_rate), identity, visits[1:]))
    return stays


def _parts(cameras: list[int], rng: np.random.Generator) -> list[list[int]]:
    """The cameras in an order drawn, cut into parts of one or two; two parts at least."""
    order = rng.permutation(cameras).tolist()
    parts = []
    while order:
        size = 1 if len(order) == len(cameras) == 2 else int(rng.integers(1, 3))
        parts.append(order[:size])
        order = order[size:]
    return parts


def write(
    room: CropRoom, source: Source, files: Sequence[ImageFile], folder: str | os.PathLike
) -> list[SequenceFolder]:
    """Writes the room of some of a data set's images as sequence folders c1, c2, ... below `folder`, all or nothing.

    They are the data set's cameras, in the order of their numbers, as far as anybody is seen by them. Raises InputError
    as `plan` does, for an image that cannot be read, and where `folder` is there already or cannot be written.
    """
    stays = plan(room, files)
    size = source.image_size or _CROP
    cameras = sorted({camera for stay in stays for camera in stay.images})
    length = max(stay.last for stay in stays)
    target = Path(os.path.expanduser(folder))
    if target.exists():
        raise InputError(f"{shown(target)} is there already; remove it, or name a folder that is not there")

    names = [f"c{number}" for number in range(1, len(cameras) + 1)]
    image_size = (size[0], size[1] * room.at_once)
    sequences = [
        SequenceFolder(target / name, name, room.frame_rate, length, image_size, ending=_ENDING) for name in names
    ]
    try:
        with new_folder(target, lambda _: False) as temporary, source.reader() as read:
            pairs = list(zip(cameras, sequences, strict=True))
            for camera, sequence in with_progress(pairs, "writing a room", "cameras"):
                there = dataclasses.replace(sequence, folder=temporary / sequence.name)
                _write_camera(stays, camera, there, size, read)
    except OSError as error:
        raise InputError(f"cannot write a room to {target}: {error.strerror or error}; give a folder") from error
    return sequences


def _write_camera(
    stays: Sequence[Stay],
    camera: int,
    sequence: SequenceFolder,
    size: tuple[int, int],
    read: Callable[[str], bytes],
) -> None:
    """Writes one camera's frames and ground truth; `size` (height, width) is a crop's."""
    height, width = size
    at_frame: dict[int, list[tuple[Stay, ImageFile]]] = {}
    for stay in stays:
        for frame, file in enumerate(stay.images.get(camera, ()), stay.first):
            at_frame.setdefault(frame, []).append((stay, file))
    (sequence.folder / sequence.images).mkdir(parents=True)
    write_seqinfo(sequence)
    rows = []
    empty = _png(np.full((*sequence.image_size, 3), _GREY, np.uint8))
    for frame in range(1, sequence.length + 1):
        pixels = np.full((*sequence.image_size, 3), _GREY, np.uint8)
        for stay, file in at_frame.get(frame, ()):
            left = stay.slot * width
            try:
                pixels[:, left : left + width] = decode(read(file.name), size)
            except InputError as error:
                raise InputError(f"{file.name}: {error}") from error
            rows.append((frame, stay.person, (left, 0, width, height)))
        sequence.image(frame).write_bytes(_png(pixels) if frame in at_frame else empty)
    frame, person, box = zip(*rows, strict=True)
    write_ground_truth(sequence.ground_truth, Rows.of(frame, box, identity=person, category=PEDESTRIAN, visibility=1))


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", compress_level=1)
    return file.getvalue()


def people_of(source: Source, split: str) -> list[ImageFile]:
    """The images of a split's people whose cameras are known: no junk, and no distractors."""
    return [file for file in drop_junk(source.files(split)) if file.identity != source.distractor and file.camera >= 0]


def held_out(files: Sequence[ImageFile], identities: int) -> list[ImageFile]:
    """The images of the people whom a run with so many `val_identities` holds out of these, its training split.

    Raises InputError as `hold_out` does.
    """

    def column(label: str) -> np.ndarray:
        return np.array([getattr(file, label) for file in files], np.int32)

    nothing = np.zeros((len(files), 0, 0, 3), np.uint8)
    row = np.arange(len(files))
    split = Split(nothing, column("identity"), column("camera"), column("tracklet"), np.zeros_like(row), row)
    _, query, gallery = hold_out(split, identities, HOLD_OUT_SEED)
    return [files[each] for each in np.sort(np.concatenate([query.name, gallery.name]))]
