"""`reid-jax bench`."""

import argparse
import dataclasses
import statistics

import jax

from reid_jax import bench, parallel
from reid_jax.errors import InputError
from reid_jax.writers import write_json

EXAMPLES = """\
  reid-jax bench rank --size=market1501
  reid-jax bench rank --size=msmt17 --rounds=1
  reid-jax bench rank --size=market1501_500k --rounds=1
  reid-jax bench verify --size=market1501
  reid-jax bench rerank --size=market1501"""

_WORK = {
    "rank": (bench.bench_rank, "rank made embeddings: CMC, mAP by both rules and mINP, distances included"),
    "verify": (bench.bench_verify, "decide same or different over all pairs of made embeddings"),
    "rerank": (bench.bench_rerank, "re-rank made embeddings by k-reciprocal encoding, and score"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what can be measured, with its options."""
    actions = parser.add_subparsers(dest="work", required=True, metavar=f"{{{','.join(_WORK)}}}")
    for name, (_, text) in _WORK.items():
        action = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        action.add_argument("--size", choices=bench.SIZES, default="market1501", help="(default %(default)s)")
        action.add_argument("--dimensions", type=int, default=1024, help="of a descriptor (default %(default)s)")
        action.add_argument(
            "--rounds", type=int, default=5, help="counted, after one that is not (default %(default)s)"
        )
        action.add_argument("--json", help="also write the measurement to this file")


def run(args: argparse.Namespace) -> None:
    """Makes embeddings, measures and prints."""
    for name in ("rounds", "dimensions"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} is {getattr(args, name)}; give at least 1")
    mesh = parallel.create_mesh()
    size = bench.SIZES[args.size]
    print(parallel.describe(mesh))
    print(
        f"{args.size}: {size.queries:,} queries x {size.gallery:,} gallery items x {args.dimensions} numbers",
        flush=True,
    )
    measured = _WORK[args.work][0](bench.make_embeddings(size, args.dimensions), args.rounds, mesh)
    print(f"{args.work:8} {measured}")
    if args.json:
        report = {"work": args.work, "size": dataclasses.asdict(size), "dimensions": args.dimensions}
        report |= {"device": mesh.devices.flat[0].device_kind, "devices": mesh.size, "jax": jax.__version__}
        report |= {"median_seconds": statistics.median(measured.seconds), **dataclasses.asdict(measured)}
        write_json(args.json, report)
