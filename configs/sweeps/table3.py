"""Table 3 of arXiv 1910.07038: three setups, each without update, with the cyclic rate, and with SWAG.

  python launch/sweep.py configs/sweeps/table3.py --out=runs/paper --run
  reid-jax report runs/paper --out=report

Setup 1 is the paper's network without GeM, shuffle blocks and greater depth and width; setups 2 and 3 are columns g and
i of Table 2, their second phases columns h and robust: with the same --out those of configs/sweeps/table2.py serve.
A second phase gives two cells: its last weights ("+ LR scheme") and their SWAG.

Arguments: seeds=1; cycles=15 and cycle_epochs=35 of the second phases; and those of configs/ablation.py: size, data,
epochs, val, runlocal.
"""

from arguments import join, pick
from common import parse_arg

# (name, argument) of a setup's first phase and of its second
SETUPS = (
    (("setup1", "setup=1"), ("setup1-swag", "setup=1")),
    (("g", "column=g"), ("h", "column=h")),
    (("i", "column=i"), ("robust", "column=robust")),
)


def sweep(add, arg=None):
    """Adds two runs, the second after the first, for each setup and seed."""
    own, arg = pick(arg, "seeds")
    second, first = pick(arg, "cycles", "cycle_epochs")
    for seed in range(parse_arg(own, seeds=1)["seeds"]):
        for (name, which), (swag_name, swag_which) in SETUPS:
            run = add(f"{name}-seed{seed}", config=f"ablation.py:{join(which, first)}", seed=seed)
            config = f"ablation.py:{join(swag_which, f'from={run}', second)}"
            add(f"{swag_name}-seed{seed}", config=config, after=run)
