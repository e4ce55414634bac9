"""The configuration of a run: every key with its default, loading from a file and the command line, and comparison.

A config file defines `get_config(arg)`; it starts from `default()` and sets what differs. The config is locked, so
that a misspelt key fails where it is written. Keys marked [P] carry the number printed in arXiv 1910.07038, with the
section; the others are ours.
"""

import functools
import json
import math
import runpy
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_dict, config_flags

from reid_jax.errors import InputError, did_you_mean


def default() -> ConfigDict:
    """Returns every key of a run with its default, the paper's 1x run on Market-1501: locked, typed by the defaults."""
    c = ConfigDict()
    c.seed = 0

    c.dataset = "market1501"  # see `reid_jax.data.datasets`; 'a+b' joins sets for training
    c.test_dataset = ""  # what is scored, several sets joined by '+' one by one; empty: those of `dataset` with a test
    c.data_dir = "data"
    c.init_from = ""  # weights to start from, a run's workdir or a weights file; empty: from scratch
    c.val_identities = 0  # training identities held out to choose by; the paper's runs train on all of them
    c.image_size = (160, 64)  # height, width [P 4.1]

    c.model = ConfigDict()
    c.model.name = "robust_reid_1x"  # a key of `reid_jax.models.network.NETWORKS`
    c.model.dtype = "float32"  # of activations and convolutions: float32 or bfloat16
    # The logits' scale: unit vectors bound the logits to [-1, 1], where the cross-entropy hardly moves.
    c.model.logit_scale = 16.0
    c.model.logit_scale_learned = True
    # The other fields of `AttentionNetwork`: None takes the preset's.
    for field, kind in (
        ("block", str),
        ("stem", int),
        ("widths", tuple),
        ("repeats", tuple),
        ("global_width", int),
        ("local_width", int),
        ("regions", bool),
        ("pooling", str),
        ("gem_per_channel", bool),
        ("normalisation", str),
        ("classifier_reads", str),
        ("classifier_bias", bool),
        ("crop_align_corners", bool),
    ):
        c.model[field] = config_dict.placeholder(kind)

    c.batch = ConfigDict()
    c.batch.identities = 8  # [P 4.1]
    c.batch.images = 4  # of each identity [P 4.1]
    c.batch.shares = ()  # of joined sets: identities of a batch that each gives; empty mixes them by their size

    c.augment = ConfigDict()
    c.augment.pad = 10  # pixels on each side before the random crop [P 4.1]
    c.augment.flip_probability = 0.5
    c.augment.erase_probability = 0.5  # random erasing [P 4.1]
    c.augment.erase_area = (0.02, 0.4)  # part of the image [P 4.1]
    c.augment.erase_aspect = (0.3, 3.3)  # height over width [P 4.1]

    c.loss = ConfigDict()
    c.loss.cross_entropy_weight = 1.0
    c.loss.label_smoothing = 0.1  # [P Table 2, "bag of tricks"]
    c.loss.triplet_weight = 1.0  # 0 leaves the triplet term out
    c.loss.mining = "batch_soft"  # original (eq. 2), batch_hard (eq. 3) or batch_soft (eq. 4) [P 3.1]
    c.loss.soft_margin = True  # eq. 5 [P 3.1]
    c.loss.margin = 0.3  # of the hinge, where soft_margin is off
    c.loss.detach_weights = False  # no gradient through batch_soft's weights
    c.loss.nonzero_mean = False  # average over the triplet terms above zero only

    c.optimizer = ConfigDict()
    c.optimizer.momentum = 0.9
    c.optimizer.nesterov = False
    c.optimizer.weight_decay = 5e-4  # none on BatchNorm, biases, GeM's p and the logit scale
    c.optimizer.logit_scale_rate = 0.1  # multiple of the learning rate for the logit scale's logarithm
    c.optimizer.regions_rate = 0.01  # the same for the centres of the hard attention's regions

    c.schedule = ConfigDict()
    c.schedule.name = "warmup_step"  # warmup_step (eq. 1) or cyclic_cosine
    c.schedule.peak = 3e-2  # [P eq. 1]
    c.schedule.warmup_epochs = 10.0  # [P eq. 1]
    c.schedule.boundaries = (150.0, 225.0)  # epochs after which the rate falls [P eq. 1]
    c.schedule.factor = 0.1  # [P eq. 1]
    c.schedule.cycle_epochs = 35.0  # [P 4.1]
    c.schedule.cycle_decay = 0.7  # of the peak from cycle to cycle [P 4.1]
    c.schedule.floor = 0.0
    c.epochs = 350.0  # [P eq. 1]

    c.swag = ConfigDict()  # with schedule.name='cyclic_cosine' [P 3.3, 4.1]
    c.swag.collect = False  # the weights at the end of each cycle, and score their mean (SWA) and samples (SWAG)
    c.swag.rank = 0  # last deviations kept for the low-rank term; 0: the diagonal, as in the paper
    c.swag.samples = 30
    c.swag.scale = 1.0  # of the samples' covariance
    c.swag.variance_floor = 1e-30

    c.steps_per_dispatch = 20  # steps the device runs before the host hears of it
    c.eval_every = 10.0  # epochs between evaluations on the held-out identities
    c.checkpoint_every = 10.0  # epochs
    c.keep_checkpoints = 2  # the latest; the best by validation mAP is kept besides
    c.sheet_queries = 10  # rows of the picture of ranked results
    c.tensorboard = False
    return c.lock()


def load(file: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Reads `file`, 'FILE.py' or 'FILE.py:ARG', and overrides '--config.KEY=VALUE' into a checked config.

    The folder of FILE and the one above it are importable while it is read, so that configs and sweeps share code.
    Raises InputError for a missing or broken file, an unknown key and a value of the wrong type.
    """
    name, colon, argument = file.partition(":")
    path = Path(name)
    if not path.is_file():
        raise InputError(f"--config names {path}, which is no file; see configs/ for those there are")
    folders = [str(folder) for folder in path.resolve().parents[:2]]
    sys.path[:0] = folders
    try:
        config = runpy.run_path(name)["get_config"](*([argument] if colon else []))
    except Exception as error:  # a config file is the user's own code: it may raise anything
        raise InputError(f"config {path}: {_explain(error, name)}") from error
    finally:
        for folder in folders:
            sys.path.remove(folder)
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
            raise InputError(f"--config.{key} is no key of the config{did_you_mean(key, keys)}")
        if not equals:
            raise InputError(f"--config.{key} has no value; write --config.{key}=VALUE")
        arguments = ["reid-jax", override]
        values = flags.FlagValues()
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=arguments)
        try:
            values(arguments)
        except (flags.Error, TypeError, ValueError) as error:
            *folders, last = key.split(".")
            kind = functools.reduce(ConfigDict.__getitem__, folders, config).get_type(last).__name__
            raise InputError(f"--config.{key} is {value!r}; it takes one of type {kind}") from error
        config = values.config
    return check(config)


def from_dict(values: Mapping[str, Any]) -> ConfigDict:
    """Rebuilds a config from plain JSON values, lists turned to tuples; InputError for unknown keys and wrong types."""
    config = default()
    flat, known = _flatten(values), _flatten(config.to_dict())
    for key, value in flat.items():
        if key not in known:
            raise InputError(f"the stored config has an unknown key {key!r}; it was written by another version")
        value = tuple(value) if isinstance(value, list) else value
        try:
            config.update_from_flattened_dict({key: value})
        except (TypeError, ValueError) as error:
            raise InputError(f"the stored config has {key}={value!r}: {error}") from error
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
    """Returns the config if its keys, lengths and ranges are right; raises InputError naming the key otherwise."""
    known = default().to_dict()
    flat, flat_known = _flatten(config.to_dict()), _flatten(known)
    for key in flat:
        if key not in flat_known:
            raise InputError(f"config.{key} is no known key{did_you_mean(key, flat_known)}")
    for key in flat_known:
        if key not in flat:
            raise InputError(f"config.{key} is missing; start get_config() from reid_jax.config.default()")
    # ml-collections checks a tuple's type, not its length.
    for key in ("image_size", "augment.erase_area", "augment.erase_aspect", "model.widths", "model.repeats"):
        value, length = flat[key], 3 if key.startswith("model.") else 2
        if value is not None and len(value) != length:
            raise InputError(f"config.{key} is {value}; it takes {length} numbers")
    for key, value in flat.items():
        if isinstance(value, tuple):
            kind = int if key in ("image_size", "batch.shares", "model.widths", "model.repeats") else (int, float)
            if not all(isinstance(number, kind) for number in value):
                raise InputError(f"config.{key} is {value}; it takes {'whole ' if kind is int else ''}numbers")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise InputError(f"config.{key} is {value}; it takes finite numbers")
    positive = ("image_size", "batch.identities", "batch.images", "batch.shares", "epochs", "steps_per_dispatch")
    positive += (
        "swag.samples",
        "sheet_queries",
        "eval_every",
        "checkpoint_every",
        "keep_checkpoints",
        "schedule.peak",
        "schedule.cycle_epochs",
        "model.logit_scale",
    )
    for key in positive:
        numbers = flat[key] if isinstance(flat[key], tuple) else (flat[key],)
        if not all(number > 0 for number in numbers):
            raise InputError(f"config.{key} is {flat[key]}; it must be above 0")
    if config.swag.collect and config.schedule.name != "cyclic_cosine":
        raise InputError(
            f"config.swag.collect needs config.schedule.name 'cyclic_cosine', which has cycles to collect at; it is "
            f"{config.schedule.name!r}"
        )
    if config.swag.collect and config.schedule.cycle_epochs > config.epochs:
        raise InputError(
            f"config.swag.collect collects at the end of cycles of {config.schedule.cycle_epochs:g} epochs, but the "
            f"run has {config.epochs:g}; shorten schedule.cycle_epochs or lengthen the run"
        )
    if config.batch.shares and sum(config.batch.shares) != config.batch.identities:
        raise InputError(
            f"config.batch.shares {config.batch.shares} add up to {sum(config.batch.shares)}, but "
            f"config.batch.identities is {config.batch.identities}; make them agree"
        )
    if config.swag.rank < 0 or config.swag.rank == 1:
        raise InputError(f"config.swag.rank is {config.swag.rank}; give 0 for the diagonal, or at least 2 deviations")
    for key in (
        "seed",
        "swag.scale",
        "swag.variance_floor",
        "val_identities",
        "augment.pad",
        "loss.triplet_weight",
        "loss.cross_entropy_weight",
    ):
        if flat[key] < 0:
            raise InputError(f"config.{key} is {flat[key]}; it must be 0 or more")
    for key in ("augment.flip_probability", "augment.erase_probability"):
        if not 0 <= flat[key] <= 1:
            raise InputError(f"config.{key} is {flat[key]}; it is a probability, from 0 to 1")
    low, high = config.augment.erase_area
    if not 0 < low <= high < 1:
        raise InputError(f"config.augment.erase_area is {(low, high)}; give (least, most) parts of the image in (0, 1)")
    low, high = config.augment.erase_aspect
    if not 0 < low <= high:
        raise InputError(f"config.augment.erase_aspect is {(low, high)}; give (least, most), both above 0")
    if not 0 <= config.loss.label_smoothing < 1:
        raise InputError(f"config.loss.label_smoothing is {config.loss.label_smoothing}; give a number in [0, 1)")
    if config.batch.identities < 2:
        raise InputError(f"config.batch.identities is {config.batch.identities}; a triplet needs at least 2")
    for key, choices in (
        ("model.dtype", ("float32", "bfloat16")),
        ("schedule.name", ("warmup_step", "cyclic_cosine")),
        ("loss.mining", ("original", "batch_hard", "batch_soft")),
    ):
        if flat[key] not in choices:
            raise InputError(f"config.{key} is {flat[key]!r}; choose one of {', '.join(choices)}")
    return config


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
