"""Synthetic people: walking figures in shared clothes, many cameras, written in Market-1501's layout.

A stand-in for real data that anyone may keep: nobody is in the pictures. Drawn here from scratch: tapered
capsules with a depth buffer, then a camera's light, colour cast, tone curve, blur and JPEG.
"""

from reid_jax.cpu import cores
from reid_jax.data.synthetic.picture import draw_image
from reid_jax.data.synthetic.spec import HEIGHT, NAME, WIDTH, SyntheticPeople, parse
from reid_jax.data.synthetic.writing import LAYOUT_FOLDER, file_names, prune, render

__all__ = [
    "HEIGHT",
    "LAYOUT_FOLDER",
    "NAME",
    "WIDTH",
    "SyntheticPeople",
    "cores",
    "draw_image",
    "file_names",
    "parse",
    "prune",
    "render",
]
