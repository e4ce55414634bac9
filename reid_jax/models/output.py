"""What every network returns."""

from typing import NamedTuple

import jax


class Output(NamedTuple):
    """What the network returns for n images; all float32."""

    embedding: jax.Array  # [n, d], unit norm: the descriptor
    features: tuple[jax.Array, ...]  # for each stream [n, width]: what the triplet loss reads
    logits: tuple[jax.Array, ...]  # for each stream [n, identities]; empty unless training
