"""Portable weights: one safetensors file with parameters, BatchNorm statistics and, in the header, the config.

Unlike a checkpoint it restores anywhere, whatever the devices, and any safetensors reader opens it. A file of averaged
weights (SWA) also carries the variance and the deviations around them that SWAG samples from.
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
from reid_jax.models.network import AttentionNetwork, network_of
from reid_jax.models.torch_file import is_torch_file
from reid_jax.swag import Moments
from reid_jax.writers import replace_file

# The weights that a run leaves in its workdir.
LAST = "weights.safetensors"
STOPPED = "stopped.safetensors"  # of a run that SIGTERM stopped, until it has ended
BEST = "best.safetensors"  # on the held-out identities
AVERAGED = "swag.safetensors"  # the mean of those at the ends of the cycles, with SWAG's moments

_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Weights:
    """A trained network: its config, its identities (0 without classifiers) and its variables of numpy arrays.

    `moments` are SWAG's, with `variables['params']` as their mean, where the weights are an average; None otherwise.
    """

    config: ConfigDict
    identities: int
    variables: dict[str, Any]
    moments: Moments | None = None

    @property
    def network(self) -> AttentionNetwork:
        """The network that takes these variables."""
        return network_of(self.config, self.identities)


def save_weights(path: str | os.PathLike, weights: Weights) -> None:
    """Writes `weights` to `path`, complete or not at all; raises InputError where it cannot be written."""
    tree = dict(weights.variables)
    if weights.moments is not None:  # their mean is the parameters
        tree["swag"] = {"count": weights.moments.count, "variance": weights.moments.variance}
        if weights.moments.deviations is not None:
            tree["swag"]["deviations"] = weights.moments.deviations
    flat = {
        jax.tree_util.keystr(key, simple=True, separator="/"): np.asarray(leaf, order="C")
        for key, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    # One entry: safetensors writes several in a random order, and equal weights are to be equal files.
    header = {"version": _VERSION, "identities": weights.identities, "config": run_config.to_dict(weights.config)}
    data = save({key: flat[key] for key in sorted(flat)}, {"reid_jax": json.dumps(header)})
    replace_file(path, lambda temporary: temporary.write_bytes(data))


def load_weights(path: str | os.PathLike, name: str = LAST) -> Weights:
    """Reads the weights in file `path`, or file `name` of a run where `path` is its workdir, by default the last ones.

    Raises InputError for a missing or foreign file, and where the arrays are not those of the config's network.
    """
    path = _file_of(Path(path), name)
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
        if path.is_file() and is_torch_file(path):
            raise InputError(
                f"{path} is a PyTorch file; make weights of it by reid-jax convert --torch={path} --out=OUT.safetensors"
            ) from error
        raise InputError(f"{path} is no readable safetensors file: {error}") from error
    try:
        header = json.loads(header["reid_jax"])
        config, identities = header["config"], int(header["identities"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: its header has no readable config and identities; fetch it again") from error
    variables = _nested(flat)
    moments = variables.pop("swag", None)
    weights = Weights(run_config.from_dict(config), identities, variables)
    _check_variables(path, weights)
    if moments is None:
        return weights
    _check_moments(path, moments, variables["params"])
    moments = Moments(moments["count"], variables["params"], moments["variance"], moments.get("deviations"))
    return dataclasses.replace(weights, moments=moments)


def _file_of(path: Path, name: str) -> Path:
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(f"{path} is no workdir of a run: it has no config.json; name a run's or a weights file")
        if name == AVERAGED and not (path / name).is_file() and (path / LAST).is_file():
            raise InputError(f"{path} has no {name}: its run collected no weights; see configs/swag.py")
        if not (path / name).is_file():
            raise InputError(f"{path} has no {name} yet: its run has not ended; resume it by its command")
        return path / name
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
    _require_shapes(path, _shapes(weights.variables), _shapes(expected), "the network of its config")


def _check_moments(path: Path, moments: dict[str, Any], params: Any) -> None:
    have = _shapes(moments)
    want = {"count": ()} | {f"variance/{key}": shape for key, shape in _shapes(params).items()}
    if "deviations" in moments:
        rank = len(jax.tree.leaves(moments["deviations"])[0])
        want |= {f"deviations/{key}": (rank, *shape) for key, shape in _shapes(params).items()}
    _require_shapes(path, have, want, "SWAG")


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(key, simple=True, separator="/"): leaf.shape for key, leaf in leaves}


def _require_shapes(path: Path, have: dict[str, tuple], want: dict[str, tuple], reader: str) -> None:
    for key in sorted(want.keys() | have.keys()):
        if want.get(key) != have.get(key):
            raise InputError(
                f"{path}: array {key} is {have.get(key, 'absent')}, but {reader} wants {want.get(key, 'none')}"
            )
