"""`reid-jax visualize attention`: what the network attends to in images drawn at random."""

import argparse

import numpy as np

from reid_jax import parallel, visualize
from reid_jax.data.datasets import check_name, find_source
from reid_jax.data.split import open_sources
from reid_jax.describe import Encoder
from reid_jax.verbs.visualize.options import (
    add_out,
    add_rows,
    add_seed,
    add_weights,
    data_dir_of,
    require_other_file,
    source_of,
)
from reid_jax.weights import load_weights

HELP = "draw soft-attention maps and hard-attention regions over images; the numbers beside it, in OUT.json"
EXAMPLES = """\
  reid-jax visualize attention --weights=runs/quickstart --out=attention.png
  reid-jax visualize attention --weights=runs/1x --out=attention.png --split=gallery --rows=12 --seed=1"""
ENDINGS = (".png", ".json")
PACKAGES = ("matplotlib",)
ROWS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_weights(parser)
    add_out(parser, ENDINGS)
    add_rows(parser, ROWS, "images shown")
    text = "where they are drawn from: query, gallery, train (default %(default)s)"
    parser.add_argument("--split", default="query", help=text)
    add_seed(parser)


def run(args: argparse.Namespace) -> None:
    """Draws the images and their attention."""
    weights = load_weights(args.weights)
    data_dir, image_size = data_dir_of(args, weights), weights.config.image_size
    if args.split == "train":
        dataset = args.dataset or weights.config.dataset
        sources = [find_source(name, data_dir) for name in check_name(dataset)]
        require_other_file(args.out, sources)
    else:
        sources = [source_of(args, weights)]
        dataset = sources[0].name
    (images,) = open_sources(sources, [args.split], data_dir, image_size)
    rng = np.random.default_rng(args.seed)
    rows = np.sort(rng.choice(len(images), min(args.rows, len(images)), replace=False))
    attention = visualize.attend(Encoder.of(weights, parallel.one_device()), images, rows)
    visualize.write_attention(args.out, attention)
    print(f"{args.out}: {len(attention)} images of {dataset} {args.split}; JSON")
