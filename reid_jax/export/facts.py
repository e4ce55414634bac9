"""What an export says of itself, as text by name: an ONNX file's metadata, or a JSON file beside a StableHLO one."""

import dataclasses
import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

from reid_jax.config import to_dict
from reid_jax.data.augment import MEAN, STD
from reid_jax.descriptors import digest_of
from reid_jax.errors import InputError, shown
from reid_jax.files.json_text import parse_json
from reid_jax.weights import Weights

_DIGEST_LETTERS = 64


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of the weights that were exported, and of what the file takes.

    network: its name in a config. image_size: (height, width). streams: the widths that a descriptor concatenates.
    digest: of the weights, see `descriptors.digest_of`. pixels: whether images are uint8 [n, h, w, 3], else normalised
    float32 [n, 3, h, w]; RGB in both. training_set, test_set: as the config of the run has them, '' for none.
    thresholds: false-positive rate -> distance of two descriptors, where they are known.
    """

    network: str
    image_size: tuple[int, int]
    streams: tuple[int, ...]
    digest: str
    pixels: bool
    precision: str
    training_set: str
    test_set: str
    thresholds: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, weights: Weights, pixels: bool, precision: str, thresholds: Mapping[str, float]) -> "Facts":
        """The facts of weights that are about to be exported."""
        config = to_dict(weights.config)
        return cls(
            network=config["model"]["name"],
            image_size=tuple(config["image_size"]),
            streams=tuple(weights.network.streams),
            digest=digest_of(weights.variables),
            pixels=pixels,
            precision=precision,
            training_set=config["dataset"] or "",
            test_set=config["test_dataset"] or "",
            thresholds=dict(thresholds),
        )

    def texts(self) -> dict[str, str]:
        """The facts as text by name, with what is the same for all exports."""
        layout = "uint8 [batch, height, width, 3]" if self.pixels else "float32 [batch, 3, height, width], normalised"
        own = {field.name: _text(getattr(self, field.name)) for field in dataclasses.fields(self)}
        same = {"mean": _text(MEAN), "std": _text(STD), "colour": "RGB", "input": layout}
        texts = {"reid_jax": importlib.metadata.version("reid_jax"), **own, **same}
        # A data set's name may hold what is no letter.
        return {name: text.encode("utf-8", "backslashreplace").decode() for name, text in texts.items()}

    @classmethod
    def read(cls, texts: Mapping[str, str]) -> "Facts":
        """The facts that `texts` wrote; raises InputError for what it did not write."""
        if "reid_jax" not in texts:
            raise InputError("it does not say of which weights it is: it is no export of reid_jax")
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            text = texts.get(field.name, "")
            values[field.name] = text if field.type is str else _value(field.name, text)
        return cls(**values)._checked()

    def _checked(self) -> "Facts":
        for name, count in (("image_size", 2), ("streams", None)):
            value = getattr(self, name)
            whole = isinstance(value, list) and all(type(number) is int and number > 0 for number in value)
            if not whole or not value or len(value) != (count or len(value)):
                raise InputError(f"its {name} is {shown(value)}, which are no sizes; export it again")
        if type(self.pixels) is not bool or not isinstance(self.thresholds, dict):
            raise InputError("its input or its thresholds are not told as an export tells them; export it again")
        if len(self.digest) != _DIGEST_LETTERS or set(self.digest) - set("0123456789abcdef"):
            raise InputError(f"its digest is {shown(self.digest)!r}, which is none; export it again")
        return dataclasses.replace(self, image_size=tuple(self.image_size), streams=tuple(self.streams))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _value(name: str, text: str) -> Any:
    try:
        return parse_json(text)
    except InputError as error:
        raise InputError(f"its {name} {error}; export it again") from error
