"""Thresholds that are known of weights before anybody calibrates them: those of the zoo's cards."""

from reid_jax import zoo
from reid_jax.tracking.thresholds import Threshold


def known_thresholds(digest: str) -> tuple[Threshold, ...]:
    """Returns the thresholds of the zoo's weights of this digest; () where there are none."""
    return next((entry.thresholds for entry in zoo.ENTRIES.values() if digest and entry.digest == digest), ())
