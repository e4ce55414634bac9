"""Starting a run from weights that another has left: the second phase, or another data set's people."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from reid_jax.data.images import Images
from reid_jax.errors import InputError
from reid_jax.models.contract import is_classifier
from reid_jax.models.fields import fields_of
from reid_jax.models.registry import build_network

# Of the network: classifiers may differ, and neither the compute dtype nor the scale's first value is in the weights.
_AT_ONCE = 1024  # images in memory for the digest of people whose images are on disk
_FREE = {"identities", "dtype", "logit_scale"}


def people_digest(train: Images) -> str:
    """Returns the digest of a training split's identities, in the order of the classes: SHA-256 in hexadecimal digits.

    It is of the name and the pixels of each identity's first image by name. The same people under another data set's
    name have the same digest; people who share names and numbers with others do not. Another image size or decoder
    makes another digest.
    """
    digest = hashlib.sha256()
    order = np.lexsort((train.name, train.identity))
    _, first = np.unique(train.identity[order], return_index=True)
    for rows in np.split(order[first], range(_AT_ONCE, len(first), _AT_ONCE)):
        for name, image in zip(train.name[rows], train.select(rows).image, strict=True):
            digest.update(str(name).encode("utf-8", "surrogateescape") + b"\0")
            digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def start_from(config: ConfigDict, weights: Any, fresh: dict[str, Any], people: str = "") -> tuple[dict[str, Any], str]:
    """Puts `weights`, the `reid_jax.weights.Weights` in `config.init_from`, in place of freshly initialised variables.

    `people` is the digest of the run's identities. Classifiers stay as initialised where the weights are of other
    identities or have none; weights without a digest are of the same ones where data set and held-out number agree.

    The run's image size may be another than the weights': convolutions and pooling take any.

    Returns (variables, a line that tells what was taken); raises InputError where the weights are another network's.
    """
    _check_network(config, weights)
    mine = flatten_dict(fresh["params"], sep="/")
    theirs = flatten_dict(weights.variables["params"], sep="/")
    classifiers = [path for path in mine if is_classifier(path)]
    _check_shapes(config, weights, mine, theirs)
    if people and weights.people:
        same_people = people == weights.people
    else:
        same_people = all(config[key] == weights.config[key] for key in ("dataset", "val_identities"))
    fit = all(path in theirs and theirs[path].shape == mine[path].shape for path in classifiers)
    left = [] if same_people and fit else classifiers
    params = unflatten_dict(
        {path: leaf if path in left else jnp.asarray(theirs[path]) for path, leaf in mine.items()}, sep="/"
    )
    batch_stats = jax.tree.map(jnp.asarray, weights.variables["batch_stats"])
    size, learnt_at = (f"{height}x{width}" for height, width in (config.image_size, weights.config.image_size))
    resized = f"; learnt from images of {learnt_at}, goes on with {size}" if size != learnt_at else ""
    without = f"; {', '.join(left)} as initialised" if left else ""
    return {"params": params, "batch_stats": batch_stats}, f"starts from  {config.init_from}{resized}{without}"


def _check_network(config: ConfigDict, weights: Any) -> None:
    mine, theirs = build_network(config, 0), weights.network
    if type(mine) is not type(theirs):
        different = ["model.name"]
    else:
        keys = [field.name for field in fields_of(type(mine)) if field.name not in _FREE]
        different = [f"model.{key}" for key in keys if getattr(mine, key) != getattr(theirs, key)]
    if different:
        raise InputError(
            f"config.init_from {config.init_from} holds weights of another network (its config differs in "
            f"{different[0]}); set the same network, or start from other weights"
        )


def _check_shapes(config: ConfigDict, weights: Any, mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Raises InputError where parameters other than classifiers' have other shapes, as another image size may make."""
    for path, leaf in mine.items():
        if not is_classifier(path) and theirs[path].shape != leaf.shape:
            raise InputError(
                f"config.init_from {config.init_from} has {path} as {list(theirs[path].shape)}, this run as "
                f"{list(leaf.shape)}; its images were of {weights.config.image_size}, config.image_size is "
                f"{config.image_size}: set the same size, or start from other weights"
            )
