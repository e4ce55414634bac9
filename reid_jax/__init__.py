"""Person re-identification in JAX: networks, training, evaluation and pictures.

`from reid_jax import Extractor` describes a user's own images; it is imported when it is asked for, so that
`import reid_jax` costs nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reid_jax.extractor import Extractor

__all__ = ["Extractor"]


def __getattr__(name: str) -> object:
    if name == "Extractor":
        from reid_jax.extractor import Extractor

        return Extractor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
