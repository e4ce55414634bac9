"""Weights that know real people from drawn ones: `nano` on people in the street, for two CPU cores.

  reid-jax train --config=configs/street.py --workdir=runs/street

Arguments: identities=2000, epochs=11 (the schedule is compressed with them), seed=0.
What it reaches on real people stands in configs/RESULTS.md.

The street is drawn below `data_dir` first. The recipe is the quickstart's with milder padding, because the drawn boxes
are shaken already, some erasing, and colour jitter, so that more light is seen than the drawn cameras have.
"""

from common import parse_arg

from reid_jax import config as run_config


def get_config(arg=None):
    """Returns the run's config."""
    arg = parse_arg(arg, identities=2000, epochs=11.0, seed=0)
    config = run_config.default()
    config.seed = arg["seed"]
    config.dataset = f"street:train_identities={arg['identities']},test_identities=50,cameras=6"
    config.image_size = (96, 32)
    config.model.name = "nano"
    config.augment.pad = 3
    config.augment.erase_probability = 0.3
    config.augment.jitter = 0.15
    config.schedule.peak = 0.1
    config.schedule.warmup_epochs = arg["epochs"] * 0.04
    config.schedule.boundaries = (arg["epochs"] * 0.64, arg["epochs"] * 0.89)
    config.epochs = arg["epochs"]
    config.eval_every = config.checkpoint_every = max(1.0, arg["epochs"] / 4)
    return config
