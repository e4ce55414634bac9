"""The tables of arXiv 1910.07038: what each column switches on, as keys of a config, and the figures printed.

`set_switches` writes a column's switches into a config, `switches_of` reads them back from any run's: so a run belongs
to a column by what it is, not by what its folder is called.
"""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from reid_jax.models.attention_network import AttentionNetwork
from reid_jax.models.registry import build_network

UPDATES = ("none", "cycles", "swag")  # Table 3: no update, + LR scheme, + SWAG


@dataclasses.dataclass(frozen=True)
class Switches:
    """One row of switches, as in Table 2; off is what HA-CNN does.

    bag_of_tricks: warm-up, random erasing, label smoothing and no bias in the classifiers, all or none of them.
    triplet: 'none' (cross-entropy alone), or a mining of the triplet loss; 'batch_soft' is the paper's soft triplet.
    soft_margin: of the triplet loss; False without one.
    normalisation: 'l2', or 'inference' where it is off; off, the logits have no scale, for nothing bounds them.
    block: 'shuffle', or 'inception' where it is off. pooling: 'gem', or 'average' where it is off.
    deeper_and_wider: the 2x plan in place of the 1x.
    update: what came after the first phase, one of `UPDATES`.
    """

    bag_of_tricks: bool = True
    triplet: str = "batch_soft"
    soft_margin: bool = True
    normalisation: str = "l2"
    block: str = "shuffle"
    pooling: str = "gem"
    deeper_and_wider: bool = True
    update: str = "none"


def _but(switches: Switches, **changed: Any) -> Switches:
    return dataclasses.replace(switches, **changed)


_HACNN = Switches(
    bag_of_tricks=False,
    triplet="none",
    soft_margin=False,
    normalisation="inference",
    block="inception",
    pooling="average",
    deeper_and_wider=False,
)
_I = Switches()
_G = _but(_I, deeper_and_wider=False)

# Table 2. Column b has the original triplet loss, equation 2, in place of the soft one (section 4.1).
COLUMNS: dict[str, Switches] = {
    "hacnn": _HACNN,
    "a": _but(_HACNN, bag_of_tricks=True),
    "b": _but(_I, triplet="original", soft_margin=False),
    "c": _but(_I, normalisation="inference"),
    "d": _but(_I, block="inception"),
    "e": _but(_I, soft_margin=False),
    "f": _but(_I, pooling="average"),
    "g": _G,
    "h": _but(_G, update="swag"),
    "i": _I,
    "robust": _but(_I, update="swag"),
}

# Table 2's rows of ticks.
ROWS = {
    "bag of tricks": lambda s: s.bag_of_tricks,
    "soft triplet": lambda s: s.triplet == "batch_soft",
    "L2 normalisation": lambda s: s.normalisation == "l2",
    "shuffle blocks": lambda s: s.block == "shuffle",
    "soft margin": lambda s: s.soft_margin,
    "GeM": lambda s: s.pooling == "gem",
    "deeper and wider": lambda s: s.deeper_and_wider,
    "SWAG": lambda s: s.update == "swag",
}

# Table 3: what each setup is before its update.
SETUPS: dict[str, Switches] = {
    "1": _but(_G, block="inception", pooling="average"),
    "2": _G,
    "3": _I,
}

# Printed figures, in percent: (rank-1, mAP).
Figures = tuple[float, float]

TABLE2: dict[str, Figures] = {
    "hacnn": (91.2, 75.7),
    "a": (93.2, 82.0),
    "b": (94.1, 85.3),
    "c": (94.5, 85.7),
    "d": (94.9, 86.6),
    "e": (95.1, 87.1),
    "f": (95.3, 87.9),
    "g": (95.4, 87.3),
    "h": (95.8, 88.7),
    "i": (95.7, 88.1),
    "robust": (96.2, 89.7),
}

TABLE3: dict[str, dict[str, Figures]] = {
    "1": {"none": (93.8, 83.6), "cycles": (94.3, 84.8), "swag": (94.5, 85.3)},
    "2": {"none": (95.4, 87.3), "cycles": (95.8, 88.2), "swag": (95.8, 88.7)},
    "3": {"none": (95.7, 88.1), "cycles": (95.7, 88.9), "swag": (96.2, 89.7)},
}

# Table 4: Market-1501 and DukeMTMC-reID, single query, no re-ranking.
TABLE4_SETS = ("market1501", "dukemtmcreid")
TABLE4_RIVALS: dict[str, tuple[Figures, Figures | None]] = {
    "HA-CNN": ((91.2, 75.7), (80.5, 63.8)),
    "PCB": ((93.8, 81.6), (83.3, 69.2)),
    "Mancs": ((93.1, 82.3), (84.9, 71.8)),
    "Auto-ReID": ((94.5, 85.1), (88.5, 75.1)),
    "BagOfTricks": ((94.5, 85.9), (86.4, 76.4)),
    "BFE": ((94.5, 85.0), (88.7, 75.8)),
    "OS-Net": ((94.8, 84.9), (88.6, 73.5)),
    "DG-Net": ((94.8, 86.0), (86.6, 74.8)),
    "ABD": ((95.6, 88.3), (89.0, 78.6)),
    "MGN": ((95.7, 86.9), (88.7, 78.4)),
    "Pyramid": ((95.7, 88.2), (89.0, 79.0)),
    "DSA": ((95.7, 87.6), (86.2, 74.3)),
    "RGA-SC": ((95.8, 88.1), (86.1, 74.9)),
    "LocalCNN (MG)": ((95.9, 87.4), None),
}
TABLE4: dict[str, tuple[Figures, Figures]] = {
    "1x": ((95.8, 88.7), (88.8, 78.9)),
    "2x": ((96.2, 89.7), (89.8, 80.3)),
}
TABLE4_COLUMN = {"1x": "h", "2x": "robust"}

# Figure 1: millions of parameters, rank-1 and mAP on Market-1501, of those whose parameters are known.
FIGURE1: dict[str, tuple[float, float, float]] = {
    "HA-CNN": (2.7, 91.2, 75.7),
    "OS-Net": (2.2, 94.8, 84.9),
    "Robust-ReID 1x": (2.9, 95.8, 88.7),
    "Robust-ReID 2x": (6.4, 96.2, 89.7),
}

# The fields of a network that make its size.
PLAN = ("stem", "widths", "repeats", "global_width", "local_width")

# The networks that an ablation may run on: (without, with) "deeper and wider", the preset and what differs from it.
# Nano widened as 1x is to 2x: about 1.9, 1.25 and 1.25 times the channels, one more unit a stage, wider vectors.
SIZES: dict[str, tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]] = {
    "paper": (("robust_reid_1x", {}), ("robust_reid_2x", {})),
    "nano": (
        ("nano", {}),
        ("nano", dict(stem=18, widths=(120, 120, 160), repeats=(2, 3, 2), global_width=240, local_width=320)),
    ),
}


def set_switches(config: ConfigDict, switches: Switches, size: str = "paper") -> ConfigDict:
    """Writes `switches` into `config`, a run's with everything else as wanted, and returns it; `size` is of `SIZES`.

    `switches.update` is not written: a second phase is a run of its own.
    """
    preset, plan = SIZES[size][switches.deeper_and_wider]
    config.model.name = preset
    for key, value in plan.items():
        config.model[key] = value
    config.model.block = switches.block
    config.model.pooling = switches.pooling
    config.model.normalisation = switches.normalisation
    if switches.normalisation != "l2":
        config.model.logit_scale = 1.0
        config.model.logit_scale_learned = False
    config.model.classifier_bias = not switches.bag_of_tricks
    if not switches.bag_of_tricks:
        config.augment.erase_probability = 0.0
        config.loss.label_smoothing = 0.0
        config.schedule.warmup_epochs = 0.0
    if switches.triplet == "none":
        config.loss.triplet_weight = 0.0
    else:
        config.loss.mining = switches.triplet
        config.loss.soft_margin = switches.soft_margin
    return config


def switches_of(config: ConfigDict) -> Switches | None:
    """Returns the switches of a run from scratch; None where it is between two columns.

    That is: a part of the bag of tricks, another kind of schedule, or a network that is no size of `SIZES`, as those of
    other classes are.
    """
    if config.schedule.name != "warmup_step" or config.init_from:
        return None
    network = build_network(config, 0)
    deeper = next((deeper for plan, deeper, _ in _plans() if plan == _plan_of(network)), None)
    if deeper is None:
        return None
    tricks = {
        config.schedule.warmup_epochs > 0,
        config.augment.erase_probability > 0,
        config.loss.label_smoothing > 0,
        not network.classifier_bias,
    }
    if len(tricks) > 1:
        return None
    triplet = config.loss.triplet_weight > 0
    return Switches(
        bag_of_tricks=tricks.pop(),
        triplet=config.loss.mining if triplet else "none",
        soft_margin=triplet and config.loss.soft_margin,
        normalisation=network.normalisation,
        block=network.block,
        pooling=network.pooling,
        deeper_and_wider=deeper,
    )


def size_of(config: ConfigDict) -> str | None:
    """Returns the key of `SIZES` that the run's network has; None for none."""
    plan = _plan_of(build_network(config, 0))
    return next((size for known, _, size in _plans() if known == plan), None)


def in_papers_terms(network: Any) -> bool:
    """Whether Table 2 has terms for the network: those of other classes have no size and no column there."""
    return isinstance(network, AttentionNetwork)


def _plan_of(network: Any) -> tuple | None:
    if not in_papers_terms(network):
        return None
    plan = {key: getattr(network, key) for key in PLAN}
    if network.block == "inception":  # one unit of each kind a stage, whatever `repeats` says
        plan["repeats"] = None
    return tuple(plan.values())


def _plans() -> list[tuple[tuple, bool, str]]:
    """(plan, deeper and wider, size) of every network of `SIZES`, with both kinds of block."""
    plans = []
    for size, pair in SIZES.items():
        for deeper, (preset, changed) in enumerate(pair):
            for block in ("shuffle", "inception"):
                network = AttentionNetwork(0, **{**AttentionNetwork.PRESETS[preset], **changed, "block": block})
                plans.append((_plan_of(network), bool(deeper), size))
    return plans
