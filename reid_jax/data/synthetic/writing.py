"""Writing a set of synthetic people to disk."""

import pathlib

from reid_jax.data.synthetic.cameras import create_camera
from reid_jax.data.synthetic.images import SetImage, images_of
from reid_jax.data.synthetic.picture import draw_image
from reid_jax.data.synthetic.spec import DRAWING, NAME, SyntheticPeople
from reid_jax.data.synthetic.world import World


def _save(spec: SyntheticPeople, image: SetImage, file: pathlib.Path) -> None:
    picture = draw_image(spec, image.person, image.camera, image.index)
    picture.save(file, quality=create_camera(spec, image.camera).quality)


WORLD = World(NAME, "synthetic people", DRAWING, __name__, SyntheticPeople, images_of, _save)
file_names, prune, render = WORLD.file_names, WORLD.prune, WORLD.render
