"""`reid-jax visualize page`: an evaluation as one HTML page."""

import argparse
from pathlib import Path

from reid_jax import config as run_config
from reid_jax import visualize, zoo
from reid_jax.errors import InputError
from reid_jax.files.json_files import read_json
from reid_jax.models.attention_maps import has_attention_maps
from reid_jax.training.metric_writer import read_records
from reid_jax.verbs.protocol import add_protocol, add_query_height, heights_of, score_heights
from reid_jax.verbs.visualize.options import add_items, add_out, add_rows, add_top, add_weights, labels, score_weights
from reid_jax.visualize import page_content
from reid_jax.weights import Weights

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
    """Scores the weights and writes the page; the training curves are those of the run that they are of."""
    heights = heights_of(args)
    scored = score_weights(args, args.weights, heights)
    weights, query, evaluation = scored.weights, scored.query, scored.evaluation
    height, width = weights.config.image_size
    by_height = score_heights(scored.encoder, query, evaluation, heights)
    attention = ()
    if has_attention_maps(weights.network, weights.variables, (height, width)):
        rows = page_content.attention_rows(evaluation, args.seed)
        attention = visualize.attend(scored.encoder, query, rows)
    workdir = _workdir_of(args.weights, weights)
    records = read_records(workdir / "metrics.jsonl") if workdir else []
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


def _workdir_of(path: str, weights: Weights) -> Path | None:
    """The run that the weights at `path` are of; a file is of the run that it lies in where that has its config."""
    if zoo.is_name(path):
        return None
    if Path(path).is_dir():
        return Path(path)
    workdir = Path(path).parent
    try:
        config = run_config.from_dict(read_json(workdir / "config.json"))
    except (InputError, AttributeError, TypeError):  # there is none, or it is damaged
        return None
    return workdir if run_config.to_dict(config) == run_config.to_dict(weights.config) else None
