"""The PyTorch networks whose weights become ours: one entry for each, and which one a state dict is of."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from reid_jax.convert.hacnn import convert_hacnn
from reid_jax.convert.osnet import convert_osnet
from reid_jax.errors import InputError, first_few

StateDict = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Format:
    """How to tell a network's state dict, and what makes ours of it.

    recognises: whether a state dict is of this network, by names of its tensors. convert: the state dict, and keyword
    options -> (arguments of `create_network`, name and identities among them; {'params', 'batch_stats'} of float32
    arrays); it raises InputError for what is no such state dict. image_size: (height, width) that it was published
    with. options: the keyword options that `convert` takes.
    """

    recognises: Callable[[StateDict], bool]
    convert: Callable[..., tuple[dict[str, Any], dict[str, Any]]]
    image_size: tuple[int, int]
    options: tuple[str, ...] = ()


FORMATS: dict[str, Format] = {
    "torchreid's hacnn": Format(
        lambda state: any(name.startswith("ha1.") for name in state), convert_hacnn, (160, 64), ("crop_align_corners",)
    ),
    "torchreid's osnet": Format(
        lambda state: any(name.startswith("conv2.0.gate.") for name in state), convert_osnet, (256, 128)
    ),
}


def find_format(state_dict: StateDict) -> Format:
    """Returns the format that a state dict has; InputError, naming those that are known, where it has none."""
    for form in FORMATS.values():
        if form.recognises(state_dict):
            return form
    there = first_few([f"{name} {array.shape}" for name, array in state_dict.items()])
    raise InputError(
        f"these are weights of no network that is converted, which are {', '.join(FORMATS)}; they are {there}"
    )


def convert_weights(state_dict: StateDict, **options: Any) -> tuple[dict[str, Any], dict[str, Any], tuple[int, int]]:
    """Converts a state dict by the format that it has, which gets those of `options` that it takes.

    Returns (arguments of `create_network`, {'params', 'batch_stats'}, (height, width) of the images).
    Raises InputError where it is of no network that is known here, or where something is wrong with it.
    """
    form = find_format(state_dict)
    taken = {key: value for key, value in options.items() if key in form.options}
    return *form.convert(state_dict, **taken), form.image_size
