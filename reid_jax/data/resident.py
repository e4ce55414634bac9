"""The training images on the devices, laid out once a run for what reads single ones of them."""

import dataclasses
import math

import jax
import numpy as np
from jax.sharding import Mesh

from reid_jax import parallel

_WIDTH = 128  # of a row of a TPU's memory


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ResidentImages:
    """Images uint8 [n, h, w, 3], whole on every device, each in rows of 128 bytes; read with `resident[indices]`.

    Four axes of which the last has 3 elements a TPU would keep in an order of its own, and copy all images into another
    at the beginning of each dispatch.

    rows: uint8 [n, h w 3 / 128, 128], narrower where an image does not fill such rows. size: (h, w).
    """

    rows: jax.Array
    size: tuple[int, int] = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, image: np.ndarray, mesh: Mesh) -> "ResidentImages":
        """Lays images uint8 [n, h, w, 3] of the host on every device. Each process hands over its own copy."""
        size = image.shape[1:3]
        rows = image.reshape(len(image), *rows_of(size))
        whole = parallel.replicated(mesh)
        return cls(jax.make_array_from_callback(rows.shape, whole, lambda index: rows[index]), size)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, h, w, 3)."""
        return (len(self), *self.size, 3)

    def __len__(self) -> int:
        return self.rows.shape[0]

    def __getitem__(self, indices: jax.Array) -> jax.Array:
        """The images of int32 `indices` [...]: uint8 [..., h, w, 3]."""
        return self.rows[indices].reshape(*indices.shape, *self.size, 3)


def rows_of(size: tuple[int, int]) -> tuple[int, int]:
    """The rows of an image of (height, width) pixels, and the bytes of each."""
    count = math.prod(size) * 3
    width = math.gcd(count, _WIDTH)
    return count // width, width
