"""What a synthetic scene holds: its numbers, their ranges, its names, and its streams of random numbers."""

import dataclasses

import numpy as np

from reid_jax.data.synthetic import SyntheticPeople
from reid_jax.ranges import real, require, whole

NAME = "scene"
DRAWING = 1  # raise when the drawing changes, so that scenes drawn before are not taken for new ones

# Streams of the seed: one independent generator each, none of which `reid_jax.data.synthetic` draws from.
WALK, BODY, ROOM, FRAME, DETECTIONS = range(100, 105)

RANGES = {
    "people": whole(1, 200),
    "at_once": whole(1, 20),
    "away": real(0, 3600),
    "frames": whole(1, 100_000),
    "frame_rate": real(0.5, 60),
    "cameras": whole(1, 4),
    "height": whole(64, 2160),
    "width": whole(64, 3840),
    "miss_rate": real(0, 1),
    "false_rate": real(0, 20),
    "jitter": real(0, 0.3),
    "first_identity": whole(1, 10**6),
    "seed": whole(0, 10**9),
}


@dataclasses.dataclass(frozen=True)
class SyntheticScene:
    """People who walk through a room before one camera or up to four; the same numbers give the same files.

    Attributes:
      people: how many identities come and go, by ids from 1 on that all cameras share.
      at_once: how many of them are in the room at once, at most.
      away: seconds for which somebody who has left stays away, on average; a quarter of it at least.
      frames: images of each camera, all taken at the same moments, `frame_rate` a second.
      cameras: in the corners of the room, each with its own light, colours, blur and noise.
      height, width: of an image, in pixels; a person in the middle of the room takes a third of the height.
      miss_rate: the share of wholly visible people that no detection shows; hidden ones are missed more often.
      false_rate: detections of nobody, a frame, on average.
      jitter: the standard deviation of a detection's edges, in sizes of its box; twice that where half is hidden.
      first_identity: the person with id k looks as identity first_identity + k - 1 of `SyntheticPeople` with the same
        seed; the default begins above all that a set of synthetic people can train on.
      seed: of everything.
    """

    people: int = 8
    at_once: int = 4
    away: float = 12.0
    frames: int = 300
    frame_rate: float = 10.0
    cameras: int = 1
    height: int = 288
    width: int = 384
    miss_rate: float = 0.05
    false_rate: float = 0.1
    jitter: float = 0.02
    first_identity: int = 10_001
    seed: int = 0

    def __post_init__(self):
        for field, allowed in RANGES.items():
            require(f"synthetic scene: {field}", getattr(self, field), allowed)

    @property
    def folder_name(self) -> str:
        """The folder of this very scene: its seed, and every other number that is not the default."""
        differing = [f"-{each.name}{getattr(self, each.name):.10g}" for each in self._fields_that_differ()]
        return f"{NAME}-seed{self.seed}{''.join(differing)}-v{DRAWING}"

    def _fields_that_differ(self) -> list[dataclasses.Field]:
        fields = [each for each in dataclasses.fields(self) if each.name != "seed"]
        return [each for each in fields if getattr(self, each.name) != each.default]

    @property
    def looks(self) -> SyntheticPeople:
        """The synthetic people whose looks, and whose cameras' light and response, this scene shows."""
        return SyntheticPeople(seed=self.seed)


def sequence_name(spec: SyntheticScene, camera: int) -> str:
    """The name of a camera's sequence, camera counted from 1; no two scenes of different seeds share one."""
    return f"scene{spec.seed}-c{camera}"


def generator(spec: SyntheticScene, *stream: int) -> np.random.Generator:
    """The generator of one stream: no frame depends on the order of drawing."""
    return np.random.default_rng([spec.seed, *stream])
