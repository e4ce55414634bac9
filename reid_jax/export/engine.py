"""ONNX Runtime over a model: images in, descriptors out."""

import numpy as np
import onnxruntime

from reid_jax.data.augment import MEAN, STD
from reid_jax.errors import InputError, shown
from reid_jax.export.facts import Facts
from reid_jax.export.refusal import WAY_OUT

_ERRORS_ONLY = 3


class Engine:
    """A model that ONNX Runtime has loaded, with the facts in its metadata.

    Raises InputError where it is no ONNX model, no export of ours, or does not take and give what it says.
    """

    def __init__(self, model: bytes, gpu: bool = True):
        """Loads a model, onto a GPU where ONNX Runtime has one unless `gpu` is off."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        wanted = ["CUDAExecutionProvider"] * gpu + ["CPUExecutionProvider"]
        providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=providers)
        except Exception as error:  # ONNX Runtime has a class for each of its failures
            raise InputError(f"ONNX Runtime does not load it ({shown(error)}); export it again") from error
        self.facts = Facts.read(self._session.get_modelmeta().custom_metadata_map)
        self._require_ends()

    def _require_ends(self) -> None:
        height, width = self.facts.image_size
        images = [height, width, 3] if self.facts.pixels else [3, height, width]
        wanted = (
            ("tensor(uint8)" if self.facts.pixels else "tensor(float)", images),
            ("tensor(float)", [sum(self.facts.streams)]),
        )
        ends = [*self._session.get_inputs(), *self._session.get_outputs()]
        have = tuple((end.type, list(end.shape[1:])) for end in ends)
        if have != wanted:
            raise InputError(f"its input and output are {shown(have)}, and it says {shown(wanted)}; export it again")
        self._images, self._embeddings = (end.name for end in ends)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Describes uint8 images [n, h, w, 3], RGB: float32 [n, d]."""
        return self.run(image if self.facts.pixels else normalised(image))

    def run(self, images: np.ndarray) -> np.ndarray:
        """Describes images as the file takes them; raises InputError where ONNX Runtime stumbles over them."""
        try:
            return self._session.run([self._embeddings], {self._images: images})[0]
        except Exception as error:  # as above
            raise InputError(f"ONNX Runtime does not run it ({shown(error)}); {WAY_OUT}") from error


def normalised(image: np.ndarray) -> np.ndarray:
    """Pixels uint8 [n, h, w, 3] as a file without --uint8 takes them: float32 [n, 3, h, w], normalised."""
    mean, deviation = np.array(MEAN, np.float32), np.array(STD, np.float32)
    scaled = (image.astype(np.float32) / np.float32(255) - mean) / deviation
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
