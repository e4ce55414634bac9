"""What the zoo knows of the weights that a name stands for here."""

from reid_jax import zoo
from reid_jax.descriptors import digest_of
from reid_jax.errors import InputError
from reid_jax.weights import load_weights


def entry_of(name: str) -> zoo.Entry | None:
    """Returns the package's entry of a name; None where there is none, or the user's own weights stand in its place."""
    entry = zoo.ENTRIES.get(name)
    if entry and entry.digest and zoo.is_own(name):
        try:
            digest = digest_of(load_weights(f"{zoo.PREFIX}{name}").variables)
        except InputError:  # damaged
            return None
        return entry if digest == entry.digest else None
    return entry
