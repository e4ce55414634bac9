"""`reid-jax evaluate`."""

import argparse
import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from jax.sharding import Mesh

from reid_jax import parallel, visualize
from reid_jax.averaging.samples import evaluate_samples
from reid_jax.bench.measure import peak_memory
from reid_jax.data.builders.source import Source
from reid_jax.data.split import StoredSplit
from reid_jax.describe import Describer
from reid_jax.descriptors import Descriptors, write_descriptors
from reid_jax.errors import InputError
from reid_jax.evaluate import Evaluation, Protocol, evaluate
from reid_jax.export.reading import Export, describer_of, open_weights
from reid_jax.files.json_files import write_json
from reid_jax.files.writing import require_writable
from reid_jax.ranges import whole
from reid_jax.retrieval.metrics import format_matrix, format_metrics
from reid_jax.retrieval.protocol import Labels, removal_note
from reid_jax.retrieval.risk import RiskCoverage, risk_coverage
from reid_jax.verbs.protocol import (
    add_protocol,
    add_query_height,
    check_heights,
    heights_of,
    open_test,
    protocol_of,
    score_heights,
    sources_to_score,
)
from reid_jax.verbs.swag_samples import encoders_of_samples
from reid_jax.visualize.failures import require
from reid_jax.weights import AVERAGED, LAST, Weights

EXAMPLES = """\
  reid-jax evaluate --weights=runs/quickstart
  reid-jax evaluate --weights=best.safetensors --dataset=market1501 --data_dir=data --json=market.json
  reid-jax evaluate --weights=runs/1x --flip --rerank
  reid-jax evaluate --weights=person.onnx --dataset=market1501 --data_dir=data
  reid-jax evaluate --weights=runs/1x --multi_query
  reid-jax evaluate --weights=runs/1x --query_height=80,40,20 --height_curve=height.png
  reid-jax evaluate --weights=runs/1x-swag --swag_samples=30 --risk_curve=risk.png
  reid-jax evaluate --weights=runs/cuhk03 --single_gallery_shot
The weights of a second-phase run: the last ones, their mean (SWA), and samples around it (SWAG):
  reid-jax evaluate --weights=runs/1x-swag
  reid-jax evaluate --weights=runs/1x-swag/swag.safetensors
  reid-jax evaluate --weights=runs/1x-swag --swag_samples=30 --embeddings=market.npz
Several weights or data sets give a matrix:
  reid-jax evaluate --weights runs/market runs/msmt17 --dataset market1501 msmt17:version=1 --data_dir=data"""

_MATRIX_METRICS = ("rank1", "mAP", "mINP")


@dataclasses.dataclass(frozen=True)
class Scored:
    """One evaluation: its data set, what was scored, and of samples the spread of queries and gallery items.

    `encoder` has the weights as they are in the file, of which samples are drawn around.
    """

    dataset: str
    encoder: Describer
    query: StoredSplit
    gallery: StoredSplit
    result: Evaluation
    spread: tuple[np.ndarray, np.ndarray] | None
    seconds: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    text = "workdirs of runs, .safetensors files, exported ones or zoo:NAME"
    parser.add_argument("--weights", required=True, nargs="+", action="extend", help=text)
    parser.add_argument(
        "--dataset", nargs="+", action="extend", help="sets to score on; default: those the weights were trained for"
    )
    parser.add_argument("--data_dir", help="the folder that holds the data sets; default: the run's")
    parser.add_argument("--json", help="also write the metrics to this file")
    add_query_height(parser)
    parser.add_argument("--height_curve", help="also draw rank-1 and mAP by these heights into this .png file")
    parser.add_argument(
        "--swag_samples",
        type=whole(0, 100_000),
        default=0,
        help="average over so many samples of a second-phase run's weights (SWAG), and tell how well their spread "
        "foretells wrong answers (default 0: the weights as they are)",
    )
    parser.add_argument("--risk_curve", help="also draw risk and coverage by that spread into this .png file")
    parser.add_argument("--embeddings", help="also write descriptors, labels and, with SWAG, spread to this .npz file")
    add_protocol(parser)


def run(args: argparse.Namespace) -> None:
    """Prints tables of metrics, with time and peak memory, and writes the JSON."""
    protocol, heights = protocol_of(args), heights_of(args)
    _check_options(args, protocol, heights)
    pairs = []
    for path in args.weights:
        weights = open_weights(path, AVERAGED if args.swag_samples else LAST)
        sources = sources_to_score(weights, args.dataset, args.data_dir or weights.config.data_dir)
        pairs += [(path, weights, source) for source in sources]
    for option in ("embeddings", "height_curve", "risk_curve"):
        if getattr(args, option) and len(pairs) > 1:
            raise InputError(f"--{option} takes one evaluation, but there are {len(pairs)}; name one file and one set")
    for path, weights, _ in pairs:
        check_heights(heights, path, weights)

    mesh = parallel.create_mesh()
    reports: list[dict[str, Any]] = []
    pictures: list[Callable[[], None]] = []  # drawn at the end: the figures do not wait for them
    for path, weights, source in pairs:
        scored = _score(weights, source, args.data_dir or weights.config.data_dir, args.swag_samples, protocol, mesh)
        report = {"weights": str(path), **_report(scored)}
        if scored.spread:
            by = _risk(scored.result, scored.spread[0])
            risk = {"area": _areas(by), **{name: curve.risk.tolist() for name, curve in by.items()}}
            report |= {"swag_samples": args.swag_samples, "risk_coverage": risk}
            if args.risk_curve:
                pictures.append(functools.partial(visualize.write_risk_curve, args.risk_curve, by))
        if heights:
            report["query_height"] = _by_height(scored, heights)
        if args.height_curve:
            whole = {weights.config.image_size[0]: scored.result.metrics}
            by_height = whole | report["query_height"]
            pictures.append(functools.partial(visualize.write_height_curve, args.height_curve, by_height))
        if args.embeddings:
            _write_embeddings(args.embeddings, scored)
        reports.append(report)
    for metric in _MATRIX_METRICS if len(reports) > 1 else ():
        if all(metric in report["metrics"] for report in reports):
            print(f"\n{metric}, weights by data set")
            print(format_matrix(_matrix(reports, metric), metric))
    if args.json:
        write_json(args.json, reports[0] if len(reports) == 1 else reports)
    for draw in pictures:
        draw()


def _check_options(args: argparse.Namespace, protocol: Protocol, heights: list[int]) -> None:
    """Raises InputError for options that exclude or need each other, before anything is read."""
    if heights and args.swag_samples:
        raise InputError("--query_height goes with one model; leave --swag_samples out")
    if args.swag_samples and protocol.multi_query:
        raise InputError("--swag_samples goes with single queries; leave --multi_query out")
    if args.height_curve and not heights:
        raise InputError("--height_curve draws what --query_height scores; give both, as in --query_height=80,40")
    if args.risk_curve and not args.swag_samples:
        raise InputError("--risk_curve draws what samples tell; give --swag_samples too, as in --swag_samples=30")
    for option, ending in (("json", ""), ("embeddings", ".npz"), ("height_curve", ".png"), ("risk_curve", ".png")):
        if getattr(args, option) is not None:
            require_writable(f"--{option}", getattr(args, option), ending)
    if args.height_curve or args.risk_curve:
        require("matplotlib")


def _score(
    weights: Weights | Export, source: Source, data_dir: str, samples: int, protocol: Protocol, mesh: Mesh
) -> Scored:
    query, gallery, pooled = open_test(source, data_dir, weights.config.image_size, protocol)
    begin = time.perf_counter()
    encoder, spread = describer_of(weights, mesh), None
    if samples:
        encoders, pair = encoders_of_samples(weights, samples, data_dir, mesh), (query, gallery)
        ((result, *spread),) = evaluate_samples(encoders, [pair], samples=samples, protocol=protocol, progress=True)
    else:
        result = evaluate(encoder, query, gallery, protocol=protocol, multi_query=pooled, progress=True)
    seconds = time.perf_counter() - begin
    return Scored(source.name, encoder, query, gallery, result, spread and tuple(spread), seconds)


def _report(scored: Scored) -> dict[str, Any]:
    """Prints one evaluation, and returns it for the JSON."""
    name, result = scored.dataset, scored.result
    print(f"{name}: {result.protocol}")
    note = removal_note(Labels.of(result.query, result.gallery))
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
    print(
        f"{len(scored.query):,} queries x {len(scored.gallery):,} gallery images embedded and ranked in "
        f"{scored.seconds:.1f} s, peak memory {peak_memory() / 2**30:.2f} GiB"
    )
    return {"dataset": name, "protocol": str(result.protocol), "metrics": result.metrics, "verification": decision}


def _risk(result: Evaluation, spread: np.ndarray) -> dict[str, RiskCoverage]:
    """Prints and returns how well the queries' spread, and the nearest distance, foretell a wrong nearest item."""
    matched = np.flatnonzero(result.ranking.matches > 0)
    index, distance = result.nearest(matched, 1)
    wrong = result.gallery.identity[index[:, 0]] != result.query.identity[matched]
    by = {"spread": risk_coverage(wrong, spread[matched]), "distance": risk_coverage(wrong, distance[:, 0])}
    areas = ", ".join(f"{name} {100 * area:.2f} %" for name, area in _areas(by).items())
    print(f"wrong nearest items, area under risk-coverage by: {areas} (lower is better)")
    return by


def _areas(by: dict[str, RiskCoverage]) -> dict[str, float]:
    """The areas under the curves, and under those of chance and of an oracle."""
    bounds = next(iter(by.values()))
    return {**{name: curve.area for name, curve in by.items()}, "random": bounds.random, "oracle": bounds.oracle}


def _by_height(scored: Scored, heights: list[int]) -> dict[int, dict[str, float]]:
    """Scores, prints and returns the metrics by the height of the queries."""
    rows = score_heights(scored.encoder, scored.query, scored.result, heights)
    print(f"queries scaled down to so many rows of {scored.encoder.image_size[0]}, and up again")
    print(format_metrics({f"{height} rows": metrics for height, metrics in rows.items()}))
    return rows


def _write_embeddings(path: str, scored: Scored) -> None:
    """Writes the sets 'query' and 'gallery', as they were ranked."""
    weights = scored.encoder.digest
    query_spread, gallery_spread = scored.spread or (None, None)
    sets = {}
    for side, items, spread in (
        ("query", scored.result.query, query_spread),
        ("gallery", scored.result.gallery, gallery_spread),
    ):
        sets[side] = Descriptors(
            items.name, items.embedding, scored.encoder.streams, weights, items.identity, items.camera, spread
        )
    write_descriptors(path, sets)


def _matrix(reports: list[dict[str, Any]], metric: str) -> dict[str, dict[str, float]]:
    rows: dict[str, dict[str, float]] = {}
    for report in reports:
        rows.setdefault(report["weights"], {})[report["dataset"]] = report["metrics"][metric]
    return rows
