"""Which images a set holds: who is on each, under which camera, in which split, and its name."""

import dataclasses
from collections.abc import Iterator

from reid_jax.data.builders.source import GALLERY, QUERY, TRAIN
from reid_jax.data.builders.split_folders import FOLDER_OF
from reid_jax.data.street.spec import StreetPeople


@dataclasses.dataclass(frozen=True)
class SetImage:
    """One image of a set: its path, and the arguments by which `draw_image` draws it."""

    person: int
    camera: int
    index: int
    path: str


def images_of(spec: StreetPeople) -> Iterator[SetImage]:
    """The images of a set, those of one identity together."""
    for identity in range(1, spec.train_identities + spec.test_identities + 1):
        for camera in range(1, spec.cameras + 1):
            for index in range(spec.images_per_camera):
                if identity <= spec.train_identities:
                    folder = FOLDER_OF[TRAIN]
                else:
                    folder = FOLDER_OF[QUERY if index == 0 else GALLERY]
                yield SetImage(identity, camera, index, f"{folder}/{identity:04d}_c{camera}s1_{index:06d}_00.jpg")
