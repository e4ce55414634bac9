"""The columns of Table 2 and the setups of Table 3 in arXiv 1910.07038: one switch, one run.

  reid-jax train --config=configs/ablation.py:column=c --workdir=runs/c
  reid-jax train --config=configs/ablation.py:column=h,from=runs/g --workdir=runs/h
  reid-jax train --config=configs/ablation.py:setup=1 --workdir=runs/setup1
  reid-jax train --config=configs/ablation.py:setup=1,from=runs/setup1 --workdir=runs/setup1-swag

Columns hacnn, a to g and i are trained from scratch; h and robust are the second phase, with SWAG, on the finished run
of g and of i, and so is a setup with `from`. What a column switches on stands in `reid_jax.reporting.paper.COLUMNS`;
`configs/sweeps/table2.py` runs them all.

Arguments: column, or setup=1 (2, 3); size=paper (nano: the same switches, for two CPU cores), data=market1501,
epochs=350 (fewer compress equation 1's schedule), val=0 (training identities held out to choose by), seed=0, runlocal
(a trial on synthetic people, two epochs). A second phase takes these over from its run: from=RUN, cycles=15,
cycle_epochs=35.
"""

import dataclasses
from pathlib import Path

import swag
from common import compress, parse_arg, run_local

from reid_jax import config as run_config
from reid_jax.errors import InputError
from reid_jax.files.json_files import read_json
from reid_jax.reporting import paper


def get_config(arg=None):
    """Returns the run's config."""
    arg = parse_arg(
        arg,
        column="",
        setup="",
        size="paper",
        data="market1501",
        epochs=350.0,
        val=0,
        seed=0,
        runlocal=False,
        **{"from": "", "cycles": 15, "cycle_epochs": 35.0},
    )
    name, switches = _switches(arg)
    return _second_phase(arg, name, switches) if arg["from"] else _first_phase(arg, switches)


def _switches(arg) -> tuple[str, paper.Switches]:
    """('column c', its switches) as the arguments name them."""
    if bool(arg["column"]) == bool(arg["setup"]):
        raise InputError("configs/ablation.py takes column=c or setup=1, one of them")
    kind = "column" if arg["column"] else "setup"
    known = {"column": paper.COLUMNS, "setup": paper.SETUPS}[kind]
    if arg[kind] not in known:
        raise InputError(f"config argument {kind} is {arg[kind]!r}; choose one of {', '.join(known)}")
    if arg["size"] not in paper.SIZES:
        raise InputError(f"config argument size is {arg['size']!r}; choose one of {', '.join(paper.SIZES)}")
    name, switches = f"{kind} {arg[kind]}", known[arg[kind]]
    second = switches.update == "swag"
    if second and not arg["from"]:
        first = next(column for column, other in known.items() if other == _without_update(switches))
        raise InputError(f"{name} is the second phase on a finished run of {kind} {first}; add from=RUN, its workdir")
    if arg["from"] and not second and kind == "column":
        raise InputError(f"{name} is trained from scratch; leave out from={arg['from']}")
    return name, switches


def _first_phase(arg, switches):
    config = run_config.default()
    config.dataset = arg["data"]
    config.seed = arg["seed"]
    config.val_identities = arg["val"]
    if arg["epochs"] != config.epochs:
        compress(config, arg["epochs"])
    if arg["runlocal"]:
        run_local(config)
    return paper.set_switches(config, switches, arg["size"])


def _second_phase(arg, name, switches):
    config = swag.get_config(f"from={arg['from']},cycles={arg['cycles']},cycle_epochs={arg['cycle_epochs']}")
    found = paper.switches_of(run_config.from_dict(read_json(Path(arg["from"]).expanduser() / "config.json")))
    if found != _without_update(switches):
        raise InputError(f"{arg['from']} is not the first phase of {name}: it has {found}")
    return config


def _without_update(switches):
    return dataclasses.replace(switches, update="none")
