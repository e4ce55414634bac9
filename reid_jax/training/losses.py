"""Losses: smoothed cross-entropy and the triplet losses of arXiv 1910.07038, equations 2 to 5.

Everything is computed in float32 whatever the inputs' dtype. The functions trace under `jax.jit` with batches
sharded over devices: anchors are compared with the whole global batch.
"""

import dataclasses

import jax
import jax.numpy as jnp

from reid_jax.errors import InputError

# Under the square root of the distance: its gradient at coinciding embeddings is then 0 instead of NaN. The
# distance itself moves by 1e-6 at most.
DISTANCE_EPS = 1e-12

MININGS = ("original", "batch_hard", "batch_soft")


def cross_entropy(logits: jax.Array, labels: jax.Array, label_smoothing: float = 0.0) -> jax.Array:
    """Mean cross-entropy of a batch, with label smoothing.

    Args:
      logits: float `[n, k]`.
      labels: int `[n]`, in `[0, k)`.
      label_smoothing: ε in [0, 1): the target is `1 − ε + ε/k` at the label and `ε/k` elsewhere, as in "Bag
        of Tricks and a Strong Baseline for Deep Person Re-identification" (Luo et al. 2019).

    Returns:
      float32 scalar, the mean over the batch in nats.

    Raises:
      InputError: ε is outside [0, 1).
    """
    if not 0.0 <= label_smoothing < 1.0:
        raise InputError(f"label_smoothing is {label_smoothing}: give a number in [0, 1)")
    log_probability = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
    at_label = jnp.take_along_axis(log_probability, labels[:, None], axis=-1)[:, 0]
    everywhere = jnp.mean(log_probability, axis=-1)
    return -jnp.mean((1.0 - label_smoothing) * at_label + label_smoothing * everywhere)


def pairwise_distance(embedding: jax.Array) -> jax.Array:
    """Euclidean distance of every pair of a batch, with finite gradients where two embeddings coincide.

    Differences are squared and summed: `|a|² + |b|² − 2ab` would lose half of float32's digits for close
    pairs, and its gradient there would be rounding noise magnified by 1/distance.

    Args:
      embedding: float `[n, d]`.

    Returns:
      float32 `[n, n]`, `sqrt(|a − b|² + 1e-12)`.
    """
    embedding = embedding.astype(jnp.float32)
    return jnp.sqrt(_squared_distance(embedding) + DISTANCE_EPS)


# Recomputed in the backward pass: the [n, n, d] differences then never need to be stored.
@jax.checkpoint
def _squared_distance(embedding: jax.Array) -> jax.Array:
    return jnp.sum(jnp.square(embedding[:, None, :] - embedding[None, :, :]), axis=-1)


def triplet_loss(
    embedding: jax.Array,
    identity: jax.Array,
    *,
    mining: str,
    margin: float | str,
    detach_weights: bool = False,
    nonzero_mean: bool = False,
) -> jax.Array:
    """Triplet loss of a batch: equations 2 to 5 of arXiv 1910.07038, Euclidean distance.

    A term is an anchor's "distance to its positives minus distance to its negatives" under a hinge with a
    margin, or under softplus. Anchors without a positive or without a negative in the batch have no term; a
    batch without terms has loss 0.

    Args:
      embedding: float `[n, d]`; normalised or not, that is the network's affair.
      identity: int `[n]`.
      mining: which positives and negatives make a term. 'original': every (positive, negative) pair of every
        anchor (eq. 2); 'batch_hard': the farthest positive and the nearest negative of each anchor (eq. 3);
        'batch_soft': all of an anchor's, positives weighted by softmax(+d) and negatives by softmax(−d) (eq.
        4).
      margin: m of the hinge `max(0, m + d_positive − d_negative)`, or 'soft' for `softplus(d_positive −
        d_negative)` (eq. 5).
      detach_weights: no gradient through the weights of 'batch_soft'.
      nonzero_mean: average over the terms above zero instead of all terms.

    Returns:
      float32 scalar, the mean over the terms.

    Raises:
      InputError: `mining` or `margin` is none of the above.
    """
    if mining not in MININGS:
        raise InputError(f"triplet mining is {mining!r}: choose from {', '.join(MININGS)}")
    if isinstance(margin, str) and margin != "soft" or not isinstance(margin, str) and not margin >= 0:
        raise InputError(f"triplet margin is {margin!r}: give a number >= 0, or 'soft'")

    distance = pairwise_distance(embedding)
    same = identity[:, None] == identity[None, :]
    positive = same & ~jnp.eye(len(identity), dtype=bool)
    negative = ~same
    if mining == "original":
        gap, valid = _every_pair(distance, positive, negative)
    elif mining == "batch_hard":
        gap, valid = _hardest(distance, positive, negative)
    else:
        gap, valid = _softly_weighted(distance, positive, negative, detach_weights)

    gap = jnp.where(valid, gap, 0.0)  # before the margin function: its gradient stays finite where there is no term
    term = jnp.where(valid, jax.nn.softplus(gap) if margin == "soft" else jax.nn.relu(margin + gap), 0.0)
    counted = valid & (term > 0) if nonzero_mean else valid
    return jnp.sum(term) / jnp.maximum(jnp.sum(counted), 1)


def _every_pair(distance, positive, negative):
    """Equation 2: `d(a, p) − d(a, n)` `[anchor, positive, negative]`, and which of them exist."""
    gap = distance[:, :, None] - distance[:, None, :]
    return gap, positive[:, :, None] & negative[:, None, :]


def _hardest(distance, positive, negative):
    """Equation 3: farthest positive minus nearest negative `[anchor]`, and which anchors have both."""
    farthest = jnp.max(distance, axis=1, where=positive, initial=0.0)
    nearest = jnp.min(distance, axis=1, where=negative, initial=jnp.inf)
    return farthest - nearest, positive.any(axis=1) & negative.any(axis=1)


def _softly_weighted(distance, positive, negative, detach_weights):
    """Equation 4: weighted mean of positives minus that of negatives `[anchor]`, and which have both."""
    positive_weight = _masked_softmax(distance, positive)
    negative_weight = _masked_softmax(-distance, negative)
    if detach_weights:
        positive_weight, negative_weight = jax.lax.stop_gradient((positive_weight, negative_weight))
    gap = jnp.sum(positive_weight * distance, axis=1) - jnp.sum(negative_weight * distance, axis=1)
    return gap, positive.any(axis=1) & negative.any(axis=1)


def _masked_softmax(logits, mask):
    """Softmax over the entries of each row where `mask` holds, 0 elsewhere; all 0 in a row without any."""
    # A finite stand-in for −inf: a row without entries then has zeros for gradients, not NaN.
    return jnp.where(mask, jax.nn.softmax(jnp.where(mask, logits, -1e30), axis=1), 0.0)


@dataclasses.dataclass(frozen=True)
class Objective:
    """The loss of a batch: smoothed cross-entropy plus triplet, summed over the streams.

    `margin` is a number for the hinge or 'soft'; the rest as in this file.
    """

    cross_entropy_weight: float = 1.0
    label_smoothing: float = 0.1
    triplet_weight: float = 1.0
    mining: str = "batch_soft"
    margin: float | str = "soft"
    detach_weights: bool = False
    nonzero_mean: bool = False

    def __call__(self, output, label: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns (loss, metrics), all float32 scalars, for `label` int32 [n] in [0, identities)."""
        streams = len(output.features)
        entropy = sum(cross_entropy(logits, label, self.label_smoothing) for logits in output.logits)
        metrics = {"cross_entropy": entropy / streams}
        loss = self.cross_entropy_weight * entropy
        if self.triplet_weight:
            triplet = sum(
                triplet_loss(
                    vectors,
                    label,
                    mining=self.mining,
                    margin=self.margin,
                    detach_weights=self.detach_weights,
                    nonzero_mean=self.nonzero_mean,
                )
                for vectors in output.features
            )
            metrics["triplet"] = triplet / streams
            loss = loss + self.triplet_weight * triplet
        correct = sum(jnp.mean(jnp.argmax(logits, -1) == label) for logits in output.logits)
        return loss, {"loss": loss, "accuracy": correct / streams, **metrics}
