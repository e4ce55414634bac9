"""What kind of vectors a gallery holds: those of one network's weights."""

import dataclasses

from reid_jax.errors import InputError, shown


@dataclasses.dataclass(frozen=True)
class Kind:
    """digest: of the weights, see `Extractor.digest`. streams: the widths of the vectors a descriptor concatenates."""

    digest: str
    streams: tuple[int, ...]

    @classmethod
    def of(cls, described_by) -> "Kind":
        """Returns that of an `Extractor` or a `Describer`."""
        return cls(described_by.digest, tuple(described_by.streams))

    @property
    def dimensions(self) -> int:
        """d, the length of a descriptor."""
        return sum(self.streams)

    def require_same(self, other: "Kind", address: str) -> None:
        """Raises InputError unless `other`, what is to be added or searched for, is the same as the gallery's."""
        if self == other:
            return
        raise InputError(
            f"the gallery {shown(address)} holds vectors of other weights (digest {self.digest[:12]}…, "
            f"{self.dimensions} numbers; these: {other.digest[:12]}…, {other.dimensions}); take those weights, or "
            "another gallery"
        )
