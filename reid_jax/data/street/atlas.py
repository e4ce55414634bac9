"""The atlas: what a person's surface looks like, unrolled, a tile for each part of the body.

A tile has rows along the part, from its upper end to its lower one, and columns around it: column c is the angle
2 pi c / COLUMNS - pi, 0 in front and rising to the person's left. Made once for an identity, it serves all images.
"""

import math

import numpy as np

from reid_jax.data.street.chance import smooth_noise
from reid_jax.data.street.cloth import weave
from reid_jax.data.street.looks import Looks

ROWS, COLUMNS = 64, 128
PARTS = (
    "trunk",
    "pelvis",
    "skirt",
    "thigh",
    "shin",
    "upper_arm",
    "forearm",
    "hand",
    "shoe",
    "neck",
    "head",
    "hair",
    "hat",
    "bag",
    "strap",
    "carried",
)
TILE = {part: number for number, part in enumerate(PARTS)}

SHOULDER, WAIST, CROTCH, KNEE, ANKLE = 0.84, 0.6, 0.45, 0.27, 0.045  # heights, in body heights
ARM = 0.165  # length of the upper arm, and nearly of the forearm

_ANGLE = ((np.arange(COLUMNS) + 0.5) * (2 * math.pi / COLUMNS) - math.pi).astype(np.float32)[None]
_ALONG = ((np.arange(ROWS) + 0.5) / ROWS).astype(np.float32)[:, None]
_AWAY = np.abs(_ANGLE)


def paint_atlas(looks: Looks, carried: np.ndarray) -> np.ndarray:
    """Paints all tiles of one identity: uint8 [len(PARTS), ROWS, COLUMNS, 3]; `carried` colours what is carried."""
    atlas = np.empty((len(PARTS), ROWS, COLUMNS, 3), np.float32)
    skin = np.broadcast_to(looks.skin, (ROWS, COLUMNS, 3))
    atlas[TILE["trunk"]] = _trunk(looks)
    atlas[TILE["pelvis"]] = _pelvis(looks)
    atlas[TILE["skirt"]] = _cloth(looks.bottom.fabric, 0.62 - looks.bottom.reach, 0.13)
    atlas[TILE["thigh"]] = _leg(looks, CROTCH + 0.05, KNEE, 0.055)
    atlas[TILE["shin"]] = _leg(looks, KNEE, ANKLE, 0.04)
    atlas[TILE["upper_arm"]] = _arm(looks, 0.0)
    atlas[TILE["forearm"]] = _arm(looks, 1.0)
    atlas[TILE["hand"]] = skin
    atlas[TILE["shoe"]] = np.where((_ALONG < 0.75)[..., None], looks.shoes, looks.soles)
    atlas[TILE["neck"]] = skin * 0.9
    atlas[TILE["head"]] = _head(looks)
    strands = 1 + 0.25 * smooth_noise(np.random.default_rng(looks.top.motif_seed), ROWS, COLUMNS, 16, 3)
    atlas[TILE["hair"]] = looks.hair.colour * np.maximum(strands, 0.3)[..., None]
    atlas[TILE["hat"]] = looks.hair.hat_colour
    atlas[TILE["bag"]] = _bag(looks)
    atlas[TILE["strap"]] = looks.bag.strap
    atlas[TILE["carried"]] = carried
    return (np.clip(atlas, 0, 1) * 255).astype(np.uint8)


def _cloth(fabric, length: float, radius: float, start: float = 0.0) -> np.ndarray:
    return weave(fabric, start + _ALONG * length, _ANGLE * radius)


def _lay(tile: np.ndarray, where: np.ndarray, colour: np.ndarray) -> None:
    """Puts a colour, or another tile, where `where` (bool [ROWS, COLUMNS]) says (what broadcasts to it)."""
    where = np.broadcast_to(where, (ROWS, COLUMNS))
    tile[where] = colour[where] if colour.ndim == 3 else colour


def _trunk(looks: Looks) -> np.ndarray:
    top, bag = looks.top, looks.bag
    length = _ALONG * (SHOULDER + 0.02 - top.hem)  # from the shoulders down, in body heights
    around = _ANGLE * 0.12
    tile = _cloth(top.fabric, SHOULDER + 0.02 - top.hem, 0.12)
    _lay_motif(tile, looks, length, around)
    if top.placket:
        _lay(tile, np.abs(around) < 0.006, top.fabric.colour * 0.65)
    _lay(tile, length < 0.02 + top.neckline * np.maximum(1 - (_AWAY / 0.75) ** 2, 0) - 0.012, looks.skin)
    if top.collar is not None:
        _lay(tile, (length < 0.045) & (_AWAY > 0.25), top.collar)
    _lay(tile, _ALONG > 0.97, top.fabric.colour * 0.75)
    if top.jacket is not None:
        jacket = _cloth(top.jacket, SHOULDER + 0.02 - top.hem, 0.12)
        _lay(tile, top.opening < _AWAY, jacket)
        _lay(tile, np.abs(_AWAY - top.opening) < 0.06, top.jacket.colour * 0.6)
    if bag.kind == "backpack":
        _lay(tile, (np.abs(_AWAY - 0.75) < 0.13) & (length < 0.2), bag.strap)
    elif bag.kind in ("satchel", "shoulder"):
        side = bag.side if bag.kind == "satchel" else -bag.side  # across the chest, or down from one shoulder
        if bag.kind == "satchel":
            strap = np.abs(np.sin(_ANGLE) * 0.11 * -side + (length - 0.15) * -0.75) < 0.013
        else:
            strap = (np.abs(_ANGLE + side * 1.05) < 0.14) | (np.abs(_ANGLE + side * 2.1) < 0.14)
        _lay(tile, strap, bag.strap)
    return tile


def _lay_motif(tile: np.ndarray, looks: Looks, length: np.ndarray, around: np.ndarray) -> None:
    top = looks.top
    rng = np.random.default_rng(top.motif_seed)
    size, colour = top.motif_size, top.motif_colour
    if top.motif == "yoke":
        _lay(tile, length < 0.09 * size, colour)
    elif top.motif == "band":
        start = rng.uniform(0.08, 0.2)
        _lay(tile, (length > start) & (length < start + 0.06 * size), colour)
    elif top.motif == "sides":
        _lay(tile, np.abs(_AWAY - math.pi / 2) < 0.3 * size, colour)
    elif top.motif != "none":
        faces = [around] + ([np.sign(_ANGLE) * (math.pi - _AWAY) * 0.12] if top.motif_behind else [])
        ink = smooth_noise(rng, ROWS, COLUMNS, rng.uniform(2, 7), rng.uniform(2, 7))
        for across in faces:
            down = length - 0.13
            if top.motif == "badge":
                mark = (np.abs(across - 0.045) < 0.018 * size) & (np.abs(length - 0.085) < 0.014 * size)
            elif top.motif == "disc":
                ring = across**2 + down**2
                mark = (ring < (0.055 * size) ** 2) & ((ring > (0.03 * size) ** 2) | (ink > 0))
            elif top.motif == "text":
                lines = (down / (0.028 * size)) % 1 < 0.6
                mark = (
                    lines
                    & (ink > -0.5)
                    & (np.abs(across) < 0.075 * size)
                    & (np.abs(down) < 0.028 * size * rng.integers(1, 3))
                )
            else:
                mark = (ink > -0.2) & (np.abs(across) < 0.065 * size) & (np.abs(down) < 0.06 * size)
            _lay(tile, mark, colour)


def _pelvis(looks: Looks) -> np.ndarray:
    bottom = looks.bottom
    tile = _cloth(bottom.fabric, 0.18, 0.115)
    if bottom.belt is not None and bottom.kind != "leggings":
        _lay(tile, _ALONG < 0.3, bottom.belt)
    if bottom.pockets:
        _lay(tile, (np.abs(_AWAY - 2.5) < 0.3) & (np.abs(_ALONG - 0.65) < 0.2), bottom.fabric.colour * 0.7)
    if bottom.stripe is not None:
        _lay(tile, np.abs(_AWAY - math.pi / 2) < 0.15, bottom.stripe)
    return tile


def _leg(looks: Looks, upper: float, lower: float, radius: float) -> np.ndarray:
    """A thigh or shin between two heights: cloth as far as it reaches, skin below, then socks."""
    bottom = looks.bottom
    height = upper - _ALONG * (upper - lower)
    reach = 1.0 if bottom.kind == "skirt" else bottom.reach
    tile = _cloth(bottom.fabric, upper - lower, radius, 0.62 - upper)
    if bottom.worn:
        bleached = bottom.worn * np.exp(-(((height - 0.36) / 0.1) ** 2)) * np.exp(-((_ANGLE / 0.9) ** 2))
        tile += bleached[..., None] * (np.float32(0.85) - tile)
    if bottom.stripe is not None:
        _lay(tile, np.abs(_ANGLE - math.pi / 2) < 0.4, bottom.stripe)
    if bottom.pockets and bottom.kind != "leggings":
        _lay(tile, (np.abs(_ANGLE - math.pi / 2) < 0.6) & (np.abs(height - 0.37) < 0.03), bottom.fabric.colour * 0.75)
    bare = height < reach
    _lay(tile, bare, looks.skin)
    if looks.socks is not None:
        _lay(tile, bare & (height < 0.1), looks.socks)
    return tile


def _arm(looks: Looks, start: float) -> np.ndarray:
    """The upper arm (`start` 0) or forearm (1): a sleeve as far as it reaches, skin below."""
    top = looks.top
    fabric, reach = top.sleeves or top.fabric, top.sleeve
    if top.jacket is not None:
        fabric, reach = top.jacket, 2.0
    tile = _cloth(fabric, ARM, 0.035, start * ARM)
    place = start + _ALONG
    if top.motif == "band" and top.jacket is None:
        _lay(tile, np.abs(place - 0.5) < 0.12, top.motif_colour)
    _lay(tile, place > reach - 0.06, fabric.colour * 0.8)
    _lay(tile, place > reach, looks.skin)
    return tile


def _head(looks: Looks) -> np.ndarray:
    """From crown to chin: hair on top and behind, a face with eyes, perhaps glasses, a beard, a hat."""
    hair, skin = looks.hair, looks.skin
    tile = np.broadcast_to(skin, (ROWS, COLUMNS, 3)).copy()
    eyes = (np.abs(_ALONG - 0.5) < 0.035) & (np.abs(_AWAY - 0.38) < 0.16)
    _lay(tile, eyes, skin * (0.35 if hair.glasses else 0.55))
    if hair.glasses:
        _lay(tile, (np.abs(_ALONG - 0.5) < 0.02) & (_AWAY < 1.5), skin * 0.35)
    _lay(tile, (np.abs(_ALONG - 0.78) < 0.02) & (_AWAY < 0.22), skin * np.array((0.85, 0.6, 0.6)))
    if hair.beard:
        _lay(tile, (_ALONG > 0.68) & (_AWAY < 1.3) & ~((np.abs(_ALONG - 0.78) < 0.03) & (_AWAY < 0.2)), hair.colour)
    if hair.cut != "bald":
        covered = (0.27 + 0.1 * np.cos(_ANGLE * 1.3) > _ALONG) | ((hair.fringe < _AWAY) & (_ALONG < 0.62))
        covered |= (max(hair.fringe, 1.9) < _AWAY) & (_ALONG < 0.85)
        if hair.cut == "crop":
            tile[covered] = 0.6 * hair.colour + 0.4 * skin
        else:
            tile[covered] = hair.colour
    if hair.hat != "none":
        _lay(tile, _ALONG < 0.36, hair.hat_colour)
    return tile * (1 + 0.04 * smooth_noise(np.random.default_rng(0), ROWS, COLUMNS, 6, 6))[..., None]


def _bag(looks: Looks) -> np.ndarray:
    bag = looks.bag
    tile = _cloth(bag.fabric, 0.2, 0.09)
    _lay(tile, np.abs(_ALONG - 0.45) < 0.02, bag.fabric.colour * 0.6)
    _lay(tile, (np.abs(_ALONG - 0.72) < 0.16) & (_AWAY > 2.4), bag.fabric.second * 0.8)
    return tile
