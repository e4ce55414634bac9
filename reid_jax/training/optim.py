"""Learning-rate schedules and stochastic gradient descent (arXiv 1910.07038, equation 1, sections 3.1, 4, 4.2).

A schedule gives the learning rate of a step, counted from 0. A list of rules says, by a parameter's path, whether it is
decayed and at what multiple of the learning rate it moves.
"""

import re
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, path_aware_map

from reid_jax.errors import InputError
from reid_jax.ranges import Numbers, Range, real, require, whole
from reid_jax.text_table import format_table

_MOST_EPOCHS = 1e9
_MOST_MULTIPLE = 1e4

# What each argument of the functions below may be.
RANGES: dict[str, Range] = {
    "peak": real(0, 1e30, above=True),
    "steps_per_epoch": whole(1, 2**31 - 1),
    "warmup_epochs": real(0, _MOST_EPOCHS),
    "boundaries": Numbers(real(0, _MOST_EPOCHS, above=True)),
    "factor": real(0, 1),
    "cycle_epochs": real(0, _MOST_EPOCHS, above=True),
    "decay": real(0, 1, above=True),
    "floor": real(0, 1e30),
    "momentum": real(0, 1, below=True),
    "weight_decay": real(0, 1),
    "scale_rate": real(0, _MOST_MULTIPLE),
    "regions_rate": real(0, _MOST_MULTIPLE),
    "pooling_rate": real(0, _MOST_MULTIPLE),
}

KERNELS, ALL = DECAYED = ("kernels", "all")  # which parameters weight decay is for

# (regular expression searched in a parameter's path 'a/b/kernel', whether it is decayed, multiple of the rate)
Rule = tuple[str, bool, float]


def steps_of(epochs: float, steps_per_epoch: int) -> int:
    """Returns the number of whole steps nearest to so many epochs, at least one."""
    return max(1, round(epochs * steps_per_epoch))


def turn_of(epoch: float, steps_per_epoch: int) -> int:
    """Returns the first step, from 0, that ends after `epoch`: the one from which on `warmup_step_schedule` turns."""
    return int(np.float32(epoch * steps_per_epoch))  # which the schedule compares with, too


def warmup_step_schedule(
    *,
    peak: float,
    steps_per_epoch: int,
    warmup_epochs: float = 10,
    boundaries: Sequence[float] = (150, 225),
    factor: float = 0.1,
) -> optax.Schedule:
    """Linear warm-up, then a staircase: equation 1 of arXiv 1910.07038.

    With t = (step + 1) / steps_per_epoch, the epochs done at the step's end (so that the first step's rate is above 0):

      rate = peak · min(1, t / warmup_epochs) · factor^b,   b = the number of boundaries below t

    Args:
      peak: the rate after the warm-up; 3e-2 in the paper.
      steps_per_epoch: updates in an epoch.
      warmup_epochs: 0 for none.
      boundaries: epochs, increasing.
      factor: what the rate is multiplied by after each boundary.

    Returns:
      step (int scalar or array) -> float32 rate of the same shape.

    Raises:
      InputError: an argument is out of range.
    """
    boundaries = tuple(boundaries)
    _require(
        peak=peak, steps_per_epoch=steps_per_epoch, warmup_epochs=warmup_epochs, boundaries=boundaries, factor=factor
    )
    check_boundaries(warmup_epochs, boundaries)
    stairs = np.array([peak * factor**passed for passed in range(len(boundaries) + 1)], np.float32)
    # Compared in steps, where both sides are exact; t itself is a rounded quotient.
    ends = np.array([boundary * steps_per_epoch for boundary in boundaries], np.float32)

    def schedule(step):
        done = jnp.asarray(step)[..., None] + 1
        rate = jnp.asarray(stairs)[jnp.sum(done > ends, axis=-1)]
        if warmup_epochs:
            rate *= jnp.minimum(1.0, done[..., 0] / (warmup_epochs * steps_per_epoch))
        return rate

    return schedule


def check_boundaries(warmup_epochs: float, boundaries: Sequence[float]) -> None:
    """Raises InputError unless the boundaries increase, the first one after the warm-up."""
    if any(b <= a for a, b in zip((warmup_epochs, *boundaries), boundaries, strict=False)):
        raise InputError(
            f"learning-rate boundaries are {boundaries} with {warmup_epochs} epochs of warm-up: "
            "they must increase, the first one after the warm-up"
        )


def cyclic_cosine_schedule(
    *, peak: float, cycle_epochs: float, steps_per_epoch: int, decay: float = 0.7, floor: float = 0.0
) -> optax.Schedule:
    """Cosine annealing in cycles, each peak `decay` times the one before: arXiv 1910.07038, 3.1, 4 and 4.2.

    Step s, from 0, of cycle c, from 0, of L = cycle_epochs · steps_per_epoch steps, rounded to whole ones:

      rate = floor + (peak_c - floor) · (1 + cos(π s / L)) / 2,   peak_c = max(peak · decay^c, floor)

    The paper runs 15 cycles of 35 epochs; the schedule itself has no end.

    Args:
      peak: the first cycle's highest rate.
      cycle_epochs: length of a cycle.
      steps_per_epoch: updates in an epoch.
      decay: ratio of a cycle's peak to the one before.
      floor: the lowest rate, of all cycles.

    Returns:
      step (int scalar or array) -> float32 rate of the same shape.

    Raises:
      InputError: an argument is out of range.
    """
    _require(peak=peak, cycle_epochs=cycle_epochs, steps_per_epoch=steps_per_epoch, decay=decay, floor=floor)
    check_floor(floor, peak)
    length = steps_of(cycle_epochs, steps_per_epoch)

    def schedule(step):
        cycle, within = jnp.divmod(jnp.asarray(step), length)
        highest = jnp.maximum(peak * jnp.float32(decay) ** cycle, floor)
        return floor + (highest - floor) * 0.5 * (1.0 + jnp.cos(jnp.pi * within / length))

    return schedule


def check_floor(floor: float, peak: float) -> None:
    """Raises InputError where the lowest rate is above the highest."""
    if floor > peak:
        raise InputError(f"learning-rate floor is {floor} with a peak of {peak}: give a floor of at most the peak")


def default_rules(
    *, scale_rate: float = 0.1, regions_rate: float = 0.01, pooling_rate: float = 1.0, decayed: str = KERNELS
) -> list[Rule]:
    """The rules of our networks: only kernels are decayed; the logit scale and the regions' centres move slowly.

    Args:
      scale_rate: multiple of the learning rate for the logarithm of the logits' scale.
      regions_rate: the same for the layer that places the hard attention's regions. At the full rate the first,
        large gradients push the centres to the image's corners, into the flat part of their tanh, where they stay.
      pooling_rate: the same for GeM's exponent p.
      decayed: of `DECAYED`: 'kernels' alone, or 'all' parameters, as torchreid does.

    Returns:
      Rules, of which the first that matches a parameter's path holds.

    Raises:
      InputError: a multiple is out of range.
    """
    _require(scale_rate=scale_rate, regions_rate=regions_rate, pooling_rate=pooling_rate)
    others = decayed == ALL
    return [
        (r"(^|/)hard/linear/kernel$", True, regions_rate),
        (r"(^|/)hard/linear/bias$", others, regions_rate),
        (r"(^|/)kernel$", True, 1.0),
        (r"(^|/)(bias|scale)$", others, 1.0),
        (r"(^|/)p$", others, pooling_rate),
        (r"(^|/)log_scale$", others, scale_rate),
    ]


def resolve_rules(params, rules: Sequence[Rule]) -> dict[str, tuple[bool, float]]:
    """Which parameters are decayed, and how fast each one moves.

    Args:
      params: nested dicts of arrays or shapes.
      rules: of these the first whose regular expression is found in a parameter's path holds for it.

    Returns:
      path 'a/b/kernel' -> (whether it is decayed, multiple of the learning rate).

    Raises:
      InputError: a parameter matches no rule, or a regular expression is malformed.
    """
    return {path: rules[index][1:] for path, index in _matches(params, rules).items()}


def optimizer(
    schedule: optax.Schedule,
    *,
    params,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 5e-4,
    rules: Sequence[Rule] | None = None,
) -> optax.GradientTransformation:
    """Stochastic gradient descent as in PyTorch's `SGD`, with parameter groups given by rules.

    With λ the weight decay, 0 where the parameter's rule says so, m the rule's multiple and β the momentum:

      g = gradient + λ · param
      buffer = β · buffer + g
      param = param - m · rate · buffer             (with Nesterov: g + β · buffer in place of the buffer)

    Args:
      schedule: step -> learning rate.
      params: nested dicts of arrays or shapes: what `init` will get.
      momentum: 0 for none.
      nesterov: look ahead by one step.
      weight_decay: of the parameters whose rule says that they are decayed.
      rules: see `resolve_rules`; `default_rules()` when None.

    Returns:
      The Optax transformation; its `update` needs `params`.

    Raises:
      InputError: a parameter matches no rule, momentum or decay is out of range.
    """
    _require(momentum=momentum, weight_decay=weight_decay)
    resolved = resolve_rules(params, default_rules() if rules is None else rules)
    decayed = path_aware_map(lambda path, _: resolved["/".join(path)][0], params)
    multiple = path_aware_map(lambda path, _: resolved["/".join(path)][1], params)
    return optax.chain(
        optax.add_decayed_weights(weight_decay, mask=decayed),
        optax.trace(decay=momentum, nesterov=nesterov),
        optax.stateless(lambda updates, _: jax.tree.map(lambda u, m: u * m, updates, multiple)),
        optax.scale_by_learning_rate(schedule),
    )


def format_rules(params, rules: Sequence[Rule] | None = None) -> str:
    """A table of the parameters that each rule holds for, for the start of a run.

    Args:
      params: nested dicts of arrays or shapes.
      rules: as for `optimizer`.

    Returns:
      Lines of text: the rule, its number of tensors and of parameters, weight decay, multiple of the rate.

    Raises:
      InputError: a parameter matches no rule.
    """
    rules = default_rules() if rules is None else rules
    matches = _matches(params, rules)
    sizes = {path: int(np.prod(leaf.shape)) for path, leaf in flatten_dict(params, sep="/").items()}
    rows = [("parameters named", "tensors", "parameters", "decay", "rate")]
    for index, (pattern, decay, multiple) in enumerate(rules):
        matched = [sizes[path] for path, match in matches.items() if match == index]
        rows.append((pattern, str(len(matched)), f"{sum(matched):,}", "yes" if decay else "no", f"x{multiple:g}"))
    return format_table(rows)


def format_schedule(schedule: optax.Schedule, *, steps: Sequence[int], steps_per_epoch: int) -> str:
    """A table of the learning rate at its turning points.

    Args:
      schedule: step -> learning rate.
      steps: the first ones, from 0, after its turning points; the start of the run is added.
      steps_per_epoch: updates in an epoch.

    Returns:
      Lines of text: the epochs before a step, the step, the rate of the one before it and of that step.
    """
    rows = [("epoch", "step", "rate before", "rate after"), ("0", "0", "-", f"{float(schedule(0)):.3e}")]
    for step in steps:
        rates = (f"{float(schedule(each)):.3e}" for each in (step - 1, step))
        rows.append((f"{step / steps_per_epoch:g}", str(step), *rates))
    return format_table(rows)


def _matches(params, rules: Sequence[Rule]) -> dict[str, int]:
    """Path -> index of the first rule whose regular expression is found in it."""
    for pattern, *_ in rules:
        try:
            re.compile(pattern)
        except re.error as error:
            raise InputError(f"optimiser rule {pattern!r} is no regular expression: {error}") from error
    matches = {}
    for path in flatten_dict(params, sep="/"):
        index = next((index for index, (pattern, *_) in enumerate(rules) if re.search(pattern, path)), None)
        if index is None:
            patterns = ", ".join(pattern for pattern, *_ in rules)
            raise InputError(f"parameter {path!r} matches none of the optimiser's rules ({patterns}): add one")
        matches[path] = index
    return matches


def _require(**arguments: object) -> None:
    for name, value in arguments.items():
        require(name, value, RANGES[name])
