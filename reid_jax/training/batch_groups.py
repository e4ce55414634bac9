"""A training step's forward pass, with BatchNorm by the whole batch's statistics or by those of groups of it."""

from typing import Any

import jax
import jax.numpy as jnp

from reid_jax.models.output import Output


def forward_in_groups(network, variables: Any, image: jax.Array, groups: int) -> tuple[Output, Any]:
    """Runs the network in training mode on `groups` equal parts of a batch, one beside the other.

    `image` [n, h, w, 3] -> (output of all n, in their order; the next BatchNorm statistics, the mean over the groups).
    Only BatchNorm looks from one image to another, so groups change nothing but whose statistics an image is normalised
    by. Groups are neighbours in the batch: where each lies on one device, as parts of a batch that is spread over as
    many devices do, no statistics travel between devices, and 'per-device BatchNorm' is what others call it. The
    numbers depend on the groups, and not on the devices.
    """

    def forward(image):
        output, changed = network.apply(variables, image, train=True, mutable=["batch_stats"])
        return output, changed.get("batch_stats", {})

    if groups == 1:
        return forward(image)
    output, statistics = jax.vmap(forward)(image.reshape(groups, -1, *image.shape[1:]))
    joined = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), output)
    return joined, jax.tree.map(lambda leaf: jnp.mean(leaf, 0), statistics)
