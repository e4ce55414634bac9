"""`reid-jax evaluate`."""

import argparse
import time
from typing import Any

import numpy as np
from jax.sharding import Mesh

from reid_jax import parallel
from reid_jax.bench import peak_memory
from reid_jax.data.datasets import find_source, split_names
from reid_jax.data.low_resolution import LowResolution
from reid_jax.data.split import StoredSplit, open_splits
from reid_jax.errors import InputError
from reid_jax.evaluate import Evaluation, Protocol, embed_items, evaluate, score
from reid_jax.model_average import average_items, sampled_variables
from reid_jax.retrieval.metrics import format_metrics, removal_note
from reid_jax.retrieval.risk import risk_coverage
from reid_jax.train import load_training
from reid_jax.weights import AVERAGED, LAST, Weights, load_weights
from reid_jax.writers import replace_file, write_json

EXAMPLES = """\
  reid-jax evaluate --weights=runs/quickstart
  reid-jax evaluate --weights=best.safetensors --dataset=market1501 --data_dir=data --json=market.json
  reid-jax evaluate --weights=runs/1x --flip --rerank
  reid-jax evaluate --weights=runs/1x --multi_query
  reid-jax evaluate --weights=runs/1x --query_height=80,40,20
  reid-jax evaluate --weights=runs/cuhk03 --single_gallery_shot
  reid-jax evaluate --weights=runs/1x-swag --swag_samples=30 --embeddings=market.npz
Several weights or data sets give a matrix:
  reid-jax evaluate --weights runs/market runs/msmt17 --dataset market1501 msmt17:version=1 --data_dir=data"""

_MATRIX_METRICS = ("rank1", "mAP", "mINP")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--weights", required=True, nargs="+", help="workdirs of runs or .safetensors files")
    parser.add_argument("--dataset", nargs="+", help="sets to score on; default: those the weights were trained for")
    parser.add_argument("--data_dir", help="the folder that holds the data sets; default: the run's")
    parser.add_argument("--json", help="also write the metrics to this file")
    parser.add_argument(
        "--query_height", default="", help="also score with queries scaled down to these heights, such as 80,40,20"
    )
    parser.add_argument(
        "--swag_samples",
        type=int,
        default=0,
        help="average over so many samples of a second-phase run's weights (SWAG), and tell how well their spread "
        "foretells wrong answers (default 0: the weights as they are)",
    )
    parser.add_argument("--embeddings", help="also write descriptors, labels and, with SWAG, spread to this .npz file")
    add_protocol(parser)


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
        "--query_expansion", type=int, default=0, metavar="K", help="average queries with their K nearest (default 0)"
    )
    parser.add_argument("--rerank", action="store_true", help="k-reciprocal re-ranking")
    parser.add_argument("--k1", type=int, default=default.k1, help="its neighbours (default %(default)s)")
    parser.add_argument("--k2", type=int, default=default.k2, help="its query expansion (default %(default)s)")
    parser.add_argument(
        "--rerank_weight", type=float, default=default.rerank_weight, help="of the distance in it (default %(default)s)"
    )
    parser.add_argument("--single_gallery_shot", action="store_true", help="CUHK03's protocol: one gallery image each")
    parser.add_argument("--shots", type=int, default=default.shots, help="its repetitions (default %(default)s)")
    parser.add_argument("--seed", type=int, default=default.seed, help="its draws (default %(default)s)")


def protocol_of(args: argparse.Namespace) -> Protocol:
    """Reads the options that `add_protocol` added; raises InputError for numbers out of range."""
    for name, least in (("query_expansion", 0), ("k1", 1), ("k2", 1), ("shots", 1), ("seed", 0)):
        if getattr(args, name) < least:
            raise InputError(f"--{name} is {getattr(args, name)}; give at least {least}")
    if not 0 <= args.rerank_weight <= 1:
        raise InputError(f"--rerank_weight is {args.rerank_weight}; give a number from 0 to 1")
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


def run(args: argparse.Namespace) -> None:
    """Prints tables of metrics, with time and peak memory, and writes the JSON."""
    protocol, heights = protocol_of(args), _heights(args.query_height)
    if heights and (protocol.multi_query or args.swag_samples):
        raise InputError(
            "--query_height goes with single queries and one model; leave --multi_query, --swag_samples out"
        )
    if args.swag_samples < 0 or (args.swag_samples and protocol.multi_query):
        raise InputError(f"--swag_samples is {args.swag_samples}; give 1 or more, and without --multi_query")
    if args.embeddings and not args.embeddings.endswith(".npz"):
        raise InputError(f"--embeddings is {args.embeddings}; it must end in .npz")
    mesh = parallel.create_mesh()
    results: list[dict[str, Any]] = []
    for path in args.weights:
        weights = load_weights(path, AVERAGED if args.swag_samples else LAST)
        data_dir = args.data_dir or weights.config.data_dir
        for dataset in datasets_of(weights, args.dataset, data_dir):
            if args.embeddings and results:
                raise InputError("--embeddings takes one evaluation; name one weights file and one data set")
            begin = time.perf_counter()
            name, query, gallery, further = open_test(dataset, data_dir, weights.config.image_size, protocol)
            spread = None
            if args.swag_samples:
                result, *spread = _sampled(weights, query, gallery, args.swag_samples, protocol, data_dir, mesh)
            else:
                result = evaluate(
                    weights.network,
                    weights.variables,
                    query,
                    gallery,
                    mesh,
                    protocol=protocol,
                    multi_query=further,
                    progress=True,
                )
            report = {"weights": str(path), **_report(name, result, query, gallery, begin)}
            if spread:
                report |= {"swag_samples": args.swag_samples, "risk_coverage": _risk(result, spread[0])}
            if heights:
                report["query_height"] = _by_height(weights, query, result, heights, mesh)
            if args.embeddings:
                _write_embeddings(args.embeddings, result, spread)
            results.append(report)
    for metric in _MATRIX_METRICS if len(results) > 1 else ():
        if all(metric in result["metrics"] for result in results):
            print(f"\n{metric}, weights by data set")
            print(format_metrics(_matrix(results, metric)))
    if args.json:
        write_json(args.json, results[0] if len(results) == 1 else results)


def open_test(
    dataset: str, data_dir: str, image_size: tuple[int, int], protocol: Protocol
) -> tuple[str, StoredSplit, StoredSplit, StoredSplit | None]:
    """The full name of a data set, its query and gallery, and the images multi-query pools where it has its own."""
    source = find_source(dataset, data_dir)
    extra = ["multi_query"] if protocol.multi_query and "multi_query" in source.splits else []
    splits = open_splits(dataset, ["query", "gallery", *extra], data_dir, image_size)
    return source.name, splits[0], splits[1], splits[2] if extra else None


def _report(name: str, result: Evaluation, query: StoredSplit, gallery: StoredSplit, begin: float) -> dict[str, Any]:
    """Prints one evaluation, and returns it for the JSON."""
    print(f"{name}: {result.protocol}")
    note = removal_note(result.query.camera, result.gallery.camera)
    if note:
        print(note)
    print(format_metrics({name: result.metrics}))
    decision = {}
    try:
        verification = result.verification
        decision = verification.metrics
        print(f"same or different: {verification.positives:,} pairs of one person, {verification.negatives:,} of two")
        print(format_metrics({name: decision}))
    except InputError as error:  # the ranking stands without it
        print(f"same or different: {error}")
    print(_cost(query, gallery, time.perf_counter() - begin))
    return {"dataset": name, "protocol": str(result.protocol), "metrics": result.metrics, "verification": decision}


def _sampled(
    weights: Weights,
    query: StoredSplit,
    gallery: StoredSplit,
    samples: int,
    protocol: Protocol,
    data_dir: str,
    mesh: Mesh,
) -> tuple[Evaluation, np.ndarray, np.ndarray]:
    """The evaluation of SWAG's averaged descriptors, and the spread of the queries and of the gallery."""
    if weights.moments is None:
        raise InputError(
            f"these weights are no average with SWAG's moments; name a run of configs/swag.py or its {AVERAGED}"
        )
    config = weights.config.copy_and_resolve_references()
    config.data_dir = data_dir
    drawn = sampled_variables(
        weights.network,
        weights.moments,
        load_training(config)[0].image,
        mesh,
        samples=samples,
        seed=config.seed,
        scale=config.swag.scale,
        variance_floor=config.swag.variance_floor,
    )
    sides = average_items(
        weights.network,
        drawn,
        (query.load(), gallery.load()),
        mesh,
        samples=samples,
        flip=protocol.flip,
        progress=f"SWAG, {samples} samples",
    )
    (query_items, query_spread), (gallery_items, gallery_spread) = sides
    result = score(query_items, gallery_items, weights.network.streams, mesh, protocol=protocol)
    return result, query_spread, gallery_spread


def _risk(result: Evaluation, spread: np.ndarray) -> dict[str, Any]:
    """Prints and returns how well the queries' spread, and the nearest distance, foretell a wrong nearest item."""
    counted = np.flatnonzero(result.ranking.matches > 0)
    index, distance = result.nearest(counted, 1)
    wrong = result.gallery.identity[index[:, 0]] != result.query.identity[counted]
    by = {"spread": risk_coverage(wrong, spread[counted]), "distance": risk_coverage(wrong, distance[:, 0])}
    areas = {name: curve.area for name, curve in by.items()}
    areas |= {"random": by["spread"].random, "oracle": by["spread"].oracle}
    told = ", ".join(f"{name} {100 * area:.2f} %" for name, area in areas.items())
    print(f"wrong nearest items, area under risk-coverage by: {told} (lower is better)")
    return {"area": areas, **{name: curve.risk.tolist() for name, curve in by.items()}}


def _by_height(
    weights: Weights, query: StoredSplit, result: Evaluation, heights: list[int], mesh: Mesh
) -> dict[str, dict[str, float]]:
    rows = {}
    for height in heights:
        lowered = embed_items(
            weights.network,
            weights.variables,
            LowResolution(query, height),
            mesh,
            flip=result.protocol.flip,
            progress=f"embedding queries of {height} rows",
        )
        scored = score(lowered, result.gallery, weights.network.streams, mesh, protocol=result.protocol)
        rows[str(height)] = scored.metrics
    print(f"queries scaled down to so many rows of {weights.config.image_size[0]}, and up again")
    print(format_metrics({f"{height} rows": metrics for height, metrics in rows.items()}))
    return rows


def _write_embeddings(path: str, result: Evaluation, spread: list[np.ndarray] | None) -> None:
    arrays = {}
    for side, items in (("query", result.query), ("gallery", result.gallery)):
        for field in ("embedding", "identity", "camera", "name"):
            arrays[f"{side}_{field}"] = getattr(items, field)
    if spread:
        arrays |= {"query_spread": spread[0], "gallery_spread": spread[1]}
    replace_file(path, lambda temporary: np.savez(temporary, **arrays))


def _cost(query: StoredSplit, gallery: StoredSplit, seconds: float) -> str:
    return (
        f"{len(query):,} queries x {len(gallery):,} gallery images embedded and ranked in {seconds:.1f} s, "
        f"peak memory {peak_memory() / 2**30:.2f} GiB"
    )


def _matrix(results: list[dict[str, Any]], metric: str) -> dict[str, dict[str, float]]:
    rows: dict[str, dict[str, float]] = {}
    for result in results:
        rows.setdefault(result["weights"], {})[result["dataset"]] = result["metrics"][metric]
    return rows


def _heights(text: str) -> list[int]:
    heights = text.split(",") if text else []
    if not all(height.isascii() and height.isdigit() and int(height) for height in heights):
        raise InputError(f"--query_height is {text!r}; give heights in pixels, such as 80,40,20")
    return [int(height) for height in heights]
