"""One run with several seeds, for the mean and the spread of whatever it scores.

  python launch/sweep.py configs/sweeps/seeds.py:size=1x,seeds=5 --out=runs/seeds --run

Arguments: seeds=5, and all those of configs/robust_reid.py.
"""

import robust_reid
from arguments import pick
from common import parse_arg


def get_config(arg=None):
    """Returns the config that all runs share but for the seed."""
    return robust_reid.get_config(pick(arg, "seeds")[1])


def sweep(add, arg=None):
    """Adds a run a seed."""
    for seed in range(parse_arg(pick(arg, "seeds")[0], seeds=5)["seeds"]):
        add(f"seed{seed}", seed=seed)
