"""The PyTorch networks whose weights become ours: one entry for each, and which one a state dict is of."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from reid_jax.convert.hacnn import convert_hacnn

StateDict = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Format:
    """How to tell a network's state dict, and what makes ours of it.

    recognises: whether a state dict is of this network, by names of its tensors. convert: the state dict, and keyword
    options -> (arguments of `create_network`, name and identities among them; {'params', 'batch_stats'} of float32
    arrays); it raises InputError for what is no such state dict. options: the keyword options that `convert` takes.
    """

    recognises: Callable[[StateDict], bool]
    convert: Callable[..., tuple[dict[str, Any], dict[str, Any]]]
    options: tuple[str, ...] = ()


FORMATS: dict[str, Format] = {
    "hacnn": Format(
        lambda state: any(name.startswith("ha1.") for name in state), convert_hacnn, ("crop_align_corners",)
    ),
}


def convert_weights(state_dict: StateDict, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Converts a state dict by the format that recognises it, else by the first, which tells what is wrong with it.

    A format gets those of `options` that it takes. Returns (arguments of `create_network`, {'params', 'batch_stats'}).
    Raises InputError where it is of no network that is known here.
    """
    found = next((form for form in FORMATS.values() if form.recognises(state_dict)), next(iter(FORMATS.values())))
    return found.convert(state_dict, **{key: value for key, value in options.items() if key in found.options})
