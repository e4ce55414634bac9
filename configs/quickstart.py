"""Watch a network learn to tell people apart: `nano` on synthetic people, on a CPU too.

  reid-jax train --config=configs/quickstart.py:from=zoo:street --workdir=runs/quickstart
  reid-jax train --config=configs/quickstart.py --workdir=runs/from-nothing

The first starts from weights that there are, those of the package, and needs a quarter of the epochs.
How long that takes and what it reaches stands in configs/RESULTS.md.

Cut down from arXiv 1910.07038's recipe to what shows soon: images of 96x32 instead of 160x64, no random
erasing, a higher learning rate for the small network, and equation 1's shape in 20 epochs.
"""

from common import parse_arg

from reid_jax import config as run_config
from reid_jax.weights import read_config


def get_config(arg=None):
    """Returns the run's config; `from` names the weights to start from, none without it."""
    arg = parse_arg(arg, **{"from": ""})
    config = run_config.default()
    config.init_from = arg["from"]
    config.dataset = "synthetic:train_identities=220,test_identities=50"
    config.val_identities = 20
    config.image_size = (96, 32)
    config.model.name = "nano"
    if config.init_from:  # the network that the weights are of
        config.model = read_config(config.init_from).model
    config.augment.pad = 6
    config.augment.erase_probability = 0.0
    config.schedule.peak = 0.1
    config.schedule.warmup_epochs = 1.0
    config.schedule.boundaries = (3.0, 4.0) if config.init_from else (13.0, 18.0)
    config.epochs = 5.0 if config.init_from else 20.0
    config.eval_every = 4.0
    config.checkpoint_every = 4.0
    return config
