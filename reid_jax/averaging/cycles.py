"""What a second-phase run makes of its cycles: the weights at each cycle's end, averaged (SWA) and sampled (SWAG).

arXiv 1910.07038, sections 3.1, 4 and 4.2, Figure 6. The moments are `reid_jax.swag`'s, the averaged descriptors
`reid_jax.averaging.samples`'.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from reid_jax import parallel, swag
from reid_jax.averaging.samples import evaluate_samples, mean_variables, sampled_encoders
from reid_jax.data.augment import Augmentation
from reid_jax.data.images import Images
from reid_jax.data.resident import ResidentImages
from reid_jax.describe import Encoder
from reid_jax.evaluate import evaluate
from reid_jax.swag import Moments


@dataclasses.dataclass(frozen=True)
class WeightAverages:
    """Collects weights and scores their averages.

    `train_image` gives BatchNorm its statistics, augmented as in training.
    """

    network: Any
    train_image: ResidentImages
    mesh: Mesh
    augmentation: Augmentation | None
    settings: swag.Settings

    def init(self, params: Any) -> Moments:
        """Returns the moments of no weights yet, on every device."""
        return parallel.place_whole(self.mesh, swag.init(params, self.settings.rank))

    def collect(self, moments: Moments, params: Any) -> Moments:
        """Returns the moments with `params` collected; called at the end of a cycle, never inside one.

        `moments` are donated.
        """
        return _collect(moments, params)

    def mean(self, moments: Moments) -> dict[str, Any]:
        """Returns the variables of SWA."""
        return mean_variables(self.network, moments, self.train_image, self.mesh, augmentation=self.augmentation)

    def score(
        self, mean: dict[str, Any], moments: Moments, pairs: Mapping[str, Sequence[Images]]
    ) -> dict[str, dict[str, dict[str, float]]]:
        """Scores pairs of query and gallery, by name, with the variables of SWA and with samples, drawn once for all.

        Returns {name: {'swa': metrics, 'swag': metrics}}.
        """
        if not pairs:
            return {}
        encoder = Encoder(self.network, mean, self.train_image.shape[1:3], self.mesh)
        of_mean = [evaluate(encoder, *pair, progress=True).metrics for pair in pairs.values()]
        drawn = sampled_encoders(
            self.network,
            moments,
            self.train_image,
            self.mesh,
            samples=self.settings.samples,
            seed=self.settings.seed,
            scale=self.settings.scale,
            variance_floor=self.settings.variance_floor,
            augmentation=self.augmentation,
        )
        of_samples = evaluate_samples(drawn, list(pairs.values()), samples=self.settings.samples, progress=True)
        return {
            name: {"swa": swa, "swag": averaged.metrics}
            for name, swa, (averaged, *_) in zip(pairs, of_mean, of_samples, strict=True)
        }


_collect = jax.jit(swag.collect, donate_argnums=0)  # else the old moments would stand beside the new ones
