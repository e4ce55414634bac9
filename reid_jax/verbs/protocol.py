"""What the verbs that score share: the options of the protocol, what weights are scored on, queries of few pixels."""

import argparse
from collections.abc import Sequence

from reid_jax.data.datasets import find_source, split_names
from reid_jax.data.low_resolution import LowResolution
from reid_jax.data.split import StoredSplit, open_splits
from reid_jax.errors import InputError, shown
from reid_jax.evaluate import Evaluation, Protocol, embed_items, score
from reid_jax.ranges import real, whole
from reid_jax.weights import Weights

SEED = whole(0, 2**63 - 1)
_HEIGHT, _NEIGHBOURS, _SHOTS = whole(1, 100_000), whole(1, 100_000), whole(1, 1_000_000)


def add_protocol(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `Protocol`; `protocol_of` reads them."""
    default = Protocol()
    parser.add_argument("--flip", action="store_true", help="average each descriptor with its mirror image's")
    parser.add_argument(
        "--multi_query",
        action="store_true",
        help="pool a query over its camera's images of the person (Market-1501: gt_bbox where it is there)",
    )
    parser.add_argument(
        "--query_expansion",
        type=whole(0, 100_000),
        default=0,
        metavar="K",
        help="average queries with their K nearest (default 0)",
    )
    parser.add_argument("--rerank", action="store_true", help="k-reciprocal re-ranking")
    parser.add_argument("--k1", type=_NEIGHBOURS, default=default.k1, help="its neighbours (default %(default)s)")
    parser.add_argument("--k2", type=_NEIGHBOURS, default=default.k2, help="its query expansion (default %(default)s)")
    parser.add_argument(
        "--rerank_weight",
        type=real(0, 1),
        default=default.rerank_weight,
        help="of the distance in it (default %(default)s)",
    )
    parser.add_argument("--single_gallery_shot", action="store_true", help="CUHK03's protocol: one gallery image each")
    parser.add_argument("--shots", type=_SHOTS, default=default.shots, help="its repetitions (default %(default)s)")
    parser.add_argument("--seed", type=SEED, default=default.seed, help="its draws (default %(default)s)")


def protocol_of(args: argparse.Namespace) -> Protocol:
    """Reads the options that `add_protocol` added; raises InputError for those that exclude each other."""
    if args.single_gallery_shot and args.rerank:
        raise InputError("--single_gallery_shot is not defined for re-ranked distances; leave --rerank out")
    fields = ("flip", "multi_query", "query_expansion", "rerank", "k1", "k2", "rerank_weight")
    return Protocol(**{name: getattr(args, name) for name in (*fields, "single_gallery_shot", "shots", "seed")})


def datasets_of(weights: Weights, names: list[str] | None, data_dir: str) -> list[str]:
    """The data sets to score `weights` on: `names`, or those with a test split that they were trained for."""
    if names:
        return [one for name in names for one in split_names(name)]
    config = weights.config
    if config.test_dataset:
        return split_names(config.test_dataset)
    found = [
        name for name in split_names(config.dataset) if {"query", "gallery"} <= set(find_source(name, data_dir).splits)
    ]
    if not found:
        raise InputError(f"{config.dataset!r} has no query and gallery; name a data set that has with --dataset")
    return found


def open_test(
    dataset: str, data_dir: str, image_size: tuple[int, int], protocol: Protocol
) -> tuple[str, StoredSplit, StoredSplit, StoredSplit | None]:
    """The full name of a data set, its query and gallery, and the images multi-query pools where it has its own."""
    source = find_source(dataset, data_dir)
    extra = ["multi_query"] if protocol.multi_query and "multi_query" in source.splits else []
    splits = open_splits(dataset, ["query", "gallery", *extra], data_dir, image_size)
    return source.name, splits[0], splits[1], splits[2] if extra else None


def add_query_height(parser: argparse.ArgumentParser) -> None:
    """Adds --query_height; `heights_of` reads it."""
    parser.add_argument(
        "--query_height", default="", help="also score with queries scaled down to these heights, such as 80,40,20"
    )


def heights_of(args: argparse.Namespace) -> list[int]:
    """Reads --query_height; raises InputError for what is no height in pixels, and beside multi-query."""
    heights = args.query_height.split(",") if args.query_height else []
    try:
        heights = [_HEIGHT(height) for height in heights]
    except argparse.ArgumentTypeError as error:
        raise InputError(f"--query_height is {shown(args.query_height)!r}; give pixels, such as 80,40,20") from error
    if heights and args.multi_query:
        raise InputError("--query_height goes with single queries; leave --multi_query out")
    return heights


def check_heights(heights: Sequence[int], path: str, weights: Weights) -> None:
    """Raises InputError for a height that the images of the weights at `path` do not exceed."""
    rows = weights.config.image_size[0]
    if heights and max(heights) >= rows:
        raise InputError(f"--query_height has {max(heights)}, but {path} reads images of {rows} rows; give fewer rows")


def score_heights(
    weights: Weights, query: StoredSplit, evaluation: Evaluation, heights: Sequence[int]
) -> dict[int, dict[str, float]]:
    """Scores an evaluation again with its queries scaled down to each of the heights: {height: metrics}."""
    found = {}
    for height in heights:
        lowered = embed_items(
            weights.network,
            weights.variables,
            LowResolution(query, height),
            evaluation.mesh,
            flip=evaluation.protocol.flip,
            progress=f"embedding queries of {height} rows",
        )
        again = score(
            lowered, evaluation.gallery, weights.network.streams, evaluation.mesh, protocol=evaluation.protocol
        )
        found[height] = again.metrics
    return found
