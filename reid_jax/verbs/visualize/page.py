"""`reid-jax visualize page`: an evaluation as one HTML page."""

import argparse
from pathlib import Path

from reid_jax import visualize
from reid_jax.models.attention_maps import has_attention_maps
from reid_jax.training.metric_writer import read_records
from reid_jax.verbs.protocol import add_protocol, add_query_height, heights_of, score_heights
from reid_jax.verbs.visualize.options import add_items, add_out, add_rows, add_top, add_weights, labels, score_weights
from reid_jax.visualize import page_content

HELP = "write one HTML page: metrics, curves, ranked results, attention, embedding map, training"
EXAMPLES = """\
  reid-jax visualize page --weights=runs/quickstart --out=quickstart.html
  reid-jax visualize page --weights=runs/1x --out=market.html --dataset=market1501 --data_dir=data --rows=10
  reid-jax visualize page --weights=runs/1x --out=far.html --query_height=80,40,20
  reid-jax visualize page --weights=runs/1x --out=reranked.html --flip --rerank"""
ENDINGS = (".html",)
PACKAGES = ("matplotlib", "scikit-learn")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_weights(parser)
    add_out(parser, ENDINGS)
    add_rows(parser, page_content.ROWS, "queries in each list: worst, best and random")
    add_query_height(parser)
    add_top(parser)
    add_items(parser)
    # Its --seed draws the random queries and the items of the map, too.
    add_protocol(parser.add_argument_group("protocol", "as in reid-jax evaluate"))


def run(args: argparse.Namespace) -> None:
    """Scores the weights and writes the page; the training curves are those of the run that they lie in."""
    heights = heights_of(args)
    scored = score_weights(args, args.weights, heights)
    weights, query, evaluation = scored.weights, scored.query, scored.evaluation
    height, width = weights.config.image_size
    by_height = score_heights(scored.encoder, query, evaluation, heights)
    attention = ()
    if has_attention_maps(weights.network):
        rows = page_content.attention_rows(evaluation, args.seed)
        attention = visualize.attend(scored.encoder, query, rows)
    workdir = Path(args.weights) if Path(args.weights).is_dir() else Path(args.weights).parent
    records = read_records(workdir / "metrics.jsonl")
    source = visualize.PageSource(
        title=f"{labels([args.weights])[0]} on {scored.dataset.partition(':')[0]}",  # its options stand below
        evaluation=evaluation,
        query=query,
        gallery=scored.gallery,
        facts={
            "Weights": args.weights,
            "Network": f"{weights.config.model.name}, images of {height}x{width}",
            "Data set": scored.dataset,
        },
        attention=attention,
        runs={workdir.resolve().name: records} if records else {},
        by_height={height: evaluation.metrics, **by_height} if by_height else {},
        rows=args.rows,
        top=args.top,
        items=args.items,
        seed=args.seed,
    )
    visualize.write_page(args.out, source)
    print(f"{args.out}: {Path(args.out).stat().st_size / 2**20:.1f} MiB, all in one file")
