"""Starting a run from weights that another has left: the second phase, or another data set's people."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from reid_jax.errors import InputError
from reid_jax.models.registry import network_of
from reid_jax.weights import Weights, load_weights

# Of the network: classifiers may differ, and neither the compute dtype nor the scale's first value is in the weights.
_FREE = {"identities", "dtype", "logit_scale", "parent", "name"}


def start_from(config: ConfigDict, fresh: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Puts the weights in `config.init_from` in place of the freshly initialised variables.

    Classifiers stay as initialised where the weights are of other identities or have none.

    Returns (variables, a line that tells what was taken); raises InputError where the weights are another network's.
    """
    weights = load_weights(config.init_from)
    _check_network(config, weights)
    mine, theirs = _flat(fresh["params"]), _flat(weights.variables["params"])
    classifiers = [name for name in mine if name.startswith("classifier_")]
    same_people = all(config[key] == weights.config[key] for key in ("dataset", "val_identities")) and all(
        name in theirs and theirs[name].shape == mine[name].shape for name in classifiers
    )
    left = [] if same_people else classifiers

    def choose(path, leaf):
        name = _name(path)
        return leaf if name in left else jnp.asarray(theirs[name])

    params = jax.tree_util.tree_map_with_path(choose, fresh["params"])
    batch_stats = jax.tree.map(jnp.asarray, weights.variables["batch_stats"])
    without = f"; {', '.join(left)} as initialised" if left else ""
    return {"params": params, "batch_stats": batch_stats}, f"starts from  {config.init_from}{without}"


def _check_network(config: ConfigDict, weights: Weights) -> None:
    mine, theirs = network_of(config, 0), weights.network
    keys = [field.name for field in dataclasses.fields(mine) if field.name not in _FREE]
    different = [f"model.{key}" for key in keys if getattr(mine, key) != getattr(theirs, key)]
    if config.image_size != weights.config.image_size:
        different.append("image_size")
    if different:
        raise InputError(
            f"config.init_from {config.init_from} holds weights of another network (its config differs in "
            f"{different[0]}); set the same network, or start from other weights"
        )


def _flat(tree: Any) -> dict[str, Any]:
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
