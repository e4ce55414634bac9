"""Table 2 of arXiv 1910.07038: every column of the ablation, with several seeds.

  python launch/sweep.py configs/sweeps/table2.py:seeds=3 --out=runs/paper --run
  reid-jax report runs/paper --out=report

What a column switches on stands in `reid_jax.reporting.paper.COLUMNS`.

Columns h and robust continue the runs of g and i of the same seed. With the same --out, configs/sweeps/table3.py uses
these runs too. Reduced to two CPU cores, on synthetic people:

  python launch/sweep.py --out=runs/table2-nano --run --config.schedule.peak=0.1 \\
      configs/sweeps/table2.py:columns=a-b-g,tricks=no_l2,seeds=3,size=nano,data=synthetic,epochs=20

Arguments: columns=hacnn-a-b-c-d-e-f-g-h-i-robust, tricks= (those of configs/tricks.py to add, joined by '-'), seeds=1;
cycles=15 and cycle_epochs=35 of the second phases; and those of configs/ablation.py: size, data, epochs, val, runlocal.
"""

from arguments import join, pick
from common import parse_arg

from reid_jax.errors import InputError
from reid_jax.reporting import paper

FIRST_PHASE = {"h": "g", "robust": "i"}


def sweep(add, arg=None):
    """Adds each column's run for each seed, first phases before the second."""
    own, arg = pick(arg, "columns", "tricks", "seeds")
    second, first = pick(arg, "cycles", "cycle_epochs")
    own = parse_arg(own, columns="-".join(paper.COLUMNS), tricks="", seeds=1)
    columns = own["columns"].split("-")
    for column in columns:
        if FIRST_PHASE.get(column, column) not in columns:
            raise InputError(f"column {column} continues {FIRST_PHASE[column]}; name that in columns= too")
    for seed in range(own["seeds"]):
        workdir = {}
        for column in sorted(columns, key=FIRST_PHASE.__contains__):
            if column not in FIRST_PHASE:
                config = f"ablation.py:{join(f'column={column}', first)}"
                workdir[column] = add(f"{column}-seed{seed}", config=config, seed=seed)
            else:
                run = workdir[FIRST_PHASE[column]]
                config = f"ablation.py:{join(f'column={column}', f'from={run}', second)}"
                add(f"{column}-seed{seed}", config=config, after=run)
        for trick in filter(None, own["tricks"].split("-")):
            add(f"{trick}-seed{seed}", config=f"tricks.py:{join(f'trick={trick}', first)}", seed=seed)
