"""What a run trains on and is scored on."""

from collections.abc import Sequence

import numpy as np

from reid_jax.data.builders.source import Source
from reid_jax.data.datasets import check_name, find_source
from reid_jax.data.hold_out import HOLD_OUT_SEED, hold_out
from reid_jax.data.images import Split
from reid_jax.data.split import StoredSplit, open_sources, open_splits
from reid_jax.data.stream import require_grain
from reid_jax.errors import InputError
from reid_jax.processes import joining
from reid_jax.retrieval.protocol import Labels, removal_note
from reid_jax.training.log import say
from reid_jax.training.residence import RESIDENT, is_resident

Pair = list[Split] | list[StoredSplit]  # query and gallery

_STATISTICS_BYTES = 2**30


def load_data(
    dataset: str,
    test_dataset: str,
    data_dir: str,
    image_size: tuple[int, int],
    val_identities: int,
    train_images: str = RESIDENT,
) -> tuple[Split | StoredSplit, Pair | None, dict[str, list[StoredSplit]]]:
    """Loads what a run needs, records prepared where they are missing: by process 0 before the others look for them.

    The arguments as in the config of a run. Returns (training images, in memory or on disk; query and gallery of
    held-out identities or None; {full name of a test set: its query and gallery, not decoded yet}). Raises InputError
    for what is wrong with the data sets or missing.
    """

    def open_both() -> tuple[StoredSplit, dict[str, list[StoredSplit]]]:
        sources = _find(dataset, data_dir)
        tested = _find(test_dataset, data_dir) if test_dataset else sources
        train = open_sources(sources, ["train"], data_dir, image_size)[0]
        return train, _open_tests(dataset, test_dataset, tested, data_dir, image_size)

    training, test = joining.process_zero_first(open_both)
    return *_held_out(training, val_identities, train_images), test


def load_training(
    dataset: str, data_dir: str, image_size: tuple[int, int], val_identities: int, train_images: str = RESIDENT
) -> tuple[Split | StoredSplit, Pair | None]:
    """Loads what a run trains on, and query and gallery of its held-out identities, None where it holds out none."""
    (training,) = open_splits(dataset, ["train"], data_dir, image_size)
    return _held_out(training, val_identities, train_images)


def for_statistics(train: Split | StoredSplit) -> np.ndarray:
    """Returns the training images that BatchNorm's statistics of averaged weights are over: uint8 [n, h, w, 3].

    All that are in memory; of those on disk one draw for all runs, of as many as a gibibyte holds.
    """
    if isinstance(train, Split):
        return train.image
    height, width = train.image_size
    count = min(len(train), _STATISTICS_BYTES // (height * width * 3))
    drawn = np.random.default_rng(HOLD_OUT_SEED).permutation(len(train))[:count]
    return train.select(np.sort(drawn)).image


def describe(dataset: str, train: Split | StoredSplit, validation: Pair | None, test: dict[str, Pair]) -> str:
    """Returns lines for the start of a run: what there is, and where unknown cameras change the protocol."""
    lines = [f"training    {len(train):,} images of {len(np.unique(train.identity)):,} identities, {dataset}"]
    if validation:
        query, gallery = validation
        lines.append(
            f"held out    {len(np.unique(query.identity))} identities: {len(query):,} queries, "
            f"{len(gallery):,} gallery images"
        )
    for name, (query, gallery) in test.items():
        lines.append(f"test        {len(query):,} queries, {len(gallery):,} gallery images, {name}")
        note = removal_note(Labels.of(query, gallery))
        if note:
            lines.append(f"            {note}")
    return "\n".join(lines)


def _find(name: str, data_dir: str) -> list[Source]:
    return [find_source(single, data_dir) for single in check_name(name)]


def _held_out(training: StoredSplit, val_identities: int, train_images: str) -> tuple[Split | StoredSplit, Pair | None]:
    resident, told = is_resident(train_images, len(training), training.image_size)
    if train_images != RESIDENT:
        say(f"images      {told}")
    if not resident:
        require_grain()
    train = training.load() if resident else training
    if not val_identities:
        return train, None
    train, *validation = hold_out(train, val_identities, HOLD_OUT_SEED)
    return train, validation


def _open_tests(
    dataset: str, test_dataset: str, sources: Sequence[Source], data_dir: str, image_size: tuple[int, int]
) -> dict[str, list[StoredSplit]]:
    test = {}
    for source in sources:
        if not test_dataset and not {"query", "gallery"} <= set(source.splits):
            continue  # a set for training only
        test[source.name] = open_sources([source], ["query", "gallery"], data_dir, image_size)
    if not test:
        raise InputError(
            f"config.dataset {dataset!r} has no query and gallery to score; name a set that has in config.test_dataset"
        )
    return test
