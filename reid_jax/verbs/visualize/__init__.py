"""`reid-jax visualize`: one page of an evaluation, or a single picture; an action a file."""

import argparse

from reid_jax.files.writing import require_writable
from reid_jax.verbs.actions import add_actions
from reid_jax.verbs.visualize import attention, curves, embedding_map, page, ranked, training
from reid_jax.visualize.failures import require

EXAMPLES = """\
  reid-jax visualize page --weights=runs/quickstart --out=quickstart.html
  reid-jax visualize ranked --weights=runs/quickstart --out=worst.png --order=worst
  reid-jax visualize page --help"""

# Each action is a module with
#   HELP, EXAMPLES: the text and the examples of its help
#   ENDINGS: those of the files that it writes: of --out first, then what --out is lengthened by beside it
#   PACKAGES: optional ones that it needs
#   add_arguments(parser): adds its options, among them --out
#   run(args): draws, and prints what was written
ACTIONS = {
    "page": page,
    "ranked": ranked,
    "attention": attention,
    "map": embedding_map,
    "curves": curves,
    "training": training,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions with their options."""
    add_actions(parser, ACTIONS)


def run(args: argparse.Namespace) -> None:
    """Runs the chosen action; what is wrong with its options is said before anything is computed."""
    action = ACTIONS[args.action]
    ending, *beside = action.ENDINGS
    require_writable("--out", args.out, ending)
    for ending in beside:
        require_writable(f"what is written beside --out={args.out}", f"{args.out}{ending}")
    require(*action.PACKAGES)
    action.run(args)
