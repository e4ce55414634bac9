"""The networks by name: a class and the fields of its preset; what a class must be, see `reid_jax.models.contract`.

A network of the package is one file and one entry in `CLASSES`; one of a user's own is named 'module:Class'.
"""

from typing import Any

import flax.linen as nn
from ml_collections import ConfigDict

from reid_jax.errors import InputError, did_you_mean, shown
from reid_jax.models.attention_network import AttentionNetwork
from reid_jax.models.contract import require_class, require_network
from reid_jax.models.fields import config_fields, image_size_range
from reid_jax.models.osnet import OSNet
from reid_jax.models.own_class import is_own, own_class
from reid_jax.ranges import Range

CLASSES: tuple[type[nn.Module], ...] = (AttentionNetwork, OSNet)

# name -> class, and the fields that differ from its defaults
NETWORKS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    name: (network_class, fields) for network_class in CLASSES for name, fields in network_class.PRESETS.items()
}
DEFAULT = "robust_reid_1x"


def find_network(name: str) -> tuple[type[nn.Module], dict[str, Any]]:
    """Returns the class that `name` names, and the fields of its preset; 'module:Class' is imported.

    Raises InputError for a name that is none, and for a class that is no network.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    if not is_own(name):
        raise InputError(
            f"model.name is {shown(name)!r}; it takes one of {', '.join(NETWORKS)}, or MODULE:CLASS, a class of your "
            f"own{did_you_mean(name, NETWORKS)}"
        )
    network_class = own_class(name)
    require_class(name, network_class)
    return network_class, {}


def same_class(name: str, other: str) -> bool:
    """Whether two names are of networks of one class, whose configs have the same keys."""
    return find_network(name)[0] is find_network(other)[0]


def model_keys(name: str) -> dict[str, tuple[Any, Range]]:
    """Returns the keys of a config that the network `name` has: 'model.FIELD' -> (default, range).

    A default of None takes the preset's value.
    """
    network_class, _ = find_network(name)
    keys = config_fields(network_class)
    if hasattr(network_class, "config_defaults"):
        for field, value in config_defaults(create_network(name, 0)).items():
            keys[field] = (value, keys[field][1])
    return {f"model.{field}": entry for field, entry in keys.items()}


def config_defaults(network: nn.Module) -> dict[str, Any]:
    """Returns {field: its value in a config that does not set it} for the fields whose default depends on others.

    What the class has in CONFIG_DEFAULTS does not depend on them. Raises InputError where a class's method fails.
    """
    if not hasattr(network, "config_defaults"):
        return {}
    name = f"{type(network).__name__}.config_defaults()"
    try:
        found = dict(network.config_defaults())
    except Exception as error:  # a user's own class may raise anything
        raise InputError(f"{name} fails: {type(error).__name__}: {shown(error)}; mend the class") from error
    unknown = found.keys() - config_fields(type(network)).keys()
    if unknown:
        raise InputError(f"{name} gives {shown(sorted(unknown)[0])}, which is no field of the class; mend the class")
    return {field: value for field, value in found.items() if field not in getattr(network, "CONFIG_DEFAULTS", {})}


def image_size_of(name: str) -> Range:
    """Returns what (height, width) of the images may be, in pixels, for the network `name`."""
    return image_size_range(find_network(name)[0])


def create_network(name: str, identities: int, **fields: Any) -> nn.Module:
    """Returns the network `name` with `fields` in place of its preset's own; InputError for unknown ones."""
    network_class, preset = find_network(name)
    known = set(network_class.__dataclass_fields__) - {"parent", "name", "identities"}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise InputError(f"model.{unknown[0]} is no field of the network; there are {', '.join(sorted(known))}")
    try:
        return network_class(identities=identities, **{**preset, **fields})
    except Exception as error:
        if isinstance(error, InputError) or not is_own(name):
            raise
        raise InputError(  # the user's own code: it may raise anything
            f"model.name is {shown(name)!r}, which refuses its fields: {type(error).__name__}: {shown(error)}"
        ) from error


def build_network(config: ConfigDict, identities: int) -> nn.Module:
    """Returns the network that `config.model` describes; keys that are None take the preset's value.

    Nothing is traced: JAX need not have begun. Raises InputError where there is no such network.
    """
    fields = {key: value for key, value in config.model.to_dict().items() if value is not None}
    return create_network(fields.pop("name"), identities, **fields)


def network_of(config: ConfigDict, identities: int) -> nn.Module:
    """Returns the network that `config.model` describes, ready to be used; see `build_network`.

    Classes of the package keep the contract. A user's own is traced once to see that it does: InputError where not.
    """
    network = build_network(config, identities)
    if is_own(config.model.name):
        require_network(config.model.name, network.clone(identities=0), tuple(config.image_size))
    return network


def dtype_of(config: ConfigDict) -> str:
    """Returns the dtype that the network of `config` computes in: 'float32' where it has no field for another."""
    return config.model.get("dtype", "float32")
