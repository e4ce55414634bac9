"""What the actions of `reid-jax visualize` share: options, the weights and the data set they name, their scores."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from reid_jax import parallel
from reid_jax.data.builders.source import Source
from reid_jax.data.split import StoredSplit
from reid_jax.describe import Encoder
from reid_jax.errors import InputError, shown
from reid_jax.evaluate import Evaluation, evaluate
from reid_jax.files.writing import require_apart
from reid_jax.ranges import whole
from reid_jax.verbs.protocol import SEED, check_heights, open_test, protocol_of, sources_to_score
from reid_jax.visualize import embedding_map
from reid_jax.weights import Weights, load_weights

COUNT = whole(1, 10_000)  # of what a picture shows
TOP = 10  # results of a query


def add_weights(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Adds --weights, one or several, --dataset and --data_dir."""
    nargs = {"nargs": "+", "action": "extend"} if several else {}
    parser.add_argument(
        "--weights", required=True, help="a run's workdir, a .safetensors file or zoo:NAME", metavar="RUN", **nargs
    )
    parser.add_argument("--dataset", help="default: the one that the weights were trained for")
    parser.add_argument("--data_dir", help="the folder that holds the data sets; default: the run's")


def add_out(parser: argparse.ArgumentParser, endings: Sequence[str]) -> None:
    """Adds --out, a file that ends in the first of `endings`."""
    parser.add_argument("--out", required=True, help=f"the {endings[0]} file to write")


def add_rows(parser: argparse.ArgumentParser, default: int, what: str) -> None:
    """Adds --rows, how many of `what` the picture shows."""
    parser.add_argument("--rows", type=COUNT, default=default, help=f"{what} (default %(default)s)")


def add_top(parser: argparse.ArgumentParser) -> None:
    """Adds --top."""
    parser.add_argument("--top", type=COUNT, default=TOP, help="results of a query (default %(default)s)")


def add_items(parser: argparse.ArgumentParser) -> None:
    """Adds --items."""
    kind = whole(embedding_map.LEAST_ITEMS, 100_000)
    text = "descriptors in the map (default %(default)s)"
    parser.add_argument("--items", type=kind, default=embedding_map.ITEMS, help=text)


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Adds --seed."""
    parser.add_argument("--seed", type=SEED, default=0, help="of what is drawn at random (default 0)")


def data_dir_of(args: argparse.Namespace, weights: Weights) -> str:
    """The folder that holds the data sets: --data_dir, or that of the run."""
    return args.data_dir or weights.config.data_dir


def source_of(args: argparse.Namespace, weights: Weights) -> Source:
    """Finds the data set whose test split is drawn: --dataset, or the one that the weights were trained for.

    Raises InputError where these are several, or where --out is the table that lists it.
    """
    sources = sources_to_score(weights, [args.dataset] if args.dataset else None, data_dir_of(args, weights))
    if len(sources) > 1:
        names = ", ".join(source.name for source in sources)
        raise InputError(f"{names} are several data sets; a picture shows one: choose with --dataset")
    require_other_file(args.out, sources)
    return sources[0]


def require_other_file(out: str, sources: Sequence[Source]) -> None:
    """Raises InputError where `out` is the file, such as a table, that one of the data sets is read from."""
    require_apart([("--out", out)], [(f"data set {shown(source.name)}", source.location) for source in sources])


@dataclasses.dataclass(frozen=True)
class Scored:
    """Weights with their evaluation on a data set, called `dataset` in full, and its images."""

    weights: Weights
    encoder: Encoder
    dataset: str
    query: StoredSplit
    gallery: StoredSplit
    evaluation: Evaluation


def score_weights(args: argparse.Namespace, path: str, heights: Sequence[int] = ()) -> Scored:
    """Scores the weights at `path` by the options of `add_weights` and of `protocol.add_protocol`.

    That the queries can be scaled down to `heights` is checked before.
    """
    protocol = protocol_of(args)
    weights = load_weights(path)
    check_heights(heights, path, weights)
    source = source_of(args, weights)
    query, gallery, pooled = open_test(source, data_dir_of(args, weights), weights.config.image_size, protocol)
    encoder = Encoder.of(weights, parallel.create_mesh())
    evaluation = evaluate(encoder, query, gallery, protocol=protocol, multi_query=pooled, progress=True)
    return Scored(weights, encoder, source.name, query, gallery, evaluation)


def labels(paths: Sequence[str]) -> list[str]:
    """Names the runs and weight files in a legend: their own names, as much of the path before as tells them apart.

    Raises InputError where one is named twice.
    """
    parts = [Path(str(Path(path).resolve()).removesuffix(".safetensors")).parts for path in paths]
    if len(set(parts)) < len(parts):
        raise InputError(f"{', '.join(paths)}: one of these is named twice; name each once")
    longest = max(map(len, parts))
    for length in range(1, longest + 1):
        names = ["/".join(path[-length:]) for path in parts]
        if len(set(names)) == len(names):
            break
    return names
