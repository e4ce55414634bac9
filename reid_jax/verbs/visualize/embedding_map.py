"""`reid-jax visualize map`: descriptors on a plane."""

import argparse

from reid_jax import parallel, visualize
from reid_jax.data.split import open_sources
from reid_jax.describe import Encoder
from reid_jax.embed import embed_items
from reid_jax.ranges import whole
from reid_jax.verbs.visualize.options import add_items, add_out, add_seed, add_weights, data_dir_of, source_of
from reid_jax.visualize import embedding_map
from reid_jax.weights import load_weights

HELP = "draw descriptors on a plane (t-SNE); the coordinates beside it, in OUT.json and OUT.csv"
EXAMPLES = """\
  reid-jax visualize map --weights=runs/quickstart --out=map.png
  reid-jax visualize map --weights=runs/quickstart --out=cameras.png --color=camera
  reid-jax visualize map --weights=runs/1x --out=map.png --items=2000 --identities=40"""
ENDINGS = (".png", ".json", ".csv")
PACKAGES = ("matplotlib", "scikit-learn")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_weights(parser)
    add_out(parser, ENDINGS)
    add_items(parser)
    kind = whole(1, embedding_map.MOST_IDENTITIES)
    text = "of which in colour (default %(default)s)"
    parser.add_argument("--identities", type=kind, default=embedding_map.IDENTITIES, help=text)
    text = "what the colours tell (default identity)"
    parser.add_argument("--color", choices=embedding_map.COLOR_BY, default="identity", help=text)
    add_seed(parser)


def run(args: argparse.Namespace) -> None:
    """Embeds what the map shows, places it and draws it."""
    weights = load_weights(args.weights)
    encoder = Encoder.of(weights, parallel.create_mesh())
    source = source_of(args, weights)
    sides = open_sources([source], ["query", "gallery"], data_dir_of(args, weights), weights.config.image_size)
    sizes = {"items": args.items, "identities": args.identities, "seed": args.seed}
    colored = None
    if all((side.tracklet < 0).all() for side in sides):
        # Only what the map shows is embedded. The items of tracklets are known once their frames are pooled.
        rows, colored = embedding_map.choose_items(sides[0].identity, sides[1].identity, **sizes)
        count = len(sides[0])
        sides = [sides[0].select(rows[rows < count]), sides[1].select(rows[rows >= count] - count)]
    query, gallery = (
        embed_items(encoder, side, progress=f"embedding {name}")
        for side, name in zip(sides, ("query", "gallery"), strict=True)
    )
    if colored is None:
        placed = visualize.map_items(query, gallery, **sizes)
    else:
        placed = embedding_map.place_items(query, gallery, colored, args.seed)
    visualize.write_map(args.out, placed, args.color)
    print(f"{args.out}: {len(placed):,} descriptors of {source.name} by {args.color}; JSON and CSV")
