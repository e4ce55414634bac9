"""Portable weights: one safetensors file with parameters, BatchNorm statistics and, in the header, the config.

Unlike a checkpoint it restores anywhere, whatever the devices, and any safetensors reader opens it.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from reid_jax import config as run_config
from reid_jax.errors import InputError
from reid_jax.models.network import AttentionNetwork, create_network

_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Weights:
    """A trained network: its config, its identities (0 without classifiers) and its variables of numpy arrays."""

    config: ConfigDict
    identities: int
    variables: dict[str, Any]

    @property
    def network(self) -> AttentionNetwork:
        """The network that takes these variables."""
        return network_of(self.config, self.identities)


def network_of(config: ConfigDict, identities: int) -> AttentionNetwork:
    """Returns the network that `config.model` describes; keys that are None take the preset's value."""
    fields = {key: value for key, value in config.model.to_dict().items() if value is not None}
    return create_network(fields.pop("name"), identities, **fields)


def save_weights(path: str | os.PathLike, weights: Weights) -> None:
    """Writes `weights` to `path`, complete or not at all."""
    path = Path(path)
    flat = {
        jax.tree_util.keystr(key, simple=True, separator="/"): np.asarray(leaf, order="C")
        for key, leaf in jax.tree_util.tree_leaves_with_path(weights.variables)
    }
    # One entry: safetensors writes several in a random order, and equal weights are to be equal files.
    header = {"version": _VERSION, "identities": weights.identities, "config": run_config.to_dict(weights.config)}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(save({key: flat[key] for key in sorted(flat)}, {"reid_jax": json.dumps(header)}))
    os.replace(temporary, path)


def load_weights(path: str | os.PathLike) -> Weights:
    """Reads the weights in file `path`, or the last ones of a run where `path` is its workdir.

    Raises InputError for a missing or foreign file, and where the arrays are not those of the config's network.
    """
    path = _file_of(Path(path))
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if "reid_jax" not in header:
                raise InputError(
                    f"{path} is a safetensors file, but not one of reid_jax's; for PyTorch weights see "
                    "`reid-jax convert`"
                )
            flat = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no readable safetensors file: {error}") from error
    try:
        header = json.loads(header["reid_jax"])
        config, identities = header["config"], int(header["identities"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its header has no readable config and identities; fetch it again") from error
    weights = Weights(run_config.from_dict(config), identities, _nested(flat))
    _check_variables(path, weights)
    return weights


def _file_of(path: Path) -> Path:
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(f"{path} is no workdir of a run: it has no config.json; name a run's or a weights file")
        if not (path / "weights.safetensors").is_file():
            raise InputError(f"{path} has no weights.safetensors yet: its run has not ended; resume it by its command")
        return path / "weights.safetensors"
    if not path.is_file():
        raise InputError(f"{path} does not exist; name a run's workdir or a .safetensors file")
    return path


def _nested(flat: dict[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *folders, leaf = key.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = value
    return tree


def _check_variables(path: Path, weights: Weights) -> None:
    network = weights.network
    image = jax.ShapeDtypeStruct((2, *weights.config.image_size, 3), np.float32)
    expected = jax.eval_shape(lambda i: network.init(jax.random.key(0), i, train=True), image)

    def shapes(tree):
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {jax.tree_util.keystr(key, simple=True, separator="/"): leaf.shape for key, leaf in leaves}

    want, have = shapes(expected), shapes(weights.variables)
    for key in sorted(want.keys() | have.keys()):
        if want.get(key) != have.get(key):
            raise InputError(
                f"{path}: array {key} is {have.get(key, 'absent')}, but the network of its config wants "
                f"{want.get(key, 'none')}"
            )
