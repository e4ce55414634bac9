"""Images as a distant camera would give them: scaled down to few rows of pixels and up again."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from PIL import Image

from reid_jax.data.split import Images, Split


@dataclasses.dataclass(frozen=True)
class LowResolution:
    """`images` with every one scaled down to `height` rows, antialiased, and up to its size again, bilinearly."""

    images: Images
    height: int

    def __len__(self) -> int:
        return len(self.images)

    def __getattr__(self, label: str) -> np.ndarray:
        if label in ("identity", "camera", "tracklet", "origin", "name"):
            return getattr(self.images, label)
        raise AttributeError(label)

    def select(self, index: np.ndarray) -> Split:
        """See `Split.select`."""
        return self._lowered(self.images.select(index))

    def blocks(self, size: int, progress: str = "") -> Iterator[Split]:
        """See `Split.blocks`."""
        return map(self._lowered, self.images.blocks(size, progress))

    def _lowered(self, split: Split) -> Split:
        image = split.image
        if not len(image) or self.height >= image.shape[1]:
            return split
        size = (image.shape[2], image.shape[1])
        small = (max(1, round(size[0] * self.height / size[1])), self.height)
        lowered = np.empty_like(image)
        for row, pixels in enumerate(image):
            picture = Image.fromarray(pixels).resize(small, Image.Resampling.BILINEAR)
            lowered[row] = np.asarray(picture.resize(size, Image.Resampling.BILINEAR))
        return dataclasses.replace(split, image=lowered)
