"""The configuration of a run: loading from a file and the command line, checks, and comparison.

A config file defines `get_config(arg)`; it starts from `default()` and sets what differs. The config is locked, so
that a misspelt key fails where it is written. The keys, their defaults and ranges stand in `reid_jax.config_keys`.
"""

import copy
import json
import os
import runpy
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_dict, config_flags

from reid_jax.config_keys import keys_meant, keys_of
from reid_jax.errors import InputError, nearest, shown
from reid_jax.models import registry
from reid_jax.own_modules import own_modules
from reid_jax.ranges import Range, Text, require
from reid_jax.training import optim

_MOST_PIXELS = 2**30  # of the images of a step: their float32 values alone take 12 GiB then
# What ml-collections raises for a value that it cannot read or that is of another type, far too long or too deep.
_UNREADABLE = (flags.Error, TypeError, ValueError, OverflowError, SyntaxError, RecursionError, MemoryError)


def default(network: str = registry.DEFAULT) -> ConfigDict:
    """Returns every key of a run with its default, the paper's run on Market-1501 with `network`: locked, and typed.

    Under `model` are the fields of the network's class. Raises InputError where there is no such network.
    """
    config = ConfigDict()
    for key, (value, allowed) in keys_of(network).items():
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
    path, argument = split_file(file)
    if not path.is_file():
        raise InputError(f"--config names {path}, which is no file; see configs/ for those there are")
    with own_modules(path):
        try:
            config = runpy.run_path(str(path))["get_config"](*([] if argument is None else [argument]))
        except Exception as error:  # a config file is the user's own code: it may raise anything
            raise InputError(f"config {path}: {_explain(error, str(path))}") from error
        if not isinstance(config, ConfigDict):
            raise InputError(f"config {path}: get_config() returns {config!r:.60}; it returns a ConfigDict")
        return _override(check(config), overrides)  # a network's class may stand beside the file too


def split_file(file: str) -> tuple[Path, str | None]:
    """Returns FILE, its '~' expanded, and ARG of 'FILE' or 'FILE:ARG'; None without one.

    A folder's name may have a ':' too: FILE is the shortest that is a file, or, where none is, ends at the first ':'.
    """
    ends = [index for index, letter in enumerate(file) if letter == ":"] + [len(file)]
    end = next((end for end in ends if os.path.isfile(os.path.expanduser(file[:end]))), ends[0])
    return Path(os.path.expanduser(file[:end])), file[end + 1 :] if end < len(file) else None


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
    """Applies '--config.KEY=VALUE' in their order; a value is read as its key's type.

    The network that the last '--config.model.name' names decides which fields there are. One of another class begins
    with the defaults of its own, but for `dtype`, which means the same for all. Fields whose default depends on others,
    such as the logits' scale, follow these where they had their default and no override sets them.
    """
    pairs = [override.removeprefix("--config.").partition("=") for override in overrides]
    names = [value for key, _, value in pairs if key == "model.name" and value]
    keys = _keys_of(names[-1] if names else config.model.name)
    for key, equals, value in pairs:
        if key not in keys:
            of_network = f" of the network {shown(keys['model.name'][0])}" if key.startswith("model.") else ""
            hint = _hint(key, keys, shown(value) if equals else "VALUE")
            raise InputError(f"--config.{shown(key)} is no key of the config{of_network}{hint}")
        if not equals:
            raise InputError(f"--config.{key} has no value; write --config.{key}=VALUE")
    if names and not registry.same_class(names[-1], config.model.name):
        config = _with_model(config, default(names[-1]).model, {"dtype"})
    before = config
    try:
        config = check(_parsed(before, overrides))
    except _UNREADABLE as error:
        if isinstance(error, InputError):
            raise
        for (key, _, value), override in zip(pairs, overrides, strict=True):
            try:
                _parsed(config, [override])
            except _UNREADABLE:
                raise InputError(f"--config.{key} is {shown(value)!r}; it takes {keys[key][1]}") from error
        raise
    old, new = (registry.config_defaults(registry.build_network(each, 0)) for each in (before, config))
    for field in old.keys() & new.keys():
        if before.model[field] == old[field] and not any(key == f"model.{field}" for key, *_ in pairs):
            config.model[field] = new[field]
    return config


def _parsed(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """A copy of the config with the overrides, whose keys it has."""
    arguments = ["reid-jax", *overrides]
    values = flags.FlagValues()
    config_flags.DEFINE_config_dict("config", copy.deepcopy(config), flag_values=values, sys_argv=arguments)
    values(arguments)
    return values.config


def _with_model(config: ConfigDict, model: ConfigDict, kept: set[str]) -> ConfigDict:
    """A copy of the config with the fields `model` in place of its own, but for those `kept` that both have."""
    config = copy.deepcopy(config).unlock()
    before, config.model = config.model, model
    for field in kept & set(before) & set(model):
        config.model[field] = before[field]
    return config.lock()


def from_dict(values: Mapping[str, Any]) -> ConfigDict:
    """Rebuilds a config from plain JSON values, lists turned to tuples; InputError for unknown keys and wrong types.

    Keys that are absent have their defaults. The class of a network named 'module:Class' is imported.
    """
    try:
        flat = _flatten(values)
    except (AttributeError, RecursionError) as error:
        raise InputError(f"the stored config is {shown(type(values).__name__)}, no nested keys and values") from error
    name = flat.get("model.name", registry.DEFAULT)
    if not isinstance(name, str):
        raise InputError(f"the stored config has model.name={shown(name)!r}; it takes the name of a network")
    try:
        keys = keys_of(name)
    except InputError as error:
        raise InputError(f"the stored config cannot be read: config.{error}") from error
    config = default(name)
    for key, value in flat.items():
        if key not in keys:
            raise InputError(f"the stored config has an unknown key {shown(key)!r}; it was written by another version")
        value = tuple(value) if isinstance(value, list) else value
        try:
            config.update_from_flattened_dict({key: value})
        except _UNREADABLE as error:
            raise InputError(f"the stored config has {key}={shown(value)!r}; it takes {keys[key][1]}") from error
    return check(config)


def to_dict(config: ConfigDict) -> dict[str, Any]:
    """Returns the config as nested plain values that JSON can hold (tuples become lists, NumPy's numbers Python's)."""
    return _plain(config.to_dict())


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=_python_number))


def _python_number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r:.60} is nothing that JSON can hold")


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Lists 'key: old -> new' for every key whose value differs between two nested dicts as `to_dict` gives them.

    A key that the old one lacks has its default: it was written before there was such a key. One that is absent is no
    different from one that is None, which takes its preset's value. `init_from` names the same where it is the same
    place, however it is written.
    """
    a, b = _flatten(old), _flatten(new)
    known = keys_of(b.get("model.name", registry.DEFAULT))
    a = {key: _plain(known[key][0]) for key in b if key in known} | a
    missing = "absent"
    return [
        f"{key}: {a.get(key, missing)} -> {b.get(key, missing)}"
        for key in sorted(set(a) | set(b))
        if a.get(key) != b.get(key) and not (key == "init_from" and _same_place(a.get(key), b.get(key)))
    ]


def _same_place(old: Any, new: Any) -> bool:
    names = old, new
    if not all(Text(filled=True).holds(name) for name in names):
        return False
    return len({os.path.realpath(os.path.expanduser(name)) for name in names}) == 1


def check(config: ConfigDict) -> ConfigDict:
    """Returns the config if its keys, their values and what they are to each other are right.

    Where nothing under `model` was changed but the name, to one of another class, the config that is returned is a copy
    with the fields of that class. Raises InputError, naming the key, its value and what it takes, otherwise.
    """
    config = _with_own_fields(config)
    flat = _flatten(config.to_dict())
    name = flat.get("model.name", registry.DEFAULT)
    keys = _keys_of(name)
    for key in flat:
        if key.startswith("model.") and key not in keys:
            _refuse_field(key, keys)
        if key not in keys:
            raise InputError(f"config.{key} is no known key{_hint(key, keys)}")
    for key, (value, allowed) in keys.items():
        if key not in flat:
            raise InputError(f"config.{key} is missing; start get_config() from reid_jax.config.default({name!r})")
        if value is not None or flat[key] is not None:  # None takes the preset's
            require(f"config.{key}", flat[key], allowed)
    try:
        registry.build_network(config, 0)  # some of its fields exclude each other
    except InputError as error:
        raise InputError(f"config.{error}" if str(error).startswith("model.") else str(error)) from error
    _check_batch(config)
    _check_augmentation(config)
    _check_loss(config.loss)
    _check_schedule(config)
    return config


def _keys_of(name: Any) -> dict[str, tuple[Any, Range]]:
    require("config.model.name", name, Text(filled=True))
    try:
        return keys_of(name)
    except InputError as error:
        raise InputError(f"config.{error}") from error


def _with_own_fields(config: ConfigDict) -> ConfigDict:
    """The config, or, where `model` has the default network's fields under the name of another class, see `check`."""
    usual = default().model
    model = config.get("model")
    if not isinstance(model, ConfigDict) or set(model) != set(usual) or not isinstance(model.name, str):
        return config
    keys = _keys_of(model.name)
    changed = {field for field in model if field != "name" and model[field] != usual[field]}
    if all(f"model.{field}" in keys for field in model):
        return config
    for field in sorted(changed):
        if f"model.{field}" not in keys:
            _refuse_field(f"model.{field}", keys)
    return _with_model(config, default(model.name).model, changed)


def _refuse_field(key: str, keys: Mapping[str, Any]) -> NoReturn:
    name = shown(keys["model.name"][0])
    raise InputError(
        f"config.{key} is no field of the network {name}{_hint(key, keys)}; start get_config() from "
        f"reid_jax.config.default({name!r})"
    )


def _check_batch(config: ConfigDict) -> None:
    batch, (height, width) = config.batch, config.image_size
    if batch.shares and sum(batch.shares) != batch.identities:
        raise InputError(
            f"config.batch.shares {batch.shares} add up to {sum(batch.shares)}, but config.batch.identities is "
            f"{batch.identities}; make them agree"
        )
    images = batch.identities * batch.images
    if images % batch.groups or images == batch.groups:
        raise InputError(
            f"config.batch.groups is {batch.groups}, but a batch has {batch.identities} x {batch.images} = {images} "
            f"images; give a number that divides them into groups of at least two"
        )
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


def _hint(key: str, keys: Mapping[str, Any], value: str = "VALUE") -> str:
    """The end of a message about an unknown key: the group it is, the key of that name, or the nearest of `keys`."""
    group = [known for known in keys if known.startswith(f"{key}.")]
    if f"{key}.name" in group:
        return f"; write --config.{key}.name={value}"
    if group:
        return f", but a group of keys: {', '.join(group)}"
    meant = keys_meant(key, keys)
    if not meant and (close := nearest(key, keys)):
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
