"""What feeds the device: decoding, the sampler's image numbers, and embedding while the next images are decoded."""

import dataclasses
import os
import statistics
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from reid_jax.bench.contest import Contest, Contestant, run_contest
from reid_jax.bench.made import make_variables
from reid_jax.bench.measure import seconds_of
from reid_jax.bench.quantities import format_rate, format_seconds
from reid_jax.data.sampler import IdentitySampler, JoinedSampler
from reid_jax.data.split import open_splits
from reid_jax.describe import Encoder
from reid_jax.embed import embed_split
from reid_jax.models.registry import network_of
from reid_jax.training import assemble

# A few of the blocks that are decoded ahead, drawn once: the first is decoded before any is embedded.
DATASET = "synthetic:train_identities=450,test_identities=2"
_DECODED_AT_ONCE = 2048


@dataclasses.dataclass(frozen=True)
class Input:
    """What was measured of a split's `images`: rounds of decoding alone, the network alone, and both together.

    index_seconds: for the image numbers of a batch of `batch`.
    """

    contest: Contest
    images: int
    batch: int
    index_seconds: float

    @property
    def overlap(self) -> float:
        """Both together, in % of the slower one alone: the median over the rounds. 100 is the most there can be."""
        return 100 * statistics.median(
            max(decoding, network) / both
            for decoding, network, both in zip(*(s.seconds for s in self.contest.results), strict=True)
        )

    def __str__(self) -> str:
        decoding, network, _ = self.contest.results
        apart = decoding.median + network.median
        return "\n".join(
            (
                self.contest.table(),
                f"overlap     together {self.overlap:.1f} % as fast as the slower alone; one after the other "
                f"{100 * max(decoding.median, network.median) / apart:.1f} %",
                f"sampler     {format_seconds(self.index_seconds)} for a batch's image numbers, "
                f"{format_rate(self.batch / self.index_seconds)} images/s",
            )
        )

    def figures(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        rows = [{key: value for key, value in row.items() if key != "ratio"} for row in self.contest.figures()]
        figures = {field: getattr(self, field) for field in ("images", "batch", "index_seconds")}
        return figures | {"overlap_percent": self.overlap, "rounds": rows}


def bench_input(config: ConfigDict, dataset: str, data_dir: str | os.PathLike, rounds: int, mesh: Mesh) -> Input:
    """Measures the training split of `dataset` and the network of `config`; see `embed_split` for how they overlap.

    On a CPU decoder and network share the cores: together they take the sum of their times, unless one of them leaves
    cores idle. Raises InputError for what is wrong with the config or the data set.
    """
    network = network_of(config, 0)
    (stored,) = open_splits(dataset, ["train"], data_dir, config.image_size)
    split = stored.load()
    sampler = assemble.sampler_of(config, split.identity, split.origin)
    encoder = Encoder(network, make_variables(network, config.image_size), config.image_size, mesh)

    def decode():
        for _ in stored.blocks(_DECODED_AT_ONCE):
            pass

    works = {
        "decoding": decode,
        "network": lambda: encoder.describe(split.image),
        "together": lambda: embed_split(encoder, stored),
    }
    contest = run_contest([Contestant(name, work, len(split)) for name, work in works.items()], rounds, "images")
    return Input(contest, len(split), sampler.batch_size, index_seconds(sampler, rounds))


def index_seconds(sampler: IdentitySampler | JoinedSampler, rounds: int) -> float:
    """The host's seconds for one batch's image numbers: those of an epoch that is drawn anew, divided by its batches.

    The median of `rounds` epochs.
    """

    def draw(seed: int) -> float:
        return seconds_of(lambda: [sampler.indices(seed, step) for step in range(sampler.steps_per_epoch)])

    return statistics.median(draw(seed) for seed in range(10**6, 10**6 + rounds)) / sampler.steps_per_epoch
