"""What metrics may be when distances are known but for rounding: between those of matches put nearer and farther."""

import numpy as np

from reid_jax.retrieval.metrics import retrieval_metrics
from reid_jax.retrieval.protocol import Labels
from reid_jax.retrieval.ranking import rank_distances
from reid_jax.retrieval.verification import verify_distances

# Of float32 in a product of two unit vectors and in what is taken off it; a few units of the last place each.
PRODUCT = 2e-6


def squared_distances(stored):
    """Of the descriptors in a file of `evaluate --embeddings`: float64 [queries, gallery]."""
    query, gallery = (stored[f"{side}_embedding"].astype(np.float64) for side in ("query", "gallery"))
    return ((query[:, None] - gallery[None]) ** 2).sum(2)


def possible_metrics(stored, rounding):
    """(least, most) of every metric but thresholds where squared distances are known to `rounding`.

    All of them only rise when a match comes nearer, but for the equal error rate, which only falls.
    """
    squared = squared_distances(stored)
    labels = Labels(*(stored[f"{side}_{what}"] for side in ("query", "gallery") for what in ("identity", "camera")))
    same = np.equal.outer(labels.query_identity, labels.gallery_identity)

    def metrics_of(shift):
        # Not the root: small differences stay apart. Only the order counts.
        moved = squared + shift * same

        def distances(rows):
            return moved[rows]

        ranking = rank_distances(distances, labels)
        decision = verify_distances(distances, labels, ranking).metrics
        decision["equal_error_rate"] = -decision["equal_error_rate"]
        return retrieval_metrics(ranking) | {name: x for name, x in decision.items() if not name.startswith("distance")}

    return metrics_of(rounding), metrics_of(-rounding)
