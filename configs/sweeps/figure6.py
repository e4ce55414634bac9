"""Figure 6 of arXiv 1910.07038: last, SWA and SWAG weights by epoch of the second phase, over five seeds.

  python launch/sweep.py configs/sweeps/figure6.py --out=runs/figure6 --run
  reid-jax report runs/figure6 --out=report

Every seed is trained from scratch, then continued with the cyclic rate. On two CPU cores, with synthetic people:

  python launch/sweep.py configs/sweeps/figure6.py:size=nano,data=synthetic,epochs=20,seeds=3,cycles=5,cycle_epochs=3 \\
      --out=runs/figure6-nano --run --config.schedule.peak=0.1

Arguments: seeds=5; those of configs/robust_reid.py for the first phase (size, data, epochs, val, runlocal); cycles=15
and cycle_epochs=35 of the second.
"""

from arguments import join, pick
from common import parse_arg


def sweep(add, arg=None):
    """Adds a first and a second phase a seed."""
    own, arg = pick(arg, "seeds")
    second, first = pick(arg, "cycles", "cycle_epochs")
    for seed in range(parse_arg(own, seeds=5)["seeds"]):
        run = add(f"sgd-seed{seed}", config=f"robust_reid.py:{first}", seed=seed)
        add(f"swag-seed{seed}", config=f"swag.py:{join(f'from={run}', second)}", after=run)
