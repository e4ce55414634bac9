"""Synthetic identities: what stays the same from camera to camera."""

import dataclasses

import numpy as np

_CLOTH = {
    "black": (26, 26, 30),
    "white": (226, 226, 222),
    "grey": (122, 122, 126),
    "navy": (34, 44, 88),
    "blue": (62, 106, 178),
    "red": (172, 42, 46),
    "green": (54, 112, 66),
    "beige": (196, 176, 138),
    "pink": (218, 142, 160),
    "yellow": (216, 186, 66),
    "purple": (104, 66, 132),
    "brown": (104, 72, 48),
}
# Few colours carry most wardrobes: that is what makes colour alone a poor witness.
_TOP_ODDS = {
    "black": 5,
    "white": 5,
    "grey": 4,
    "navy": 3,
    "blue": 3,
    "red": 3,
    "green": 2,
    "beige": 2,
    "pink": 2,
}
_TOP_ODDS |= {"yellow": 1, "purple": 1, "brown": 1}
_BOTTOM_ODDS = {"black": 6, "navy": 6, "grey": 4, "beige": 2, "brown": 1, "blue": 2, "white": 1}
_BAG_ODDS = {
    "black": 5,
    "navy": 2,
    "red": 2,
    "grey": 2,
    "brown": 2,
    "green": 1,
    "blue": 1,
    "yellow": 1,
    "pink": 1,
}
_SHOE_ODDS = {"black": 5, "white": 4, "brown": 2, "red": 1, "blue": 1, "grey": 2}
_HAIR = ((24, 20, 18), (48, 34, 26), (84, 58, 36), (150, 116, 66), (120, 118, 116))
_SKIN = ((236, 196, 168), (214, 168, 134), (176, 124, 90), (122, 82, 58), (82, 54, 40))


@dataclasses.dataclass(frozen=True)
class Person:
    """One identity's lasting looks; colours are float32 [3] in 0..1, lengths in body heights."""

    skin: np.ndarray
    hair: np.ndarray
    hair_style: str  # short, long, bun
    hat: np.ndarray | None
    top: np.ndarray
    top_second: np.ndarray
    pattern: str  # plain, stripes, pinstripes, checks, two_tone, logo, yoke
    period: float
    long_sleeves: bool
    sleeves_second: bool
    jacket: np.ndarray | None
    jacket_opening: float
    bottom: np.ndarray
    bottom_kind: str  # trousers, shorts, skirt
    side_stripe: bool
    shoes: np.ndarray
    bag: str  # none, backpack, handbag, satchel
    bag_colour: np.ndarray
    girth: float
    head: float
    legs: float


def _draw_colour(rng: np.random.Generator, odds: dict[str, int]) -> np.ndarray:
    names = list(odds)
    weights = np.array([odds[name] for name in names], float)
    base = np.array(_CLOTH[names[rng.choice(len(names), p=weights / weights.sum())]], float)
    return (np.clip(base + rng.normal(0, 6) + rng.normal(0, 4, 3), 8, 245) / 255).astype(np.float32)


def _pick(rng: np.random.Generator, odds: dict[str, float]) -> str:
    weights = np.array(list(odds.values()), float)
    return list(odds)[rng.choice(len(odds), p=weights / weights.sum())]


def draw_person(rng: np.random.Generator) -> Person:
    """Draws one identity's looks."""
    top = _draw_colour(rng, _TOP_ODDS)
    second = _draw_colour(rng, _TOP_ODDS)
    while np.abs(second - top).sum() < 0.5:  # a pattern of two like colours could not be seen
        second = _draw_colour(rng, _TOP_ODDS)
    hair = np.array(_HAIR[rng.choice(5, p=[0.4, 0.25, 0.15, 0.12, 0.08])], np.float32) / 255
    odds = {
        "plain": 0.3,
        "stripes": 0.15,
        "pinstripes": 0.1,
        "checks": 0.1,
        "two_tone": 0.12,
        "logo": 0.13,
        "yoke": 0.1,
    }
    return Person(
        skin=np.array(_SKIN[rng.integers(5)], np.float32) / 255,
        hair=hair,
        hair_style=_pick(rng, {"short": 0.5, "long": 0.35, "bun": 0.15}),
        hat=_draw_colour(rng, _BAG_ODDS) if rng.random() < 0.15 else None,
        top=top,
        top_second=second,
        pattern=_pick(rng, odds),
        period=float(rng.choice([0.055, 0.08, 0.12])),
        long_sleeves=bool(rng.random() < 0.5),
        sleeves_second=bool(rng.random() < 0.2),
        jacket=_draw_colour(rng, _TOP_ODDS) if rng.random() < 0.3 else None,
        jacket_opening=float(rng.uniform(0.2, 0.6)),
        bottom=_draw_colour(rng, _BOTTOM_ODDS),
        bottom_kind=_pick(rng, {"trousers": 0.6, "shorts": 0.22, "skirt": 0.18}),
        side_stripe=bool(rng.random() < 0.12),
        shoes=_draw_colour(rng, _SHOE_ODDS),
        bag=_pick(rng, {"none": 0.42, "backpack": 0.3, "handbag": 0.14, "satchel": 0.14}),
        bag_colour=_draw_colour(rng, _BAG_ODDS),
        girth=float(rng.uniform(0.84, 1.28)),
        head=float(rng.uniform(0.92, 1.1)),
        legs=float(rng.uniform(0.96, 1.05)),
    )
