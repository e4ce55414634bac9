"""The configuration of a run: loading from a file and the command line, checks, and comparison.

A config file defines `get_config(arg)`; it starts from `default()` and sets what differs. The config is locked, so
that a misspelt key fails where it is written. The keys, their defaults and ranges stand in `reid_jax.config_keys`.
"""

import json
import os
import runpy
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_dict, config_flags

from reid_jax.config_keys import KEYS, keys_meant
from reid_jax.errors import InputError, nearest, shown
from reid_jax.models.registry import network_of
from reid_jax.own_modules import own_modules
from reid_jax.ranges import require
from reid_jax.training import optim

_MOST_PIXELS = 2**30  # of the images of a step: their float32 values alone take 12 GiB then
# What ml-collections raises for a value that it cannot read or that is of another type, far too long or too deep.
_UNREADABLE = (flags.Error, TypeError, ValueError, OverflowError, SyntaxError, RecursionError, MemoryError)


def default() -> ConfigDict:
    """Returns every key of a run with its default, the paper's 1x run on Market-1501: locked, typed by the defaults."""
    config = ConfigDict()
    for key, (value, allowed) in KEYS.items():
        *groups, name = key.split(".")
        group = config
        for each in groups:
            group[each] = group.get(each, ConfigDict())
            group = group[each]
        group[name] = config_dict.placeholder(allowed.kind) if value is None else value
    return config.lock()


def load(file: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Reads `file`, 'FILE.py' or 'FILE.py:ARG', and overrides '--config.KEY=VALUE' into a checked config.

    The folder of FILE and the one above it are importable while it is read, so that configs and sweeps share code; what
    it imports from there is its own (`reid_jax.own_modules`).
    Raises InputError for a missing or broken file, an unknown key and a value of the wrong type.
    """
    name, colon, argument = file.partition(":")
    path = Path(os.path.expanduser(name))
    if not path.is_file():
        raise InputError(f"--config names {path}, which is no file; see configs/ for those there are")
    try:
        with own_modules(path):
            config = runpy.run_path(str(path))["get_config"](*([argument] if colon else []))
    except Exception as error:  # a config file is the user's own code: it may raise anything
        raise InputError(f"config {path}: {_explain(error, str(path))}") from error
    if not isinstance(config, ConfigDict):
        raise InputError(f"config {path}: get_config() returns {config!r:.60}; it returns a ConfigDict")
    return _override(check(config), overrides)


def _explain(error: Exception, file: str) -> str:
    message = " ".join(str(error).split())
    if isinstance(error, InputError):
        return message
    if isinstance(error, KeyError) and message == "'get_config'":
        return "it defines no get_config()"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f", line {lines[-1]}" if lines else ""
    return f"{type(error).__name__}{where}: {message}"


def _override(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """Applies '--config.KEY=VALUE' in their order; a value is read as its key's type."""
    keys = _flatten(config.to_dict())
    for override in overrides:
        key, equals, value = override.removeprefix("--config.").partition("=")
        if key not in keys:
            told = shown(value) if equals else "VALUE"
            raise InputError(f"--config.{shown(key)} is no key of the config{_hint(key, told)}")
        if not equals:
            raise InputError(f"--config.{key} has no value; write --config.{key}=VALUE")
        arguments = ["reid-jax", override]
        values = flags.FlagValues()
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=arguments)
        try:
            values(arguments)
        except _UNREADABLE as error:
            _, allowed = KEYS[key]
            raise InputError(f"--config.{key} is {shown(value)!r}; it takes {allowed}") from error
        config = values.config
    return check(config)


def from_dict(values: Mapping[str, Any]) -> ConfigDict:
    """Rebuilds a config from plain JSON values, lists turned to tuples; InputError for unknown keys and wrong types."""
    try:
        flat = _flatten(values)
    except (AttributeError, RecursionError) as error:
        raise InputError(f"the stored config is {shown(type(values).__name__)}, no nested keys and values") from error
    config = default()
    for key, value in flat.items():
        if key not in KEYS:
            raise InputError(f"the stored config has an unknown key {shown(key)!r}; it was written by another version")
        value = tuple(value) if isinstance(value, list) else value
        try:
            config.update_from_flattened_dict({key: value})
        except _UNREADABLE as error:
            raise InputError(f"the stored config has {key}={shown(value)!r}; it takes {KEYS[key][1]}") from error
    return check(config)


def to_dict(config: ConfigDict) -> dict[str, Any]:
    """Returns the config as nested plain values that JSON can hold (tuples become lists)."""
    return json.loads(json.dumps(config.to_dict()))


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Lists 'key: old -> new' for every key whose value differs between two nested dicts."""
    a, b = _flatten(old), _flatten(new)
    missing = "absent"
    return [
        f"{key}: {a.get(key, missing)} -> {b.get(key, missing)}"
        for key in sorted(set(a) | set(b))
        if a.get(key, missing) != b.get(key, missing)
    ]


def check(config: ConfigDict) -> ConfigDict:
    """Returns the config if its keys, their values and what they are to each other are right.

    Raises InputError, naming the key, its value and what it takes, otherwise.
    """
    flat = _flatten(config.to_dict())
    for key in flat:
        if key not in KEYS:
            raise InputError(f"config.{key} is no known key{_hint(key)}")
    for key, (value, allowed) in KEYS.items():
        if key not in flat:
            raise InputError(f"config.{key} is missing; start get_config() from reid_jax.config.default()")
        if value is not None or flat[key] is not None:  # None takes the preset's
            require(f"config.{key}", flat[key], allowed)
    network_of(config, 0)  # some of its fields exclude each other
    _check_batch(config)
    _check_augmentation(config)
    _check_loss(config.loss)
    _check_schedule(config)
    return config


def _check_batch(config: ConfigDict) -> None:
    batch, (height, width) = config.batch, config.image_size
    if batch.shares and sum(batch.shares) != batch.identities:
        raise InputError(
            f"config.batch.shares {batch.shares} add up to {sum(batch.shares)}, but config.batch.identities is "
            f"{batch.identities}; make them agree"
        )
    images = batch.identities * batch.images
    if images * height * width > _MOST_PIXELS:
        raise InputError(
            f"config.batch.identities={batch.identities} of config.batch.images={batch.images} with config.image_size="
            f"{config.image_size} are {images * height * width:,} pixels a step; give at most {_MOST_PIXELS:,}"
        )


def _check_augmentation(config: ConfigDict) -> None:
    augment = config.augment
    if augment.pad >= min(config.image_size):
        raise InputError(
            f"config.augment.pad is {augment.pad}, but the images have {min(config.image_size)} pixels on a side "
            f"(config.image_size is {config.image_size}); give fewer, or crops hold nothing but padding"
        )
    for key in ("erase_area", "erase_aspect"):
        least, most = augment[key]
        if least > most:
            raise InputError(f"config.augment.{key} is {(least, most)}; give the least first, then the most")


def _check_loss(loss: ConfigDict) -> None:
    if not loss.cross_entropy_weight and not loss.triplet_weight:
        raise InputError(
            "config.loss.cross_entropy_weight and config.loss.triplet_weight are both 0: there is nothing to learn; "
            "give one of them a weight"
        )


def _check_schedule(config: ConfigDict) -> None:
    schedule, swag = config.schedule, config.swag
    try:
        if schedule.name == "warmup_step":
            optim.check_boundaries(schedule.warmup_epochs, schedule.boundaries)
        else:
            optim.check_floor(schedule.floor, schedule.peak)
    except InputError as error:
        raise InputError(f"config.schedule: {error}") from error
    if swag.rank == 1:
        raise InputError("config.swag.rank is 1; give 0 for the diagonal, or at least 2 deviations")
    if swag.collect and schedule.name != "cyclic_cosine":
        raise InputError(
            f"config.swag.collect needs config.schedule.name 'cyclic_cosine', which has cycles to collect at; it is "
            f"{schedule.name!r}"
        )
    if swag.collect and schedule.cycle_epochs > config.epochs:
        raise InputError(
            f"config.swag.collect collects at the end of cycles of {schedule.cycle_epochs:g} epochs, but the "
            f"run has {config.epochs:g}; shorten schedule.cycle_epochs or lengthen the run"
        )


def _hint(key: str, value: str = "VALUE") -> str:
    """The end of a message about an unknown key: the group it is, the key of that name, or the nearest one."""
    group = [known for known in KEYS if known.startswith(f"{key}.")]
    if f"{key}.name" in group:
        return f"; write --config.{key}.name={value}"
    if group:
        return f", but a group of keys: {', '.join(group)}"
    meant = keys_meant(key)
    if not meant and (close := nearest(key, KEYS)):
        meant = [close]
    return f"; did you mean {' or '.join(meant)}?" if meant else ""


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
