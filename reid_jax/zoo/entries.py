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


def _cycle(number: int, people: str, epochs: str, peak: str) -> str:
    """One more cycle of the learning rate, on images of 160x64."""
    return (
        f"reid-jax train --config=configs/street.py{people} --workdir=runs/street-{number} "
        f'--config.init_from=runs/street-{number - 1} "--config.image_size=(160,64)" --config.augment.pad=5 '
        f"--config.batch.identities=16 --config.schedule.name=cyclic_cosine --config.schedule.cycle_epochs={epochs} "
        f"--config.epochs={epochs} --config.schedule.peak={peak}"
    )


_STREET = (
    "reid-jax train --config=configs/street.py --workdir=runs/street --config.schedule.warmup_epochs=0.4 "
    '"--config.schedule.boundaries=(7.,9.8)"',
    f"{_SECOND} --workdir=runs/street-2 {_CYCLE}",
    f"{_THIRD} --workdir=runs/street-3 {_CYCLE}",
    _cycle(4, "", "4", "0.05"),
    _cycle(5, ":identities=4000", "4", "0.06"),
    _cycle(6, ":identities=4000", "2.5", "0.05"),
    "reid-jax zoo add street --weights=runs/street-6 --half",
)
_MARKET = "Market-1501's terms: research only, not to be passed on"


def _made(about: str, name: str, options: str) -> Entry:
    """Weights that the user makes of Market-1501 below data/."""
    train = f"reid-jax train --config=configs/robust_reid.py:{options} --workdir=runs/{name}"
    return Entry(about, _MARKET, (train, f"reid-jax zoo add {name} --weights=runs/{name}"))


ENTRIES: dict[str, Entry] = {
    "street": Entry(
        "nano at 160x64, trained on drawn people alone",
        "Apache-2.0",
        _STREET,
        "d69e03d06aa2f58f4686c758933d4ff4a43b743b5ba0d23051d3a12a6ada8f9c",
        (Threshold(1e-3, 0.736, 0.814), Threshold(1e-2, 0.891, 0.541)),
    ),
    "market-nano": _made("nano at 160x64, trained on Market-1501", "market-nano", "size=nano,epochs=120"),
    "market-1x": _made("the paper's 1x at 160x64, trained on Market-1501", "market-1x", "size=1x"),
    "market-2x": _made("the paper's 2x at 160x64, trained on Market-1501", "market-2x", "size=2x"),
}
