"""People in the street: a richer drawn world, from which a network learns to recognise real people.

Where `reid_jax.data.synthetic` is quick to learn, this one is drawn to resemble what detectors cut out of a
surveillance camera's images, with no real person in it. From `spec` (how large a set) to `images` (which images it
holds); `looks` (an identity: build, hair, clothes of `cloth` in `colours`, a bag), unrolled as an `atlas`; a `body` in
a stance as a `figure` of `surface`s; `scenes` behind it; a `camera` for each track; `picture` (one image, in a
detector's box) and `writing` (the whole set on disk).
"""

from reid_jax.data.street.picture import draw_image
from reid_jax.data.street.spec import HEIGHT, NAME, WIDTH, StreetPeople, parse
from reid_jax.data.street.writing import file_names, prune, render
from reid_jax.data.synthetic.world import LAYOUT_FOLDER

__all__ = [
    "HEIGHT",
    "LAYOUT_FOLDER",
    "NAME",
    "WIDTH",
    "StreetPeople",
    "draw_image",
    "file_names",
    "parse",
    "prune",
    "render",
]
