"""What a second-phase run makes of its cycles: the weights at each cycle's end, averaged (SWA) and sampled (SWAG).

arXiv 1910.07038, sections 3.1, 4 and 4.2, Figure 6. The moments are `reid_jax.swag`'s, the averaged descriptors
`reid_jax.averaging.samples`'.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from reid_jax import parallel, swag
from reid_jax.averaging.samples import evaluate_samples, mean_variables, sampled_encoders
from reid_jax.describe import Encoder
from reid_jax.evaluate import evaluate
from reid_jax.swag import Moments
from reid_jax.training.assemble import augmentation_of
from reid_jax.training.data import Pair
from reid_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class WeightAverages:
    """Collects and scores as `config.swag` says; `train_image` uint8 [n, h, w, 3] gives BatchNorm its statistics."""

    config: ConfigDict
    network: Any
    train_image: jax.Array
    mesh: Mesh

    def start(self, state: TrainState) -> TrainState:
        """Returns the state with no weights collected yet."""
        moments = swag.init(state.params, self.config.swag.rank)
        return dataclasses.replace(state, swag=jax.device_put(moments, parallel.replicated(self.mesh)))

    def collect(self, state: TrainState) -> TrainState:
        """Returns the state with its weights collected; called at the end of a cycle, never inside one.

        The moments of `state` are donated.
        """
        return dataclasses.replace(state, swag=_collect(state.swag, state.params))

    def mean(self, moments: Moments) -> dict[str, Any]:
        """The variables of SWA."""
        augmentation = augmentation_of(self.config)
        return mean_variables(self.network, moments, self.train_image, self.mesh, augmentation=augmentation)

    def score(
        self, mean: dict[str, Any], moments: Moments, pairs: Mapping[str, Pair]
    ) -> dict[str, dict[str, dict[str, float]]]:
        """Scores pairs of query and gallery, by name, with the variables of SWA and with samples, drawn once for all.

        Returns {name: {'swa': metrics, 'swag': metrics}}.
        """
        if not pairs:
            return {}
        encoder = Encoder(self.network, mean, self.config.image_size, self.mesh)
        of_mean = [evaluate(encoder, *pair, progress=True).metrics for pair in pairs.values()]
        s = self.config.swag
        drawn = sampled_encoders(
            self.network,
            moments,
            self.train_image,
            self.mesh,
            samples=s.samples,
            seed=self.config.seed,
            scale=s.scale,
            variance_floor=s.variance_floor,
            augmentation=augmentation_of(self.config),
        )
        of_samples = evaluate_samples(drawn, list(pairs.values()), samples=s.samples, progress=True)
        return {
            name: {"swa": swa, "swag": averaged.metrics}
            for name, swa, (averaged, *_) in zip(pairs, of_mean, of_samples, strict=True)
        }


_collect = jax.jit(swag.collect, donate_argnums=0)  # else the old moments would stand beside the new ones
