"""The networks by name: their presets, and how a config names one."""

from typing import Any

from ml_collections import ConfigDict

from reid_jax.errors import InputError
from reid_jax.models.attention_network import AttentionNetwork
from reid_jax.ranges import choice, require

# Fields of each preset; arXiv 1910.07038, Table 1, and HA-CNN's public re-implementation.
NETWORKS: dict[str, dict[str, Any]] = {
    "robust_reid_1x": {},
    # The printed FC-local width is unreadable; 1280 is the multiple of 64 that gives the paper's 6.4M parameters.
    "robust_reid_2x": dict(stem=36, widths=(240, 320, 480), repeats=(8, 11, 8), global_width=960, local_width=1280),
    "robust_reid_2x_table": dict(
        stem=36, widths=(240, 320, 480), repeats=(8, 11, 8), global_width=960, local_width=960
    ),
    "hacnn": dict(block="inception", pooling="average", normalisation="inference", classifier_bias=True),
    # For laptops and tests: the same plan, small.
    "nano": dict(stem=16, widths=(64, 96, 128), repeats=(1, 2, 1), global_width=128, local_width=128),
}


def create_network(name: str, identities: int, **fields: Any) -> AttentionNetwork:
    """Returns the network of preset `name` with `fields` in place of the preset's own; InputError for unknown ones."""
    require("model.name", name, choice(NETWORKS))
    known = set(AttentionNetwork.__dataclass_fields__) - {"parent", "name", "identities"}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise InputError(f"model.{unknown[0]} is no field of the network; there are {', '.join(sorted(known))}")
    return AttentionNetwork(identities=identities, **{**NETWORKS[name], **fields})


def network_of(config: ConfigDict, identities: int) -> AttentionNetwork:
    """Returns the network that `config.model` describes; keys that are None take the preset's value."""
    fields = {key: value for key, value in config.model.to_dict().items() if value is not None}
    return create_network(fields.pop("name"), identities, **fields)
