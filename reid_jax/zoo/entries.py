"""What is known of the weights that have a name from the start."""

import dataclasses

from reid_jax.tracking.thresholds import Threshold

PREFIX = "zoo:"
DEFAULT = "street"  # what `Extractor()` takes


@dataclasses.dataclass(frozen=True)
class Entry:
    """Weights with a name.

    about: what they are, in a line; licence: of the weights; commands: what makes them, line by line.
    digest: of those that come with the package, see `descriptors.digest_of`; '' for those that a user makes.
    thresholds: distances of two images with their false-positive rates, as the card has them; () where unknown.
    """

    about: str
    licence: str
    commands: tuple[str, ...]
    digest: str = ""
    thresholds: tuple[Threshold, ...] = ()


_CYCLE = "--config.swag.collect=False --config.batch.identities=16"
_SECOND = "reid-jax train --config=configs/swag.py:from=runs/street,cycles=1,cycle_epochs=1.6,peak=0.03"
_THIRD = "reid-jax train --config=configs/swag.py:from=runs/street-2,cycles=1,cycle_epochs=2.6,peak=0.05"
_STREET = (
    "reid-jax train --config=configs/street.py --workdir=runs/street --config.schedule.warmup_epochs=0.4 "
    '"--config.schedule.boundaries=(7.,9.8)"',
    f"{_SECOND} --workdir=runs/street-2 {_CYCLE}",
    f"{_THIRD} --workdir=runs/street-3 {_CYCLE}",
    "reid-jax zoo add street --weights=runs/street-3 --half",
)
_MARKET = "Market-1501's terms: research only, not to be passed on"


def _made(about: str, name: str, options: str) -> Entry:
    """Weights that the user makes of Market-1501 below data/."""
    train = f"reid-jax train --config=configs/robust_reid.py:{options} --workdir=runs/{name}"
    return Entry(about, _MARKET, (train, f"reid-jax zoo add {name} --weights=runs/{name}"))


ENTRIES: dict[str, Entry] = {
    "street": Entry(
        "nano at 96x32, trained on drawn people alone",
        "Apache-2.0",
        _STREET,
        "aaae29dc8704b9d7fc716e14e8a1b12e4598bc43c08ec24517252b8d05ec177f",
        (Threshold(1e-3, 0.722, 0.850), Threshold(1e-2, 0.886, 0.593)),
    ),
    "market-nano": _made("nano at 160x64, trained on Market-1501", "market-nano", "size=nano,epochs=120"),
    "market-1x": _made("the paper's 1x at 160x64, trained on Market-1501", "market-1x", "size=1x"),
    "market-2x": _made("the paper's 2x at 160x64, trained on Market-1501", "market-2x", "size=2x"),
}
