"""From pooled features to what a network returns: vectors, what makes them comparable, and the classifiers.

  pooled [n, c] -> linear, BatchNorm, ReLU -> raw vector [n, width] -> normalisation -> normalised vector [n, width]

  descriptor:    the normalised vector, scaled to unit norm
  triplet loss:  the normalised vector, or with 'bnneck' the raw one
  classifier:    the normalised vector, or with classifier_reads='raw' the raw one

Each network calls `read_out` with its pooled features, a stream each, and has the fields that are described there.
"""

import math
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from reid_jax.errors import InputError
from reid_jax.models import ops
from reid_jax.models.blocks import BatchNorm, kernel_init
from reid_jax.models.output import Output
from reid_jax.ranges import Range, Switch, choice, real

# What the fields that `read_out` reads may be, but for `identities`.
RANGES: dict[str, Range] = {
    "normalisation": choice(("l2", "inference", "bnneck")),
    "classifier_reads": choice(("normalised", "raw")),
    "classifier_bias": Switch(),
    "logit_scale": real(0, 1e4, above=True),
    "logit_scale_learned": Switch(),
}


class HeadFields(Protocol):
    """The fields of a network that `read_out` reads.

    identities: classes of the classifiers; 0 leaves the classifiers out.
    normalisation: what makes the vectors comparable. 'l2': unit vectors in training too; 'inference': raw vectors
      in training; 'bnneck': a bias-free BatchNorm between the triplet's vector and the classifier's.
      The descriptor is normalised per stream in each case.
    classifier_reads: 'normalised' (what `normalisation` returns) or 'raw' (the vector before it).
    classifier_bias: bias of the classifiers.
    logit_scale: factor on the logits, which unit vectors would bound otherwise; logit_scale_learned: its
      logarithm is a parameter, `log_scale`.
    """

    identities: int
    normalisation: str
    classifier_reads: str
    classifier_bias: bool
    logit_scale: float
    logit_scale_learned: bool


class Vector(nn.Module):
    """Linear with bias, BatchNorm, ReLU: pooled features [n, c] -> stream vector float32 [n, features]."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = nn.Dense(self.features, kernel_init=kernel_init, name="linear")(x)
        return BatchNorm(relu=True, name="norm")(x, train)


class Classifier(nn.Module):
    """One linear layer, training only: stream vector [n, width] -> logits float32 [n, identities] times a scale."""

    identities: int
    use_bias: bool
    scale: float
    scale_learned: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", kernel_init, (x.shape[-1], self.identities))
        logits = x @ kernel
        if self.use_bias:
            logits = logits + self.param("bias", nn.initializers.zeros, (self.identities,))
        scale = self.scale
        if self.scale_learned:
            first = nn.initializers.constant(math.log(scale))
            scale = jnp.exp(self.param("log_scale", first, ()))
        return logits * scale


def require_reader(network: HeadFields) -> None:
    """Raises InputError where the classifier would not read what BNNeck makes for it."""
    if network.normalisation == "bnneck" and network.classifier_reads == "raw":
        raise InputError("model.classifier_reads='raw' leaves BNNeck without a reader; use 'normalised'")


def scale_defaults(network: HeadFields) -> dict[str, Any]:
    """Returns the logits' scale, and whether it is learnt, for what the classifier reads: 16, learnt, for unit vectors.

    These bound the logits to [-1, 1], where the cross-entropy hardly moves. Nothing bounds others: 1, not learnt.
    """
    unit = network.normalisation == "l2" and network.classifier_reads == "normalised"
    return {"logit_scale": 16.0 if unit else 1.0, "logit_scale_learned": unit}


def read_out(network: HeadFields, pooled: dict[str, jax.Array], widths: dict[str, int], train: bool) -> Output:
    """Returns what a network returns for pooled features: float32 [n, c] by stream, vectors of `widths` made of each.

    To be called within the network's own `__call__`: the layers become its own, fc_STREAM, neck_STREAM and
    classifier_STREAM. The descriptor is the streams' unit vectors side by side, divided by the root of their number.
    """
    descriptors, features, logits = [], [], []
    for stream, value in pooled.items():
        raw = Vector(widths[stream], name=f"fc_{stream}")(value, train)
        normalised = _normalised(network.normalisation, stream, raw, train)
        descriptors.append(ops.l2_normalise(normalised))
        features.append(raw if network.normalisation == "bnneck" else normalised)
        if train and network.identities:
            read = raw if network.classifier_reads == "raw" else normalised
            logits.append(_classifier(network, stream)(read))
    embedding = jnp.concatenate(descriptors, -1) / len(descriptors) ** 0.5
    return Output(embedding, tuple(features), tuple(logits))


def _normalised(normalisation: str, stream: str, vector: jax.Array, train: bool) -> jax.Array:
    if normalisation == "l2":
        return ops.l2_normalise(vector)
    if normalisation == "bnneck":
        return BatchNorm(use_bias=False, name=f"neck_{stream}")(vector, train)
    return vector


def _classifier(network: HeadFields, stream: str) -> Classifier:
    return Classifier(
        network.identities,
        network.classifier_bias,
        network.logit_scale,
        network.logit_scale_learned,
        name=f"classifier_{stream}",
    )
