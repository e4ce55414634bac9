"""Whether a peer does the same work: its descriptors beside ours."""

import numpy as np

MOST_DIFFERENCE = 1e-4  # of a descriptor's numbers from ours, in float32 on a CPU


def check(name: str, theirs: np.ndarray, ours: np.ndarray, exact: bool = True) -> float:
    """Returns how far the first of their descriptors [n, d] are from ours [m, d] at most.

    Raises RuntimeError where that is too far for `exact` arithmetic: it would be other work.
    """
    difference = float(np.abs(theirs[: len(ours)] - ours).max())
    if exact and not difference < MOST_DIFFERENCE:
        raise RuntimeError(f"{name} and reid_jax differ by {difference:.1e} in the descriptors of the same weights")
    return difference
