"""The second phase: cyclic cosine from a finished run's weights, whose ends of cycles give SWA and SWAG.

  reid-jax train --config=configs/swag.py:from=runs/1x --workdir=runs/1x-swag
  reid-jax evaluate --weights=runs/1x-swag --swag_samples=30

Arguments: from=RUN (the workdir of a finished run, whose config this one takes over, seed and data with it), cycles=15,
cycle_epochs=35, peak=0 (0: the first run's own), rank=0 (deviations for the low-rank term; 0: the diagonal alone),
samples=30.

arXiv 1910.07038, sections 3.1, 4 and 4.2: 15 cycles of 35 epochs, the peak falling by 0.7 from cycle to cycle; the
weights are collected at the end of each cycle, and the last, their mean (SWA) and samples (SWAG; their number is ours)
scored there: Figure 6.
What short ones show: configs/RESULTS.md.
"""

from pathlib import Path

from common import parse_arg

from reid_jax import config as run_config
from reid_jax.errors import InputError
from reid_jax.files.json_files import read_json


def get_config(arg=None):
    """Returns the run's config."""
    arg = parse_arg(arg, **{"from": ""}, cycles=15, cycle_epochs=35.0, peak=0.0, rank=0, samples=30)
    if not arg["from"]:
        raise InputError("configs/swag.py continues a finished run; name its workdir: configs/swag.py:from=runs/1x")
    stored = read_json(Path(arg["from"]).expanduser() / "config.json")
    if stored is None:
        raise InputError(f"config argument from is {arg['from']!r}, which is no run's workdir: it has no config.json")
    config = run_config.from_dict(stored).unlock()
    config.init_from = arg["from"]
    second_phase(config, arg["cycles"], arg["cycle_epochs"])
    if arg["peak"]:
        config.schedule.peak = arg["peak"]
    config.swag.rank = arg["rank"]
    config.swag.samples = arg["samples"]
    return config.lock()


def second_phase(config, cycles: int, cycle_epochs: float) -> None:
    """Turns a run's config into that of its second phase."""
    config.schedule.name = "cyclic_cosine"
    config.schedule.cycle_epochs = float(cycle_epochs)
    config.epochs = cycles * float(cycle_epochs)
    config.eval_every = config.checkpoint_every = float(cycle_epochs)
    config.swag.collect = True
