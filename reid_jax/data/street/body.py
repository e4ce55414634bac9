"""Bodies: stances, and where a body's points then are."""

import dataclasses
import math

import numpy as np

from reid_jax.data.street.looks import Build

Point = tuple[float, float, float]  # in body heights: to the person's left, up, the way the person faces


@dataclasses.dataclass(frozen=True)
class Stance:
    """The angles of one moment, in radians; pairs are of the left and the right side."""

    thighs: tuple[float, float]  # forwards
    knees: tuple[float, float]  # bend
    arms: tuple[float, float]  # forwards
    spread: tuple[float, float]  # of the arms, sidewards
    elbows: tuple[float, float]  # bend, forwards
    head: float  # turn against the body
    nod: float
    lean: float  # of the trunk, forwards


def draw_stance(rng: np.random.Generator, stoop: float) -> Stance:
    """Draws a moment of walking, or of standing."""
    walking = rng.random() < 0.85
    pace = rng.uniform(0.25, 0.62) if walking else rng.uniform(0, 0.1)
    phase = rng.uniform(0, 2 * math.pi)
    swing = pace * math.sin(phase)
    rear = 0.9 * abs(swing) + 0.15 * pace + (0.5 * pace * max(0.0, math.cos(phase)) if walking else 0)
    arms, spread, elbows = [], [], []
    for side in (1, -1):
        busy = rng.random()
        if busy < 0.14:  # something is held before the chest or at the ear
            arms.append(rng.uniform(0.2, 0.7))
            spread.append(rng.uniform(-0.1, 0.25))
            elbows.append(rng.uniform(1.2, 2.4))
        elif busy < 0.22:  # a hand in a pocket, or at a strap
            arms.append(rng.uniform(-0.3, 0.1))
            spread.append(rng.uniform(0.2, 0.5))
            elbows.append(rng.uniform(0.5, 2.2))
        else:
            arms.append(-side * swing * rng.uniform(0.5, 1.3) + rng.normal(0, 0.1))
            spread.append(rng.uniform(0.06, 0.26))
            elbows.append(rng.uniform(0.05, 0.95))
    return Stance(
        thighs=(swing, -swing),
        knees=(rear if swing < 0 else 0.06, rear if swing > 0 else 0.06),
        arms=tuple(arms),
        spread=tuple(spread),
        elbows=tuple(elbows),
        head=float(rng.normal(0, 0.3)),
        nod=float(np.clip(rng.normal(0.05, 0.12), -0.2, 0.5)),
        lean=float(stoop + rng.normal(0, 0.03)),
    )


def draw_riding(rng: np.random.Generator) -> Stance:
    """Draws a moment on a bicycle."""
    pedal, reach = 0.3 * math.sin(rng.uniform(0, 2 * math.pi)), rng.uniform(0.6, 1.0)
    return Stance(
        thighs=(1.0 + pedal, 1.0 - pedal),
        knees=(1.15 + 1.5 * pedal, 1.15 - 1.5 * pedal),
        arms=(reach, reach),
        spread=(0.2, 0.2),
        elbows=(0.25, 0.25),
        head=float(rng.normal(0, 0.3)),
        nod=float(np.clip(rng.normal(0.05, 0.12), -0.2, 0.5)),
        lean=float(rng.uniform(0.1, 0.45)),
    )


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """The joints of a body, in body heights; a list has the left side first."""

    hips: list[Point]
    knees: list[Point]
    ankles: list[Point]
    heels: list[Point]
    toes: list[Point]
    shoulders: list[Point]
    elbows: list[Point]
    wrists: list[Point]
    fingers: list[Point]
    neck: Point
    chin: Point
    crown: Point
    lean: float

    def on_trunk(self, x: float, y: float, z: float) -> Point:
        """A point of the trunk, which leans about the hips."""
        return _leaned(x, y, z, self.lean)


def _leaned(x: float, y: float, z: float, lean: float) -> Point:
    return (x, y, z + (y - 0.5) * math.tan(lean) if y > 0.5 else z)


def build_skeleton(build: Build, stance: Stance) -> Skeleton:
    """Places the joints of a body of this build in this stance."""
    hip_height, g, lean = 0.5 * build.legs, build.girth, stance.lean
    thigh, shin = 0.465 * hip_height, 0.445 * hip_height
    joints = {name: [] for name in ("hips", "knees", "ankles", "heels", "toes")}
    lowest = 9.0
    for index, side in enumerate((1, -1)):
        swing, bend = stance.thighs[index], stance.knees[index]
        hip = (side * 0.05 * g * build.hips, hip_height - 0.015, 0.0)
        knee = (side * 0.05 * g, hip[1] - thigh * math.cos(swing), thigh * math.sin(swing))
        low = swing - bend
        ankle = (side * 0.046 * g, knee[1] - shin * math.cos(low), knee[2] + shin * math.sin(low))
        tilt = 0.7 * max(0.0, -low)  # a foot behind stands on its toes
        toe = (ankle[0] + side * 0.014, ankle[1] - 0.024 - 0.085 * math.sin(tilt), ankle[2] + 0.085 * math.cos(tilt))
        heel = (ankle[0], ankle[1] - 0.018, ankle[2] - 0.018)
        lowest = min(lowest, toe[1], heel[1])
        for name, point in zip(joints, (hip, knee, ankle, heel, toe), strict=True):
            joints[name].append(point)
    arms = {name: [] for name in ("shoulders", "elbows", "wrists", "fingers")}
    for index, side in enumerate((1, -1)):
        swing, spread, bend = stance.arms[index], stance.spread[index], stance.elbows[index]
        x, y, z = _leaned(side * 0.108 * build.shoulders * math.sqrt(g), 0.795, 0.0, lean)
        out = math.sin(spread)
        elbow = (x + side * 0.165 * out, y - 0.165 * math.cos(swing) * math.cos(spread), z + 0.165 * math.sin(swing))
        low = swing + bend
        inward = out * 0.6 - 0.35 * min(bend, 1.5) * out - 0.25 * (bend > 1)
        wrist = (elbow[0] + side * 0.14 * inward, elbow[1] - 0.145 * math.cos(low), elbow[2] + 0.145 * math.sin(low))
        finger = (wrist[0], wrist[1] - 0.05 * math.cos(low), wrist[2] + 0.05 * math.sin(low))
        for name, point in zip(arms, ((x, y, z), elbow, wrist, finger), strict=True):
            arms[name].append(point)
    size, nod = build.head, stance.nod
    neck = _leaned(0, 0.815, 0, lean)
    chin = (neck[0], neck[1] + 0.045, neck[2] + 0.012 + 0.05 * nod)
    crown = (chin[0], chin[1] + 0.105 * size * math.cos(nod), chin[2] + 0.105 * size * math.sin(nod) - 0.005)
    return Skeleton(**joints, **arms, neck=neck, chin=chin, crown=crown, lean=lean)
