"""Tracks: what stays the same while one person passes one camera."""

import dataclasses
import math

import numpy as np

from reid_jax.data.street.camera import Camera, draw_camera
from reid_jax.data.street.chance import pick
from reid_jax.data.street.scenes import SCENES
from reid_jax.data.street.spec import TRACK, StreetPeople, generator

_FACING = {"front": 28, "back": 28, "left": 15, "right": 15, "any": 14}
_AZIMUTH = {"front": 0.0, "back": math.pi, "left": math.pi / 2, "right": -math.pi / 2}
_CARRIED = {"none": 70, "bag": 12, "phone": 10, "parcel": 8}


@dataclasses.dataclass(frozen=True)
class Track:
    """One person before one camera."""

    camera: Camera
    azimuth: float  # the way the person mostly faces, radians; 0 looks into the camera
    scene: int
    zoom: float
    across: float  # where in the scene, 0 to 1
    tint: np.ndarray  # float32 [3], of the scene
    carries: str
    rides: bool
    looseness: float  # of the detector's boxes
    crowd: float  # probability of others in the picture
    veil: float  # darkening towards one side, a shadow's edge


def draw_track(spec: StreetPeople, identity: int, camera_number: int) -> Track:
    """Draws how a person passes a camera."""
    rng = generator(spec.seed, TRACK, identity, camera_number)
    facing = pick(rng, _FACING)
    anywhere = rng.uniform(0, 6.3)
    azimuth = _AZIMUTH.get(facing, anywhere)
    return Track(
        camera=draw_camera(rng),
        azimuth=azimuth + rng.normal(0, 0.35),
        scene=int(rng.integers(SCENES)),
        zoom=float(rng.uniform(0.55, 1.3)),
        across=float(rng.random()),
        tint=np.exp(rng.normal(0, 0.01, 3) + rng.normal(0, 0.07)).astype(np.float32),
        carries=pick(rng, _CARRIED),
        rides=bool(rng.random() < 0.08),
        looseness=float(rng.uniform(-0.01, 0.035)),
        crowd=float(rng.choice([0.05, 0.3])),
        veil=float(rng.normal(0, 0.25)) if rng.random() < 0.3 else 0.0,
    )
