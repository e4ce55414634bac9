"""Synthetic people: walking figures in shared clothes, many cameras, written in Market-1501's layout.

A stand-in for real data that anyone may keep, for no real person is in the pictures. From `spec` (how large a set) to
`images` (which images it holds), `people` (looks), `cameras` (light, scene, response), `figure` on a `canvas` (tapered
capsules with a depth buffer), `picture` (one image) and `writing` (the whole set on disk).
"""

from reid_jax.data.synthetic.picture import draw_image
from reid_jax.data.synthetic.spec import HEIGHT, NAME, WIDTH, SyntheticPeople, parse
from reid_jax.data.synthetic.world import LAYOUT_FOLDER
from reid_jax.data.synthetic.writing import file_names, prune, render

__all__ = [
    "HEIGHT",
    "LAYOUT_FOLDER",
    "NAME",
    "WIDTH",
    "SyntheticPeople",
    "draw_image",
    "file_names",
    "parse",
    "prune",
    "render",
]
