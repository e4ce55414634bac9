"""Identities: what stays the same of a person from camera to camera."""

import dataclasses

import numpy as np

from reid_jax.data.street import colours
from reid_jax.data.street.chance import pick
from reid_jax.data.street.cloth import Fabric, draw_fabric


@dataclasses.dataclass(frozen=True)
class Build:
    """A body's proportions; 1 is average, lengths in body heights."""

    girth: float
    shoulders: float
    belly: float
    hips: float
    head: float
    legs: float
    limbs: float
    stoop: float  # radians that the trunk leans forward


@dataclasses.dataclass(frozen=True)
class Hair:
    """A colour, a cut (bald, short, crop, bob, long, tail, bun), a beard, and a hat's colour and kind."""

    colour: np.ndarray
    cut: str
    length: float
    fringe: float  # radians from the nose at which hair begins
    beard: bool
    hat: str  # none, cap, brim
    hat_colour: np.ndarray
    glasses: bool


@dataclasses.dataclass(frozen=True)
class Top:
    """What covers the trunk and arms."""

    fabric: Fabric
    hem: float  # height of its lower edge
    looseness: float
    sleeve: float  # 0 none, 1 to the elbow, 2 to the wrist
    sleeves: Fabric | None  # where they differ
    collar: np.ndarray | None
    neckline: float  # how deep the skin shows below the neck
    placket: bool
    motif: str  # none, logo, text, disc, badge, band, yoke, sides
    motif_colour: np.ndarray
    motif_behind: bool
    motif_size: float
    motif_seed: int
    jacket: Fabric | None
    opening: float  # half the angle that an open jacket leaves, radians


@dataclasses.dataclass(frozen=True)
class Bottom:
    """What covers hips and legs."""

    kind: str  # trousers, shorts, skirt, leggings
    fabric: Fabric
    reach: float  # height of the lower edge, of shorts and skirts
    looseness: float
    stripe: np.ndarray | None  # down the outer seams
    belt: np.ndarray | None
    worn: float  # how far thighs are bleached
    pockets: bool


@dataclasses.dataclass(frozen=True)
class Bag:
    """A bag: none, backpack, shoulder, satchel, handbag."""

    kind: str
    fabric: Fabric
    size: float
    side: int  # 1 left, -1 right
    strap: np.ndarray


@dataclasses.dataclass(frozen=True)
class Looks:
    """One identity."""

    build: Build
    skin: np.ndarray
    hair: Hair
    top: Top
    bottom: Bottom
    shoes: np.ndarray
    soles: np.ndarray
    socks: np.ndarray | None
    bag: Bag


def draw_looks(rng: np.random.Generator) -> Looks:
    """Draws one identity."""
    woman = rng.random() < 0.45
    dress = woman and rng.random() < 0.22
    top = _draw_top(rng, woman)
    bottom = _draw_bottom(rng, woman, top.fabric if dress else None)
    skin = colours.draw_skin(rng)
    shoes = colours.draw_shoes(rng) if rng.random() < 0.85 else skin * 0.8  # sandals
    return Looks(
        build=_draw_build(rng, woman),
        skin=skin,
        hair=_draw_hair(rng, woman),
        top=top,
        bottom=bottom,
        shoes=shoes,
        soles=colours.draw_shoes(rng) if rng.random() < 0.5 else shoes,
        socks=colours.draw_shoes(rng) if rng.random() < 0.3 else None,
        bag=_draw_bag(rng, woman),
    )


def _draw_build(rng: np.random.Generator, woman: bool) -> Build:
    child = rng.random() < 0.05
    girth = float(np.clip(np.exp(rng.normal(-0.06 if woman else 0.0, 0.11)), 0.75, 1.55))
    return Build(
        girth=girth,
        shoulders=float(rng.normal(0.97 if woman else 1.08, 0.05)),
        belly=float(np.clip(rng.normal(girth - 0.08, 0.08), 0.65, 1.5)),
        hips=float(rng.normal(1.0 if woman else 0.93, 0.06)),
        head=float(rng.normal(1.22 if child else 1.0, 0.05)),
        legs=float(rng.normal(0.9 if child else 1.0, 0.025)),
        limbs=float(np.clip(girth**0.7 * np.exp(rng.normal(0.05, 0.07)), 0.8, 1.45)),
        stoop=float(np.clip(rng.normal(0.03, 0.05), -0.03, 0.25)),
    )


def _draw_hair(rng: np.random.Generator, woman: bool) -> Hair:
    cuts = (
        {"short": 10, "crop": 1, "bob": 22, "long": 36, "tail": 22, "bun": 9}
        if woman
        else {
            "short": 70,
            "crop": 22,
            "bald": 2,
            "bob": 3,
            "tail": 1,
        }
    )
    return Hair(
        colour=colours.draw_hair(rng),
        cut=pick(rng, cuts),
        length=float(rng.uniform(0.05, 0.22)),
        fringe=float(rng.uniform(0.75, 1.35)),
        beard=bool(not woman and rng.random() < 0.12),
        hat=pick(rng, {"none": 93, "cap": 5, "brim": 2}),
        hat_colour=colours.draw_thing(rng),
        glasses=bool(rng.random() < 0.25),
    )


def _draw_top(rng: np.random.Generator, woman: bool) -> Top:
    fabric = draw_fabric(rng, colours.draw_top)
    sleeve = pick(rng, {"none": 12 if woman else 3, "short": 66, "elbow": 6, "long": 20})
    reach = {"none": 0.0, "short": rng.uniform(0.45, 0.95), "elbow": rng.uniform(1.0, 1.4), "long": 2.0}[sleeve]
    motifs = {"none": 46, "logo": 16, "text": 10, "disc": 6, "badge": 8, "band": 5, "yoke": 4, "sides": 5}
    return Top(
        fabric=fabric,
        hem=float(rng.uniform(0.4, 0.5)),
        looseness=float(rng.uniform(0.98, 1.16)),
        sleeve=float(reach),
        sleeves=draw_fabric(rng, colours.draw_top, 4) if rng.random() < 0.12 else None,
        collar=(fabric.colour * 0.8 if rng.random() < 0.5 else colours.draw_top(rng)) if rng.random() < 0.35 else None,
        neckline=float(rng.uniform(0, 0.16 if woman else 0.09)),
        placket=bool(rng.random() < 0.2),
        motif=pick(rng, motifs),
        motif_colour=colours.apart(rng, fabric.colour, colours.draw_top),
        motif_behind=bool(rng.random() < 0.3),
        motif_size=float(rng.uniform(0.5, 1.3)),
        motif_seed=int(rng.integers(2**31)),
        jacket=draw_fabric(rng, colours.draw_top, 2) if rng.random() < 0.13 else None,
        opening=float(rng.uniform(0.15, 0.9)),
    )


def _draw_bottom(rng: np.random.Generator, woman: bool, dress: Fabric | None) -> Bottom:
    kinds = {"trousers": 40, "leggings": 10, "shorts": 30, "skirt": 20} if woman else {"trousers": 58, "shorts": 42}
    kind = "skirt" if dress else pick(rng, kinds)
    fabric = dress or draw_fabric(rng, colours.draw_bottom, 6)
    reach = {"skirt": rng.uniform(0.12, 0.4), "shorts": rng.uniform(0.24, 0.42)}.get(kind, 0.05)
    tight = {"trousers": (0.9, 1.3), "leggings": (0.8, 0.92), "shorts": (1.05, 1.4), "skirt": (0.85, 1.5)}[kind]
    return Bottom(
        kind=kind,
        fabric=fabric,
        reach=float(reach),
        looseness=float(rng.uniform(*tight)),
        stripe=colours.apart(rng, fabric.colour, colours.draw_top) if rng.random() < 0.1 else None,
        belt=colours.draw_thing(rng) if rng.random() < 0.3 else None,
        worn=float(rng.uniform(0, 0.35)) if rng.random() < 0.3 else 0.0,
        pockets=bool(rng.random() < 0.3),
    )


def _draw_bag(rng: np.random.Generator, woman: bool) -> Bag:
    kinds = {"none": 42, "backpack": 24, "shoulder": 16 if woman else 4, "satchel": 10, "handbag": 8 if woman else 3}
    fabric = draw_fabric(rng, colours.draw_thing, 2)
    return Bag(
        kind=pick(rng, kinds),
        fabric=fabric,
        size=float(rng.uniform(0.75, 1.25)),
        side=1 if rng.random() < 0.5 else -1,
        strap=fabric.colour * 0.8 if rng.random() < 0.7 else colours.draw_thing(rng),
    )
