"""`reid-jax visualize ranked`: queries with their nearest gallery images."""

import argparse

from reid_jax import visualize
from reid_jax.verbs.protocol import add_protocol
from reid_jax.verbs.visualize.options import add_out, add_rows, add_top, add_weights, score_weights
from reid_jax.visualize.ranked import ORDERS

HELP = "draw queries with their nearest gallery images; the names beside it, in OUT.json and OUT.csv"
EXAMPLES = """\
  reid-jax visualize ranked --weights=runs/quickstart --out=ranked.png
  reid-jax visualize ranked --weights=runs/quickstart --out=worst.png --order=worst --rows=20 --top=15"""
ENDINGS = (".png", ".json", ".csv")
PACKAGES = ()
ROWS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_weights(parser)
    add_out(parser, ENDINGS)
    add_rows(parser, ROWS, "queries shown")
    parser.add_argument("--order", choices=ORDERS, default="random", help="which queries, by AP")
    add_top(parser)
    add_protocol(parser.add_argument_group("protocol", "as in reid-jax evaluate"))


def run(args: argparse.Namespace) -> None:
    """Scores the weights and draws the sheet."""
    scored = score_weights(args, args.weights)
    count = visualize.draw_sheet(
        args.out,
        scored.query,
        scored.gallery,
        scored.evaluation,
        rows=args.rows,
        order=args.order,
        seed=args.seed,
        top=args.top,
    )
    print(
        f"{args.out}: {count} queries and their {min(args.top, len(scored.evaluation.gallery))} nearest; JSON and CSV"
    )
