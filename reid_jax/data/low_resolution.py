"""Images as a distant camera would give them: scaled down to few rows of pixels and up again."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from PIL import Image

from reid_jax.data.images import Images, Split


@dataclasses.dataclass(frozen=True)
class LowResolution:
    """`images` with every one scaled down to `height` rows, antialiased, and up to its size again, bilinearly."""

    images: Images
    height: int

    def __len__(self) -> int:
        return len(self.images)

    @property
    def identity(self) -> np.ndarray:
        """See `Images`, as for the other labels."""
        return self.images.identity

    @property
    def camera(self) -> np.ndarray:
        """See `Images`."""
        return self.images.camera

    @property
    def tracklet(self) -> np.ndarray:
        """See `Images`."""
        return self.images.tracklet

    @property
    def origin(self) -> np.ndarray:
        """See `Images`."""
        return self.images.origin

    @property
    def name(self) -> np.ndarray:
        """See `Images`."""
        return self.images.name

    @property
    def image_size(self) -> tuple[int, int]:
        """See `Images`: images have their size again."""
        return self.images.image_size

    def select(self, index: np.ndarray) -> Split:
        """See `Images.select`."""
        return self._scaled(self.images.select(index))

    def blocks(self, size: int, progress: str = "") -> Iterator[Split]:
        """See `Images.blocks`."""
        return map(self._scaled, self.images.blocks(size, progress))

    def _scaled(self, split: Split) -> Split:
        image = split.image
        if not len(image) or self.height >= image.shape[1]:
            return split
        size = (image.shape[2], image.shape[1])
        small = (max(1, round(size[0] * self.height / size[1])), self.height)
        scaled = np.empty_like(image)
        for row, pixels in enumerate(image):
            few_rows = Image.fromarray(pixels).resize(small, Image.Resampling.BILINEAR)
            scaled[row] = np.asarray(few_rows.resize(size, Image.Resampling.BILINEAR))
        return dataclasses.replace(split, image=scaled)
