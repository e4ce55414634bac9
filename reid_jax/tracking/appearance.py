"""What describes boxes for a tracker: a colour histogram, our network, descriptors from a file; and our network in the
shapes that other trackers ask for.

The tracker's own shape is `embed(frame, boxes) -> [n, d]`: frame uint8 [h, w, 3] RGB, boxes float64 [n, 4] (left, top,
right, bottom) in whole pixels inside of the frame, one call a frame. `reid_jax.Extractor` fills a call up to one of a
few sizes, so that nothing is compiled anew.
"""

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reid_jax.errors import InputError, shown
from reid_jax.tracking.motdt import Embed

_PARTS = 4  # of a person from head to foot, each with a histogram of its own
_HUES, _SATURATIONS, _VALUES = 8, 4, 4
_HEIGHT, _WIDTH = 32, 16  # that crops are resized to


def histogram(frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Colour histograms of four parts from head to foot: float32 [n, 512], unit norm.

    The square roots of how often each of 8 hues × 4 saturations × 4 values occurs, so that a dot product is a
    Bhattacharyya coefficient. Nothing is learnt: a mark to compare networks with.
    """
    image = Image.fromarray(frame)
    counts = np.zeros((len(boxes), _PARTS * _HUES * _SATURATIONS * _VALUES), np.float32)
    for row, box in enumerate(boxes):
        crop = image.resize((_WIDTH, _HEIGHT), Image.Resampling.BILINEAR, box=tuple(box)).convert("HSV")
        hue, saturation, value = np.moveaxis(np.asarray(crop, np.int64), 2, 0)
        part = np.arange(_HEIGHT)[:, None] * _PARTS // _HEIGHT
        place = ((part * _HUES + hue * _HUES // 256) * _SATURATIONS + saturation * _SATURATIONS // 256) * _VALUES
        place += value * _VALUES // 256
        counts[row] = np.bincount(place.ravel(), minlength=counts.shape[1])
    return np.sqrt(counts / (_HEIGHT * _WIDTH))


def of_extractor(extractor: Any) -> Embed:
    """Returns `embed` of a `reid_jax.Extractor`: one batched call a frame."""
    return lambda frame, boxes: extractor(frame, boxes, colour="rgb")


def of_extractors(extractors: Sequence[Any]) -> Embed:
    """Returns `embed` of several networks, such as samples of one's weights: the plain mean m of their descriptors.

    Its norm is 1 where they agree and less where they do not: their spread is sqrt(1 - |m|^2), which
    `looks.describe_visits` reads off.
    """
    return lambda frame, boxes: np.mean([extractor(frame, boxes, colour="rgb") for extractor in extractors], axis=0)


def read_features(path: str | os.PathLike, rows: int) -> np.ndarray:
    """Reads the descriptors of detections, one for each of `rows` in their file's order: float32 [rows, d].

    A .npy file with such an array, or a .npz file with it under 'embedding', as `reid-jax embed` writes it. A row that
    is not finite says that the look of its detection is not known. Raises InputError where the file is none, or holds
    another number of rows; nothing pickled is read.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile):
                with loaded:
                    if "embedding" not in loaded:
                        raise InputError(f"{shown(path)} has no array 'embedding', but {shown(', '.join(loaded))}")
                    loaded = loaded["embedding"]
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"there is no file {shown(path)}; name the descriptors of the detections") from error
    except Exception as error:  # NumPy and zipfile raise many kinds
        raise InputError(f"{shown(path)} is no .npy or .npz file that can be read ({shown(error)})") from error
    if loaded.ndim != 2 or loaded.dtype.kind not in "fiu":
        raise InputError(f"{shown(path)} has shape {list(loaded.shape)} and type {loaded.dtype}; give float [n, d]")
    if len(loaded) != rows:
        raise InputError(
            f"{shown(path)} has {len(loaded):,} descriptors, and there are {rows:,} detections; give one for each line "
            "of the detections, in their order"
        )
    return np.asarray(loaded, np.float32)


@dataclasses.dataclass(frozen=True)
class Requirements:
    """What BoxMOT's detections must bring along before they are described."""

    masks: bool = False


class Appearance:
    """Our network in the shapes by which other trackers call theirs; none of them is imported.

    Frames are theirs, uint8 [h, w, 3] in OpenCV's order, BGR, unless `colour` says 'rgb'. Boxes are (left, top, right,
    bottom) in pixels; each is cut to the frame, and one that shows no pixel of it gets a descriptor of zeros.

        appearance = Appearance(Extractor("runs/1x"))
        appearance(frame, boxes)                             # (image, boxes) -> float32 [n, d]
        appearance.extract_embeddings(detections, frame)     # Roboflow's trackers: detections.xyxy
        appearance.encode(frames, detections)                # BoxMOT 25's AppearanceEncoder
        appearance.get_features(boxes, frame)                # its trackers' reid_model, and BoxMOT before it
    """

    requirements = Requirements()

    def __init__(self, extractor: Any, *, colour: str = "bgr"):
        """Takes a `reid_jax.Extractor`, or what is called like it and has `dimensions`."""
        self._extractor, self._colour = extractor, colour

    @property
    def embedding_dim(self) -> int:
        """d, the length of a descriptor."""
        return self._extractor.dimensions

    def __call__(self, frame: np.ndarray, boxes: Any) -> np.ndarray:
        """The descriptors of a frame's boxes: float32 [n, d], unit norm; [0, d] where there are none."""
        boxes = _boxes(boxes)
        described = np.zeros((len(boxes), self.embedding_dim), np.float32)
        height, width = frame.shape[:2]
        inside = np.clip(np.rint(boxes), 0, [width, height, width, height])  # NaN stays, and is not seen
        seen = (inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1])
        if seen.any():
            described[seen] = self._extractor(frame, inside[seen], colour=self._colour)
        return described

    def extract_embeddings(self, detections: Any, frame: np.ndarray) -> np.ndarray:
        """The same for Roboflow's detections, which have `.xyxy`; [0, 0] where there are none, as they have it."""
        described = self(frame, detections)
        return described if len(described) else np.zeros((0, 0), np.float32)

    def get_features(self, boxes: Any, frame: np.ndarray) -> np.ndarray:
        """The same with the boxes first."""
        return self(frame, boxes)

    def encode(self, frames: Sequence[Any], detections: Sequence[Any]) -> list[Any]:
        """The descriptors of several frames' boxes, a tensor of PyTorch's [n, d] for each where torch is loaded.

        Frames are BoxMOT's, whose `.image` is uint8 [3, h, w] in the order RGB, or arrays; detections have their boxes
        as `.geometry.values`, or are boxes. Without torch in the process the descriptors are arrays.
        """
        described = []
        for frame, found in zip(frames, detections, strict=True):
            boxes = getattr(getattr(found, "geometry", None), "values", found)
            if hasattr(frame, "image"):
                of_boxmot = Appearance(self._extractor, colour="rgb")
                described.append(of_boxmot(np.moveaxis(np.asarray(frame.image), 0, 2), boxes))
            else:
                described.append(self(frame, boxes))
        torch = sys.modules.get("torch")
        return described if torch is None else [torch.from_numpy(one) for one in described]


def _boxes(detections: Any) -> np.ndarray:
    """The boxes float64 [n, 4] of an array [n, 4 or more], a tensor, or what has them as `.xyxy`."""
    boxes = getattr(detections, "xyxy", detections)
    boxes = np.asarray(boxes.cpu() if hasattr(boxes, "cpu") else boxes, np.float64)
    boxes = boxes.reshape(0, 4) if not boxes.size else boxes
    if boxes.ndim != 2 or boxes.shape[1] < 4:
        raise InputError(f"boxes have shape {list(boxes.shape)}; give [n, 4], (left, top, right, bottom) in pixels")
    return boxes[:, :4]
