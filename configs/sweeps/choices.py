"""What the paper leaves open, one change at a time against our defaults, chosen on 50 held-out training identities.

  python launch/sweep.py configs/sweeps/choices.py --out=runs/choices --run
  reid-jax report runs/choices --out=report

Small enough for a CPU, a quarter of an hour of one core a run:

  python launch/sweep.py configs/sweeps/choices.py:small,epochs=15 --out=runs/choices-small --run=2

Read the report's rows "held out"; the test split is scored at each run's end, as always, and is not to be chosen by.
Then train again on all identities. What was seen: configs/RESULTS.md.

Arguments: choices=NAMES of `CHOICES` joined by '-' (default: all), seeds=2, small (images of 96x32, padding in
proportion); and those of configs/robust_reid.py, of which size=nano, epochs=25 and val=50 are the defaults here.
"""

import robust_reid
from arguments import over, pick
from common import parse_arg

from reid_jax.config_keys import KEYS
from reid_jax.errors import InputError

PAD, SMALL_PAD = 10, 6
OWN = ("choices", "seeds", "small")
CHOICES = {
    "base": {},
    "half_pad": {},  # half of `PAD` or `SMALL_PAD`
    "no_pad": {"augment.pad": 0},
    "enlarge": {"augment.pad": 0, "augment.enlarge": 1.125},  # torchreid's crop
    "raw": {"model.classifier_reads": "raw", "model.logit_scale": 1.0, "model.logit_scale_learned": False},
    "decay_all": {"optimizer.decayed": "all"},
    "regions_0.1": {"optimizer.regions_rate": 0.1},
    "regions_1": {"optimizer.regions_rate": 1.0},
    "gem_fixed": {"optimizer.pooling_rate": 0.0},
    "gem_per_channel": {"model.gem_per_channel": True},
    "noise_fill": {"augment.erase_fill": "noise"},
    "batch_16x4": {"batch.identities": 16},
}


def get_config(arg=None):
    """Returns the config that all runs start from: the peak and the warm-up are those of a compressed schedule."""
    config = robust_reid.get_config(over("size=nano,epochs=25,val=50", pick(arg, *OWN)[1]))
    if _own(arg)["small"]:
        config.image_size = (96, 32)
        config.augment.pad = SMALL_PAD
    config.schedule.peak = 0.1 * (config.schedule.peak / KEYS["schedule.peak"][0])  # which a larger batch has raised
    config.schedule.warmup_epochs = 1.0
    config.schedule.boundaries = (config.epochs * 2 / 3, config.epochs * 0.87)
    config.eval_every = config.checkpoint_every = config.epochs / 3
    return config


def sweep(add, arg=None):
    """Adds a run for each choice and seed."""
    arg = _own(arg)
    half = {"augment.pad": (SMALL_PAD if arg["small"] else PAD) // 2}
    for name in arg["choices"].split("-"):
        if name not in CHOICES:
            raise InputError(f"config argument choices has {name!r}; choose of {', '.join(CHOICES)}, joined by '-'")
        for seed in range(arg["seeds"]):
            add(f"{name}-seed{seed}", seed=seed, **(half if name == "half_pad" else CHOICES[name]))


def _own(arg):
    return parse_arg(pick(arg, *OWN)[0], choices="-".join(CHOICES), seeds=2, small=False)
