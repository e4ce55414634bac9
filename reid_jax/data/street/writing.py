"""Writing a set of people in the street to disk."""

import pathlib

from reid_jax.data.street.images import SetImage, images_of
from reid_jax.data.street.picture import draw_image
from reid_jax.data.street.spec import DRAWING, NAME, StreetPeople
from reid_jax.data.synthetic.world import World


def _save(spec: StreetPeople, image: SetImage, file: pathlib.Path) -> None:
    picture, quality = draw_image(spec, image.person, image.camera, image.index)
    picture.save(file, quality=quality)


WORLD = World(NAME, "people in the street", DRAWING, __name__, StreetPeople, images_of, _save)
file_names, prune, render = WORLD.file_names, WORLD.prune, WORLD.render
