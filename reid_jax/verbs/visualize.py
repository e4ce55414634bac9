"""`reid-jax visualize`."""

import argparse
from pathlib import Path

from reid_jax import parallel, visualize
from reid_jax.data.split import load_split
from reid_jax.errors import InputError
from reid_jax.evaluate import evaluate
from reid_jax.weights import load_weights

EXAMPLES = """\
  reid-jax visualize --weights=runs/quickstart --out=ranked.png
  reid-jax visualize --weights=runs/quickstart --out=worst.png --order=worst --rows=20"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--weights", required=True, help="a run's workdir or a .safetensors file")
    parser.add_argument("--out", required=True, help="the .png file to write; a .json with the names goes beside it")
    parser.add_argument("--rows", type=int, default=10, help="queries shown (default 10)")
    parser.add_argument("--order", choices=("random", "worst", "best"), default="random", help="which ones, by AP")
    parser.add_argument("--seed", type=int, default=0, help="of the random choice (default 0)")
    parser.add_argument("--dataset", help="default: the one that the weights were trained for")
    parser.add_argument("--data_dir", help="the folder that holds the data sets; default: the run's")


def run(args: argparse.Namespace) -> None:
    """Embeds, ranks and draws."""
    if Path(args.out).suffix != ".png":
        raise InputError(f"--out is {args.out}; it must end in .png")
    if args.rows < 1:
        raise InputError(f"--rows is {args.rows}; give at least 1")
    weights = load_weights(args.weights)
    dataset, data_dir = args.dataset or weights.config.dataset, args.data_dir or weights.config.data_dir
    query, gallery = (load_split(dataset, part, data_dir, weights.config.image_size) for part in ("query", "gallery"))
    result = evaluate(weights.network, weights.variables, query, gallery, parallel.create_mesh(), progress=True)
    visualize.draw_sheet(args.out, query, gallery, result, rows=args.rows, order=args.order, seed=args.seed)
    print(f"{args.out}: {min(args.rows, len(query))} queries and their 10 nearest")
