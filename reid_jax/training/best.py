"""Which weights of a run are its best: those with the highest mAP on the held-out identities, of equals the earliest.

This one rule chooses both what best.safetensors holds (`reid_jax.train`) and the checkpoint that stays beside the
latest ones (`reid_jax.training.checkpoint`).
"""

from collections.abc import Mapping


def best_step(scores: Mapping[int, float | None]) -> int | None:
    """Returns the step with the highest score, the earliest of equals; None where no step has a score."""
    scored = {step: score for step, score in scores.items() if score is not None}
    return max(sorted(scored), key=scored.__getitem__, default=None)
