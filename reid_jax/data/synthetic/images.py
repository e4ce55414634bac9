"""Which images a set of synthetic people holds: who is on each, under which camera, in which split, and its name."""

import dataclasses
from collections.abc import Iterator

from reid_jax.data.builders.source import GALLERY, QUERY, TRAIN
from reid_jax.data.builders.split_folders import FOLDER_OF
from reid_jax.data.synthetic.spec import SEEN, SyntheticPeople, generator

_FIRST_DISTRACTOR = 20000  # numbers of people that are drawn as distractors; above all identities


@dataclasses.dataclass(frozen=True)
class SetImage:
    """One image of a set: its path, and the arguments by which `draw_image` draws it."""

    person: int
    camera: int
    index: int
    path: str


def images_of(spec: SyntheticPeople) -> Iterator[SetImage]:
    """The images of a set, those of one person together, distractors last."""
    for identity in range(1, spec.train_identities + spec.test_identities + 1):
        rng = generator(spec, SEEN, identity)
        count = int(rng.integers(min(3, spec.cameras), spec.cameras + 1))
        for camera in sorted((rng.permutation(spec.cameras)[:count] + 1).tolist()):
            for index in range(spec.images_per_camera):
                if identity <= spec.train_identities:
                    folder = FOLDER_OF[TRAIN]
                else:
                    folder = FOLDER_OF[QUERY if index == 0 else GALLERY]
                yield SetImage(identity, camera, index, f"{folder}/{identity:04d}_c{camera}s1_{index:06d}_00.jpg")
    for distractor in range(spec.test_identities):
        person = _FIRST_DISTRACTOR + distractor
        camera = int(generator(spec, SEEN, person).integers(spec.cameras)) + 1
        yield SetImage(person, camera, 0, f"{FOLDER_OF[GALLERY]}/0000_c{camera}s1_{distractor:06d}_00.jpg")
