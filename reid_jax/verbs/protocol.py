"""What the verbs that score share: the options of the protocol, what weights are scored on, queries of few pixels."""

import argparse
from collections.abc import Sequence

from reid_jax.data.builders.source import Source
from reid_jax.data.datasets import find_source, split_names
from reid_jax.data.images import Images
from reid_jax.data.low_resolution import LowResolution
from reid_jax.data.split import StoredSplit, open_sources
from reid_jax.describe import Describer
from reid_jax.embed import embed_items
from reid_jax.errors import InputError, shown
from reid_jax.evaluate import Evaluation, Protocol, score
from reid_jax.export.reading import Export
from reid_jax.ranges import real, whole
from reid_jax.weights import Weights

SEED = whole(0, 2**63 - 1)
_HEIGHT, _NEIGHBOURS, _DRAWS = whole(1, 100_000), whole(1, 100_000), whole(1, 1_000_000)


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
    parser.add_argument("--draws", type=_DRAWS, default=default.draws, help="of that image (default %(default)s)")
    parser.add_argument("--seed", type=SEED, default=default.seed, help="of these draws (default %(default)s)")


def protocol_of(args: argparse.Namespace) -> Protocol:
    """Reads the options that `add_protocol` added; raises InputError for those that exclude each other."""
    if args.single_gallery_shot and args.rerank:
        raise InputError("--single_gallery_shot is not defined for re-ranked distances; leave --rerank out")
    fields = ("flip", "multi_query", "query_expansion", "rerank", "k1", "k2", "rerank_weight")
    return Protocol(**{name: getattr(args, name) for name in (*fields, "single_gallery_shot", "draws", "seed")})


def sources_to_score(weights: Weights | Export, names: list[str] | None, data_dir: str) -> list[Source]:
    """Finds the data sets to score `weights` on: `names`, or those with a test split that they were trained for.

    Raises InputError for a set that is not in `data_dir`, and where none has a query and a gallery.
    """
    config = weights.config
    names = names or ([config.test_dataset] if config.test_dataset else None)
    if names:
        return [find_source(single, data_dir) for name in names for single in split_names(name)]
    sources = [find_source(single, data_dir) for single in split_names(config.dataset)]
    tested = [source for source in sources if {"query", "gallery"} <= set(source.splits)]
    if not tested:
        raise InputError(f"{config.dataset!r} has no query and gallery; name a data set that has with --dataset")
    return tested


def open_test(
    source: Source, data_dir: str, image_size: tuple[int, int], protocol: Protocol
) -> tuple[StoredSplit, StoredSplit, StoredSplit | None]:
    """Opens query and gallery of a data set, and the images that multi-query pools where the set has its own."""
    extra = ["multi_query"] if protocol.multi_query and "multi_query" in source.splits else []
    query, gallery, *pooled = open_sources([source], ["query", "gallery", *extra], data_dir, image_size)
    return query, gallery, pooled[0] if pooled else None


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


def check_heights(heights: Sequence[int], path: str, weights: Weights | Export) -> None:
    """Raises InputError for a height that the images of the weights at `path` do not exceed."""
    rows = weights.config.image_size[0]
    if heights and max(heights) >= rows:
        raise InputError(f"--query_height has {max(heights)}, but {path} reads images of {rows} rows; give fewer rows")


def score_heights(
    encoder: Describer, query: Images, evaluation: Evaluation, heights: Sequence[int]
) -> dict[int, dict[str, float]]:
    """Scores an evaluation again with its queries scaled down to each of the heights: {height: metrics}."""
    metrics = {}
    for height in heights:
        lowered = embed_items(
            encoder,
            LowResolution(query, height),
            flip=evaluation.protocol.flip,
            progress=f"embedding queries of {height} rows",
        )
        again = score(lowered, evaluation.gallery, encoder.streams, encoder.mesh, protocol=evaluation.protocol)
        metrics[height] = again.metrics
    return metrics
