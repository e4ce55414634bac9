"""`reid-jax join`."""

import argparse
from pathlib import Path

from reid_jax.descriptors import write_descriptors
from reid_jax.files.writing import require_writable
from reid_jax.parts import join

EXAMPLES = """\
  launch/processes.sh 2 embed --weights=runs/1x --images=crops --parts=crops.parts
  reid-jax join --parts=crops.parts --out=crops.npz"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--parts", required=True, help="the folder that reid-jax embed --parts has filled")
    parser.add_argument("--out", required=True, help="the .npz file to write, as reid-jax embed --out does")


def run(args: argparse.Namespace) -> None:
    """Joins them, where none is missing."""
    require_writable("--out", args.out, ".npz")
    descriptors = join(Path(args.parts))
    write_descriptors(args.out, descriptors)
    print(f"{args.out}: {len(descriptors):,} descriptors of {descriptors.embedding.shape[1]} numbers")
