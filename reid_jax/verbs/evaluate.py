"""`reid-jax evaluate`."""

import argparse
import resource
import sys
import time

from reid_jax import parallel
from reid_jax.data.split import load_split
from reid_jax.evaluate import evaluate
from reid_jax.retrieval.metrics import format_metrics
from reid_jax.weights import load_weights
from reid_jax.writers import write_json

EXAMPLES = """\
  reid-jax evaluate --weights=runs/quickstart
  reid-jax evaluate --weights=best.safetensors --dataset=market1501 --data_dir=data --json=market.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--weights", required=True, help="a run's workdir or a .safetensors file")
    parser.add_argument("--dataset", help="default: the one that the weights were trained for")
    parser.add_argument("--data_dir", help="the folder that holds the data sets; default: the run's")
    parser.add_argument("--json", help="also write the metrics to this file")


def run(args: argparse.Namespace) -> None:
    """Prints the table of metrics, with time and peak memory, and writes the JSON."""
    weights = load_weights(args.weights)
    dataset, data_dir = args.dataset or weights.config.dataset, args.data_dir or weights.config.data_dir
    query, gallery = (load_split(dataset, part, data_dir, weights.config.image_size) for part in ("query", "gallery"))
    begin = time.perf_counter()
    result = evaluate(weights.network, weights.variables, query, gallery, parallel.create_mesh(), progress=True)
    seconds = time.perf_counter() - begin
    print(format_metrics({dataset: result.metrics}))
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(
        f"{len(query):,} queries x {len(gallery):,} gallery images embedded and ranked in {seconds:.1f} s, "
        f"peak memory {peak / 2**30:.2f} GiB"
    )
    if args.json:
        write_json(args.json, {"weights": str(args.weights), "dataset": dataset, "metrics": result.metrics})
