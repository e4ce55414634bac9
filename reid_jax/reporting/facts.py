"""What a run's config says: the keys that have an effect, and those in which runs of one kind may differ."""

from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from reid_jax.errors import shown
from reid_jax.models.registry import build_network
from reid_jax.reporting import paper

# Keys that tell where and how often, but change no score.
_BOOKKEEPING = {
    "data_dir",
    "test_dataset",
    "steps_per_dispatch",
    "eval_every",
    "checkpoint_every",
    "keep_checkpoints",
    "sheet_queries",
    "tensorboard",
}
# Keys in which runs of one kind may differ.
SEED_KEYS = _BOOKKEEPING | {"seed", "init_from"}


def kind_of(config: ConfigDict) -> dict[str, Any]:
    """Returns the keys, flat, that are equal for runs which differ in nothing but the seed."""
    return {key: value for key, value in facts_of(config).items() if key not in SEED_KEYS}


def facts_of(config: ConfigDict) -> dict[str, Any]:
    """Every key of a config that has an effect, flat, with the network's own fields in place of its preset's.

    Under 'model.name' is the class of a network that the paper has no terms for.
    """
    idle = _idle_keys(config)
    flat = {key: value for key, value in flat_keys(config.to_dict()) if key not in idle}
    network = build_network(config, 0)
    for key in flat:
        if key.startswith("model.") and key != "model.dtype":
            flat[key] = getattr(network, key.removeprefix("model."))
    if not paper.in_papers_terms(network):
        flat["model.name"] = type(network).__name__
    return flat


def _idle_keys(config: ConfigDict) -> set[str]:
    """Keys that the values of others leave without effect."""
    idle = {"model.name"}  # its fields stand for it
    network = build_network(config, 0)
    if paper.in_papers_terms(network) and network.block == "inception":
        idle.add("model.repeats")  # such a stage has one unit of each kind
    if config.schedule.name == "warmup_step":
        idle |= {"schedule.cycle_epochs", "schedule.cycle_decay", "schedule.floor"}
    else:
        idle |= {"schedule.warmup_epochs", "schedule.boundaries", "schedule.factor"}
    if not config.swag.collect:
        idle |= {f"swag.{key}" for key in config.swag}
    if not config.loss.triplet_weight:
        idle |= {f"loss.{key}" for key in ("mining", "soft_margin", "margin", "detach_weights", "nonzero_mean")}
    elif config.loss.soft_margin:
        idle.add("loss.margin")
    return idle


def flat_keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (key, value) of nested mappings, keys joined by dots."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat_keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def close(a: Any, b: Any) -> bool:
    """Whether two values of a key are equal, numbers up to their rounding."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float) and isinstance(b, (int, float)):
        return abs(a - b) <= 1e-6 * max(abs(a), abs(b))
    return a == b


def value_text(value: Any) -> str:
    """Returns a key's value as a line of text."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return f"({', '.join(map(value_text, value))})"
    return shown(value)
