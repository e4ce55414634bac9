"""`reid-jax report`."""

import argparse
from pathlib import Path

from reid_jax.errors import InputError, first_few, shown
from reid_jax.files.writing import require_writable_folder
from reid_jax.reporting.groups import gather
from reid_jax.reporting.tables import all_runs, write_tables

EXAMPLES = """\
  reid-jax report runs/table2 --out=report
  reid-jax report runs/g runs/h runs/seeds --out=report
A folder stands for all runs below it. Written are report.md (all runs, and Tables 2 to 4 of the paper with ours beside
them), runs.csv, groups.csv and, with Matplotlib, runs.png, figure1.png and figure6.png."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help="workdirs of runs, or folders that hold some")
    parser.add_argument("--out", default="report", help="folder that is written to (default %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Gathers, prints the table of all runs, and writes tables and plots."""
    require_writable_folder("--out", args.out)
    gathered = gather(args.runs)
    if gathered.groups:
        print(all_runs(gathered))
    for path, reason in gathered.left_out:
        print(f"left out: {shown(path)}: {reason}")
    if not gathered.groups:
        raise InputError(f"no finished run in {first_few(args.runs)}; nothing is written")
    files = write_tables(gathered, args.out)
    try:
        from reid_jax.reporting.plots import write_plots

        files += write_plots(gathered, Path(args.out))
    except InputError as error:  # the tables are no worse without plots
        print(f"no plots: {error}")
    print(f"written to {shown(args.out)}: {', '.join(file.name for file in files)}")
