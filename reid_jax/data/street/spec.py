"""What a set of people in the street holds: its numbers, its name, and its streams of random numbers."""

import dataclasses

import numpy as np

from reid_jax.data.builders.options import parse_options
from reid_jax.errors import InputError

NAME = "street"
HEIGHT, WIDTH = 128, 64  # pixels of an image, as in Market-1501
DRAWING = 2  # raise when the drawing changes, so that sets drawn before are not taken for new ones

# Streams of the seed: one independent generator each.
PERSON, TRACK, IMAGE, SCENE, PASSER_BY = range(5)


@dataclasses.dataclass(frozen=True)
class StreetPeople:
    """How large a set to draw; the same numbers give the same files.

    Every identity passes each camera once, `images_per_camera` times drawn: a track. Light, colours, view and
    background are drawn anew for each track, so that a camera's number says nothing of how its images look. Test
    identities give one query a camera and gallery images.
    """

    train_identities: int = 400
    test_identities: int = 100
    cameras: int = 8
    images_per_camera: int = 2
    seed: int = 0

    def __post_init__(self):
        least = {"train_identities": 2, "test_identities": 2, "cameras": 2, "images_per_camera": 2, "seed": 0}
        for field, smallest in least.items():
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
                raise InputError(
                    f"people in the street: {field} is {value!r}; give a whole number of at least {smallest}"
                )
        if self.train_identities + self.test_identities > 9999:
            raise InputError("people in the street: more than 9999 identities do not fit Market-1501's file names")

    @property
    def folder_name(self) -> str:
        """The folder of this very set: every number is in it."""
        return (
            f"{NAME}-train{self.train_identities}-test{self.test_identities}-cameras{self.cameras}"
            f"-images{self.images_per_camera}-seed{self.seed}-v{DRAWING}"
        )


def parse(name: str) -> StreetPeople:
    """Reads 'street' or 'street:field=number,…', fields as in `StreetPeople`, the rest by default.

    Example: `street:train_identities=3000,test_identities=60,seed=1`.

    Raises:
      InputError: another name, an unknown or repeated field, or a value that is not a whole number in range.
    """
    if name.partition(":")[0] != NAME:
        raise InputError(f"data set {name!r} is not of people in the street; write 'street' or 'street:seed=1'")
    return parse_options(StreetPeople, name)


def generator(seed: int, *stream: int) -> np.random.Generator:
    """The generator of one stream: no image depends on the order of drawing."""
    return np.random.default_rng([seed, *stream])
