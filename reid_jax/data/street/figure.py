"""A figure: a person's looks in a stance, as surfaces before a camera."""

import dataclasses
import math

import numpy as np

from reid_jax.data.street.atlas import KNEE, SHOULDER, TILE
from reid_jax.data.street.body import Point, Skeleton, Stance, build_skeleton
from reid_jax.data.street.looks import Looks
from reid_jax.data.street.surface import Surfaces

_ALONG = np.linspace(0, 1, 16, dtype=np.float32)  # along a limb's outline


@dataclasses.dataclass(frozen=True)
class Place:
    """Where and how large a figure is before the camera."""

    azimuth: float  # the way the person faces, radians; 0 looks into the camera
    pitch: float  # of the camera, looking down, radians
    scale: float  # pixels a body height
    foot: tuple[float, float]  # pixel between the feet
    nearer: float = 0.0  # depth in pixels before others


def draw_figure(surfaces: Surfaces, looks: Looks, stance: Stance, place: Place, carries: str = "none") -> None:
    """Draws a person; what is nearer to the camera hides what is behind it. `carries`: none, bag, phone, parcel."""
    figure = _Figure(surfaces, looks, stance, place)
    _draw_legs(figure)
    _draw_trunk(figure)
    _draw_arms(figure)
    _draw_head(figure)
    _draw_bag(figure)
    _draw_carried(figure, carries)


class _Figure:
    """A body's points and radii, in body heights, as pixels."""

    def __init__(self, surfaces: Surfaces, looks: Looks, stance: Stance, place: Place):
        self.looks, self.stance, self.place = looks, stance, place
        self.build = looks.build
        self.skeleton: Skeleton = build_skeleton(looks.build, stance)
        self.surfaces = surfaces
        self.cos, self.sin = math.cos(place.azimuth), math.sin(place.azimuth)
        self._cos_pitch, self._sin_pitch = math.cos(place.pitch), math.sin(place.pitch)

    def at(self, point: Point) -> Point:
        x, y, z = point
        across = x * self.cos + z * self.sin
        towards = -x * self.sin + z * self.cos
        scale, (foot_x, foot_y) = self.place.scale, self.place.foot
        return (
            foot_x + scale * across,
            foot_y - scale * (y * self._cos_pitch - towards * self._sin_pitch),
            scale * (towards * self._cos_pitch + y * self._sin_pitch) + self.place.nearer,
        )

    def limb(self, start: Point, end: Point, radii, part: str, side: int = 1, turn: float = 0.0) -> None:
        """`radii` in body heights: those of both ends, or float32 [16] along the limb."""
        outline = np.asarray(radii, np.float32)
        if len(outline) == 2:
            outline = outline[0] + (outline[1] - outline[0]) * _ALONG
        self.surfaces.limb(
            self.at(start), self.at(end), outline * self.place.scale, TILE[part], self.place.azimuth + turn, side
        )

    def trunk(self, sections, part: str) -> None:
        """`sections` from the top down: (height, half breadth, half thickness, x, z of the centre), in body heights."""
        scale, rows = self.place.scale, []
        for height, breadth, thickness, x, z in sections:
            column, row, depth = self.at(self.skeleton.on_trunk(x, height, z))
            wide = math.hypot(breadth * self.cos, thickness * self.sin)
            deep = math.hypot(breadth * self.sin, thickness * self.cos)
            rows.append((row, column, scale * wide, scale * deep, depth))
        self.surfaces.trunk(np.array(rows, np.float32), TILE[part], self.place.azimuth)


def _draw_legs(figure: _Figure) -> None:
    looks, joints = figure.looks, figure.skeleton
    bottom, m = looks.bottom, figure.build.limbs
    loose = bottom.looseness if bottom.kind != "skirt" else 1.0
    reach = 1.0 if bottom.kind == "skirt" else bottom.reach
    thigh = _covered((0.062 * m, 0.042 * m), loose, 0.5, KNEE, reach)
    shin = _covered((0.041 * m, 0.024 * m), loose, KNEE, 0.045, reach)
    if bottom.kind in ("skirt", "shorts") or reach > 0.06:
        calf = 1 + 0.14 * np.exp(-(((_ALONG - 0.3) / 0.2) ** 2))
        shin = shin * calf.astype(np.float32)
    else:
        shin = np.maximum(shin, np.float32(0.03 * m * loose))
    for index, side in enumerate((1, -1)):
        figure.limb(joints.hips[index], joints.knees[index], thigh, "thigh", side)
        figure.limb(joints.knees[index], joints.ankles[index], shin, "shin", side)
        figure.limb(joints.heels[index], joints.toes[index], (0.027, 0.021), "shoe", side)


def _covered(radii: tuple[float, float], loose: float, upper: float, lower: float, reach: float) -> np.ndarray:
    """The outline of a limb between two heights whose cloth, looser than the limb, ends at the height `reach`."""
    limb = radii[0] + (radii[1] - radii[0]) * _ALONG
    height = upper - _ALONG * (upper - lower)
    return (limb * np.where(height >= reach, loose, 1.0)).astype(np.float32)


def _draw_trunk(figure: _Figure) -> None:
    build, top, bottom = figure.build, figure.looks.top, figure.looks.bottom
    g, loose = build.girth, top.looseness * (1.06 if top.jacket is not None else 1.0)
    hips, belly, shoulders = build.hips * g, build.belly, build.shoulders * math.sqrt(g)
    figure.trunk(
        [
            (0.58, 0.096 * hips, 0.07 * belly, 0, 0),
            (0.51, 0.108 * hips, 0.082 * hips, 0, -0.005),
            (0.44, 0.1 * hips, 0.075 * hips, 0, 0),
        ],
        "pelvis",
    )
    if bottom.kind == "skirt":
        flare = bottom.looseness
        figure.trunk(
            [
                (0.62, 0.09 * hips, 0.068 * belly, 0, 0),
                (0.51, 0.112 * hips, 0.088 * hips, 0, 0),
                (bottom.reach, 0.115 * hips * flare, 0.1 * hips * flare, 0, 0),
            ],
            "skirt",
        )
    hem = top.hem if bottom.kind != "skirt" else max(top.hem, 0.47)
    figure.trunk(
        [
            (SHOULDER + 0.02, 0.035, 0.035, 0, 0),
            (0.838, 0.07 * shoulders, 0.045, 0, 0),
            (0.812, 0.113 * shoulders, 0.06 * g, 0, 0),
            (0.73, 0.118 * shoulders * loose, 0.074 * g * loose, 0, 0.004),
            (0.62, 0.1 * g * loose, 0.068 * belly * loose, 0, 0.008),
            (max(hem, 0.5), 0.11 * hips * loose, 0.078 * max(belly, hips) * loose, 0, 0.004),
            (hem - 0.002, 0.112 * hips * loose, 0.084 * max(belly, hips) * loose, 0, 0),
        ],
        "trunk",
    )


def _draw_arms(figure: _Figure) -> None:
    top, joints, m = figure.looks.top, figure.skeleton, figure.build.limbs
    reach = 2.0 if top.jacket is not None else top.sleeve
    loose = 1.0 + 0.9 * (top.looseness - 0.9)
    upper = np.where(reach > _ALONG, loose, 1.0) * (0.035 * m - 0.007 * m * _ALONG)
    lower = np.where(reach - 1 > _ALONG, loose, 1.0) * (0.028 * m - 0.009 * m * _ALONG)
    for index, side in enumerate((1, -1)):
        figure.limb(joints.shoulders[index], joints.elbows[index], upper, "upper_arm", side)
        figure.limb(joints.elbows[index], joints.wrists[index], lower, "forearm", side)
        figure.limb(joints.wrists[index], joints.fingers[index], (0.019, 0.017), "hand", side)


def _draw_head(figure: _Figure) -> None:
    joints, hair, size = figure.skeleton, figure.looks.hair, figure.build.head
    turn = figure.stance.head
    chin, crown = joints.chin, joints.crown
    upper = (crown[0], crown[1] - 0.05 * size, crown[2])
    figure.limb(chin, joints.neck, (0.03, 0.036), "neck")
    oval = size * (0.056 - 0.014 * _ALONG**2)
    figure.limb(upper, (chin[0], chin[1] + 0.025, chin[2] + 0.008), oval, "head", turn=turn)
    behind = (-math.sin(-turn) * 0.016, math.cos(turn) * 0.016)  # of the head, towards its back
    back = (upper[0] - behind[0], upper[1], upper[2] - behind[1])
    if hair.cut not in ("bald", "crop"):
        puff = 0.056 if hair.cut == "short" else 0.059
        figure.limb(
            (back[0], back[1] + 0.006, back[2]),
            (back[0], back[1] - 0.025, back[2]),
            (puff * size, 0.054 * size),
            "hair",
        )
    if hair.cut in ("bob", "long"):
        length = 0.06 if hair.cut == "bob" else 0.06 + hair.length
        end = (back[0], back[1] - length, back[2] - 0.018)
        figure.limb((back[0], back[1], back[2] - 0.006), end, (0.053 * size, 0.045 if length < 0.12 else 0.035), "hair")
    elif hair.cut == "tail":
        root = (back[0] - behind[0] * 2, back[1] + 0.01, back[2] - behind[1] * 2.4)
        figure.limb(root, (root[0], root[1] - 0.05 - 0.6 * hair.length, root[2] - 0.02), (0.018, 0.014), "hair")
    elif hair.cut == "bun":
        knot = (back[0] - behind[0] * 2, back[1] + 0.03, back[2] - behind[1] * 2.2)
        figure.limb(knot, (knot[0], knot[1] - 0.005, knot[2]), (0.026, 0.026), "hair")
    if hair.hat != "none":
        top = (upper[0], upper[1] + 0.012, upper[2])
        figure.limb(top, (top[0], top[1] - 0.012, top[2]), (0.06 * size, 0.061 * size), "hat")
        if hair.hat == "cap":
            peak = (top[0] + math.sin(turn) * 0.1, top[1] - 0.012, top[2] + math.cos(turn) * 0.1)
            figure.limb(top, peak, (0.034, 0.022), "hat")
        else:
            for angle in np.linspace(0, 2 * math.pi, 6, endpoint=False):
                edge = (top[0] + 0.075 * math.cos(angle), top[1] - 0.016, top[2] + 0.075 * math.sin(angle))
                figure.limb(top, edge, (0.03, 0.014), "hat")


def _draw_bag(figure: _Figure) -> None:
    bag, g, joints = figure.looks.bag, figure.build.girth, figure.skeleton
    size = bag.size
    if bag.kind == "backpack":
        back = -0.07 * g - 0.045 * size
        figure.trunk(
            [
                (0.81, 0.04 * size, 0.025 * size, 0, back),
                (0.79, 0.075 * size, 0.045 * size, 0, back),
                (0.66, 0.09 * size, 0.058 * size, 0, back - 0.008),
                (0.81 - 0.24 * size, 0.08 * size, 0.045 * size, 0, back),
            ],
            "bag",
        )
    elif bag.kind in ("satchel", "shoulder"):
        x = bag.side * (0.125 * g + 0.02)
        high = 0.56 if bag.kind == "satchel" else 0.6
        figure.trunk(
            [
                (high + 0.01, 0.03 * size, 0.06 * size, x, -0.01),
                (high - 0.03, 0.035 * size, 0.075 * size, x, -0.01),
                (high - 0.12 * size, 0.035 * size, 0.075 * size, x, -0.01),
                (high - 0.13 * size, 0.025 * size, 0.06 * size, x, -0.01),
            ],
            "bag",
        )
        if bag.kind == "shoulder":
            figure.limb(figure.skeleton.on_trunk(bag.side * 0.09, 0.825, 0), (x, high, -0.01), (0.009, 0.009), "strap")
    elif bag.kind == "handbag":
        finger = joints.fingers[0 if bag.side == 1 else 1]
        low = (finger[0], finger[1] - 0.06 - 0.06 * size, finger[2])
        figure.limb((finger[0], finger[1] - 0.05, finger[2]), low, (0.035 * size, 0.055 * size), "bag")


def _draw_carried(figure: _Figure, carries: str) -> None:
    finger = figure.skeleton.fingers[1]
    x, y, z = finger
    if carries == "bag":
        figure.limb((x, y - 0.03, z), (x, y - 0.1, z), (0.02, 0.05), "carried")
    elif carries == "phone":
        figure.limb((x, y + 0.01, z + 0.01), (x, y - 0.03, z + 0.02), (0.015, 0.015), "carried")
    elif carries == "parcel":
        figure.limb((x * 0.3, y + 0.03, z + 0.05), (x * 0.3, y - 0.05, z + 0.05), (0.06, 0.06), "carried")
