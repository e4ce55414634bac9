"""An exported file in place of weights: it describes images as the weights do that it was made of."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from reid_jax import config as run_config
from reid_jax import parallel
from reid_jax.describe import Describer, Encoder, require_finite
from reid_jax.errors import InputError
from reid_jax.export.facts import Facts
from reid_jax.export.packages import require_onnx
from reid_jax.export.stablehlo import open_stablehlo
from reid_jax.retrieval.aggregate import renormalise
from reid_jax.weights import LAST, Weights, load_weights

ENDINGS = (".onnx", ".stablehlo")

_IMAGES_AT_A_TIME = 32


class Export(Describer):
    """An ONNX or StableHLO file of ours, which describes images as `Encoder` does.

    Raises InputError for a file that is missing, damaged or of others, and for ONNX without ONNX Runtime.
    """

    def __init__(self, path: str | os.PathLike):
        """Reads the file at `path`, known by its ending."""
        path = Path(os.path.expanduser(path))
        if not path.is_file():
            raise InputError(f"{path} does not exist; name a file that reid-jax export has written")
        try:
            self._facts, self._run = _open(path)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        self.image_size = self._facts.image_size

    @property
    def streams(self) -> tuple[int, ...]:
        """See `Describer`."""
        return self._facts.streams

    @property
    def digest(self) -> str:
        """See `Describer`: of the weights that were exported."""
        return self._facts.digest

    @property
    def mesh(self) -> Mesh:
        """See `Describer`."""
        return parallel.create_mesh()

    @property
    def config(self) -> ConfigDict:
        """What is known of the run's config: image size and data sets; the rest are defaults."""
        config = run_config.default()
        config.image_size = self.image_size
        config.dataset, config.test_dataset = self._facts.training_set, self._facts.test_set
        return config

    def _described(self, blocks: Iterable[np.ndarray], flip: bool) -> Iterator[np.ndarray]:
        for image in blocks:
            self._check(image)
            for start in range(0, len(image), _IMAGES_AT_A_TIME):
                part = image[start : start + _IMAGES_AT_A_TIME]
                embedding = self._run(part)
                if flip:
                    embedding = renormalise(embedding + self._run(part[:, :, ::-1]), self.streams)
                require_finite(embedding)
                yield embedding


def _open(path: Path) -> tuple[Facts, Callable[[np.ndarray], np.ndarray]]:
    """The facts of a file, and what runs it."""
    if path.suffix.lower() == ".stablehlo":
        facts, run = open_stablehlo(path)
        return facts, _of_one_size(run)
    require_onnx("onnxruntime")
    from reid_jax.export.engine import Engine

    engine = Engine(path.read_bytes())
    return engine.facts, engine


def _of_one_size(run: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """The same for any number of images up to `_IMAGES_AT_A_TIME`: it is compiled for each number that it is given."""

    def padded(image: np.ndarray) -> np.ndarray:
        room = np.zeros((_IMAGES_AT_A_TIME - len(image), *image.shape[1:]), np.uint8)
        return run(np.concatenate([image, room]))[: len(image)]

    return padded


def open_weights(path: str | os.PathLike, name: str = LAST) -> Weights | Export:
    """Reads an exported file, known by its ending, or weights as `reid_jax.weights.load_weights` does."""
    return Export(path) if Path(path).suffix.lower() in ENDINGS else load_weights(path, name)


def describer_of(opened: Weights | Export, mesh: Mesh) -> Describer:
    """Returns what describes images with what `open_weights` has read."""
    return opened if isinstance(opened, Export) else Encoder.of(opened, mesh)
