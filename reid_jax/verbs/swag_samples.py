"""Samples of a second-phase run's weights (SWAG), for the verbs that average over them."""

from collections.abc import Iterator

from jax.sharding import Mesh

from reid_jax.averaging.samples import sampled_encoders
from reid_jax.describe import Encoder
from reid_jax.errors import InputError
from reid_jax.export.reading import Export
from reid_jax.training.assemble import augmentation_of, training_data_of
from reid_jax.training.data import for_statistics
from reid_jax.weights import AVERAGED, Weights


def encoders_of_samples(weights: Weights | Export, samples: int, data_dir: str, mesh: Mesh) -> Iterator[Encoder]:
    """Draws samples as the run that `weights` are of says, one after the other; BatchNorm needs its training images.

    `data_dir` holds its data set. Raises InputError where the weights are no average with SWAG's moments.
    """
    if isinstance(weights, Export) or weights.moments is None:
        raise InputError(
            f"these weights are no average with SWAG's moments; name a run of configs/swag.py or its {AVERAGED}"
        )
    config = weights.config.copy_and_resolve_references()
    config.data_dir = data_dir
    return sampled_encoders(
        weights.network,
        weights.moments,
        for_statistics(training_data_of(config)[0]),
        mesh,
        samples=samples,
        seed=config.seed,
        scale=config.swag.scale,
        variance_floor=config.swag.variance_floor,
        augmentation=augmentation_of(config),
    )
