"""Synthetic scenes: people who walk through a room before one camera or several, with everything about them known.

They look as `reid_jax.data.synthetic` draws them, so that what was trained on synthetic people can describe them.

`spec`: how much of everything; `walks`: who walks where, and when; `room`: walls and doors; `view`: a camera's place;
`backdrop`: the empty room; `body`: one person; `frame`: one image, from far to near; `detections`: what a detector
makes of it; `writing`: MOTChallenge folders.
"""

from reid_jax.tracking.scene.spec import NAME, RANGES, SyntheticScene
from reid_jax.tracking.scene.writing import prune, render

__all__ = ["NAME", "RANGES", "SyntheticScene", "prune", "render"]
