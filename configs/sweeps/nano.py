"""The second phase and four columns of the ablation, small: `nano` on synthetic people, for two CPU cores.

  python launch/sweep.py configs/sweeps/nano.py --out=runs/nano --run=2
  reid-jax report runs/nano --out=report

Columns a, b and g, and g without L2 normalisation, from scratch in 13 epochs; g continued as h: five cycles of three
epochs, six samples. Images of 96x32, 150 people to train on and 50 others to test on, random erasing of one image in
ten: what a small network learns within minutes.

What was seen: configs/RESULTS.md.

Arguments: seeds=3; columns=a-b-g-no_l2-h (h continues g).
"""

from common import parse_arg

from reid_jax.errors import InputError

KEYS = {
    "dataset": "synthetic:train_identities=150,test_identities=50",
    "image_size": (96, 32),
    "augment.pad": 6,
    "augment.erase_probability": 0.1,
    "schedule.peak": 0.1,
    "schedule.warmup_epochs": 1.0,
    "schedule.boundaries": (9.0, 12.0),
}
SIZE = "size=nano,epochs=13"


def sweep(add, arg=None):
    """Adds the runs of each seed."""
    arg = parse_arg(arg, seeds=3, columns="a-b-g-no_l2-h")
    columns = arg["columns"].split("-")
    if "h" in columns and "g" not in columns:
        raise InputError("column h continues g; name that in columns= too")
    for seed in range(arg["seeds"]):
        for column in columns:
            if column == "h":
                continue
            file = "tricks.py:trick" if column == "no_l2" else "ablation.py:column"
            run = add(f"{column}-seed{seed}", config=f"{file}={column},{SIZE}", seed=seed, **KEYS)
            if column == "g" and "h" in columns:
                second = f"swag.py:from={run},cycles=5,cycle_epochs=3,samples=6"
                add(f"h-seed{seed}", config=second, after=run)
