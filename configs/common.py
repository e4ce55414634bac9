"""What config files share, such as reading the argument of `--config=FILE.py:size=1x,data=market1501,runlocal`."""

from reid_jax.config_keys import KEYS
from reid_jax.errors import InputError, shown
from reid_jax.ranges import require, whole

OF_A_TRIAL = ("epochs", "val")  # the arguments that `run_local` decides


def parse_arg(arg: str | None, **defaults):
    """Returns a dict with `defaults` overridden by 'key=value,flag' pairs, each of its default's type.

    A key alone sets a flag whose default is False. Raises InputError for unknown keys, for values that do not
    read as the default's type, and for what a trial, 'runlocal', has of its own.
    """
    values, given = dict(defaults), set()
    for item in filter(None, (arg or "").split(",")):
        key, equals, text = item.partition("=")
        given.add(key)
        if key not in defaults:
            raise InputError(f"config argument {shown(key)!r} is unknown; there are {', '.join(defaults)}")
        kind = type(defaults[key])
        if kind is bool:
            if text.lower() not in ("", "true", "false"):
                raise InputError(f"config argument {key} is {shown(text)!r}; it is a flag: {key}, or {key}=false")
            values[key] = text.lower() != "false"
            continue
        if not equals:
            raise InputError(f"config argument {key} needs a value: {key}=...")
        try:
            values[key] = kind(text)
        except ValueError as error:
            raise InputError(f"config argument {key} is {shown(text)!r}; it takes a {kind.__name__}") from error
    if values.get("runlocal"):
        for key in OF_A_TRIAL:
            if key in given:
                raise InputError(
                    f"config argument {key} is {values[key]} beside runlocal, a trial of two epochs with people of its "
                    "own held out; leave one of them out"
                )
    return values


def choose(arg, key: str, known):
    """Returns what `known` holds under the argument `key`; raises InputError naming the choices where it has none."""
    if arg[key] not in known:
        raise InputError(f"config argument {key} is {shown(arg[key])!r}; choose one of {', '.join(known)}")
    return known[arg[key]]


def run_local(config) -> None:
    """Cuts a run down to a trial on any machine: few synthetic people, two epochs."""
    config.dataset = "synthetic:train_identities=24,test_identities=12,cameras=3,images_per_camera=4"
    config.val_identities = 4
    config.schedule.warmup_epochs = 0.5
    config.schedule.boundaries = (1.0, 1.5)
    config.epochs = config.eval_every = config.checkpoint_every = 2.0
    config.sheet_queries = 4


def compress(config, epochs: float) -> None:
    """Shortens the run to `epochs` and equation 1's schedule by the same factor; InputError for what is no length."""
    require("config argument epochs", epochs, KEYS["epochs"][1])
    factor = epochs / config.epochs
    config.schedule.warmup_epochs *= factor
    config.schedule.boundaries = tuple(boundary * factor for boundary in config.schedule.boundaries)
    config.epochs = float(epochs)
    config.eval_every = config.checkpoint_every = max(1.0, epochs / 35)


RATE_RULES = {"linear": 1.0, "root": 0.5, "same": 0.0}  # the power of the batch that the learning rate's peak follows


def enlarge(config, times: int, power: float) -> None:
    """Makes the batch `times` the identities, for more devices, and the rate's peak `times`**`power` as high.

    Linear: Goyal et al. 2017, for SGD with a warm-up, as equation 1 has one. An epoch then has fewer steps; the
    schedule's epochs stay.
    """
    require("config argument batch", times, whole(1, 512))
    config.batch.identities *= times
    config.schedule.peak *= times**power
