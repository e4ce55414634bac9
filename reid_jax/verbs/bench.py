"""`reid-jax bench`: speed and memory of a step, embedding, the input, ranking, tracking, a gallery, and of others."""

import argparse
import dataclasses
import statistics
import tempfile
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from reid_jax import config as run_config
from reid_jax import parallel
from reid_jax.bench import against, made, retrieval
from reid_jax.bench.embedding import bench_embedding
from reid_jax.bench.gallery import K, bench_gallery
from reid_jax.bench.input import DATASET, bench_input
from reid_jax.bench.tracking import PEOPLE, bench_tracking
from reid_jax.bench.training import bench_training
from reid_jax.cpu import cores
from reid_jax.errors import InputError
from reid_jax.files.json_files import write_json
from reid_jax.files.writing import require_writable
from reid_jax.models.registry import dtype_of
from reid_jax.ranges import whole

EXAMPLES = """\
  reid-jax bench train --config=configs/robust_reid.py:size=1x --against torch torch_compiled
  reid-jax bench train --config=configs/hacnn.py --steps=4 --against=torchreid --json=hacnn.json
  reid-jax bench embed --config=configs/robust_reid.py:size=1x --against onnxruntime openvino
  reid-jax bench data --dataset=market1501 --data_dir=data --config=configs/robust_reid.py:size=nano
  reid-jax bench rank --size=msmt17 --rounds=1
  reid-jax bench rank --against=torchreid
  reid-jax bench verify --size=market1501
  reid-jax bench rerank --rounds=3 --against=torchreid
  reid-jax bench track --people 10 30 100
  reid-jax bench gallery --entries=1000000 --dimensions=256 --against=faiss
Contestants run in turn, round by round; a ratio is the median over the rounds. In `train` a chunk that is not timed
goes before each that is. All devices take part: on a CPU
XLA_FLAGS=--xla_force_host_platform_device_count=2 makes two of it."""

_RETRIEVAL = {
    "rank": (retrieval.bench_rank, "rank made embeddings: CMC, mAP by both rules and mINP, distances included"),
    "verify": (retrieval.bench_verify, "decide same or different over all pairs of made embeddings"),
    "rerank": (retrieval.bench_rerank, "re-rank made embeddings by k-reciprocal encoding, and score"),
}
_CONTESTS = {
    "rank": (retrieval.contest_rank, "also time torchreid (its compiled ranking), distances included"),
    "rerank": (retrieval.contest_rerank, "also time torchreid (NumPy, dense), distances included and no scores"),
}
_PEERS = (
    "torch (eager) and torch_compiled (by torch.compile, which takes minutes), each in both memory layouts, "
    "torchreid (its HA-CNN)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what can be measured, with its options; overrides `--config.KEY=VALUE` pass beside them."""
    actions = parser.add_subparsers(
        dest="work", required=True, metavar="{train,embed,data,rank,verify,rerank,track,gallery}"
    )

    def add(name: str, text: str) -> argparse.ArgumentParser:
        action = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
        action.add_argument(
            "--rounds", type=whole(1, 10_000), default=5, help="counted, after one that is not (default %(default)s)"
        )
        action.add_argument("--json", help="also write the measurement to this file")
        return action

    train = add("train", "train on made images: steps as a run dispatches them, compile time, memory, the host's part")
    _add_config(train)
    text = "in the made training set (default %(default)s)"
    train.add_argument("--identities", type=whole(1, 100_000), default=751, help=text)
    text = "in a dispatch, and in a round (default: config.steps_per_dispatch)"
    train.add_argument("--steps", type=whole(1, 10_000), help=text)
    _add_kernels(train, "a step's")
    text = f"also time {_PEERS}; on the same few batches in memory, normalised and not augmented, which favours them"
    _add_against(train, against.TRAINING, text)

    embed = add("embed", "embed made images: from uint8 to descriptors, both on the host; compile time, memory")
    _add_config(embed)
    embed.add_argument("--images", type=whole(1, 10_000_000), help="in a round (default: what takes about a second)")
    _add_kernels(embed, "a dispatch's")
    text = f"also time {_PEERS}, and onnxruntime and openvino (float32 and bfloat16) on our export of any network; on "
    text += "batches in memory, normalised, which favours them"
    _add_against(embed, against.EMBEDDING, text)

    data = add("data", "read a training split: decoding, the network, both at once, and the sampler")
    data.add_argument("--dataset", default=DATASET, help="(default %(default)s, drawn where it is missing)")
    data.add_argument("--data_dir", default="data", help="the folder that holds the data sets (default %(default)s)")
    data.add_argument("--config", metavar="FILE.py[:ARG]", help="the config of the network (default: one of size nano)")

    for name, (_, text) in _RETRIEVAL.items():
        action = add(name, text)
        action.add_argument("--size", choices=made.SIZES, default="market1501", help="(default %(default)s)")
        _add_dimensions(action)
        if name in _CONTESTS:
            _add_against(action, against.RETRIEVAL, _CONTESTS[name][1])

    track = add("track", "follow made people: the tracker's own work a frame, descriptors given")
    text = f"in sight at once, one or several numbers (default: {' '.join(map(str, PEOPLE))})"
    track.add_argument("--people", type=whole(1, 1000), nargs="+", action="extend", help=text)
    _add_dimensions(track)

    gallery = add("gallery", "fill a gallery with made vectors and search it: time, memory, disk")
    gallery.add_argument("--entries", type=whole(1, 10**9), default=100_000, help="(default %(default)s)")
    gallery.add_argument("--gallery", help="where to make it: a folder or postgresql://… (default: a temporary folder)")
    gallery.add_argument("--approximate", action="store_true", help="on PostgreSQL: build the index and search by it")
    _add_dimensions(gallery)
    _add_against(gallery, against.GALLERY, "also time faiss, its flat index in memory")


def _add_dimensions(action: argparse.ArgumentParser) -> None:
    text = "of a descriptor (default %(default)s)"
    action.add_argument("--dimensions", type=whole(1, 100_000), default=1024, help=text)


def _add_config(action: argparse.ArgumentParser) -> None:
    action.add_argument("--config", metavar="FILE.py[:ARG]", required=True, help="the config of the network and run")


def _add_kernels(action: argparse.ArgumentParser, whose: str) -> None:
    text = f"also print where {whose} time goes, by kinds of kernel, from a profile of one more"
    action.add_argument("--kernels", action="store_true", help=text)


def _add_against(action: argparse.ArgumentParser, peers: tuple[str, ...], text: str) -> None:
    action.add_argument("--against", nargs="+", action="extend", choices=peers, default=[], metavar="PEER", help=text)


def run(args: argparse.Namespace) -> None:
    """Measures, prints, and writes the JSON."""
    if args.json:
        require_writable("--json", args.json)
    if args.overrides and not args.config:
        raise InputError(f"{args.overrides[0]} changes a config, and none is named; give --config=FILE.py too")
    peers = list(dict.fromkeys(getattr(args, "against", [])))
    against.check(peers)
    mesh = parallel.create_mesh()
    print(parallel.describe(mesh) + f", {cores()} cores, jax {jax.__version__}", flush=True)
    if args.work == "track":
        measured = _tracking(args)
    elif args.work == "gallery":
        measured = _gallery(args, peers)
    else:
        measured = _retrieval(args, peers, mesh) if args.work in _RETRIEVAL else _network(args, peers, mesh)
    if args.json:
        here = {"device": mesh.devices.flat[0].device_kind, "devices": mesh.size, "cores": cores()}
        write_json(args.json, {"work": args.work, **here, "jax": jax.__version__, **measured})


def _network(args: argparse.Namespace, peers: list[str], mesh: Mesh) -> dict[str, Any]:
    config = run_config.load(args.config, args.overrides) if args.config else _nano()
    height, width = config.image_size
    settings = {"config": args.config, "overrides": args.overrides, "network": config.model.name}
    settings |= {"dtype": dtype_of(config), "image_size": [height, width]}
    text = f"{args.work:12}{config.model.name}, {dtype_of(config)}, images of {height}x{width}"
    if args.work == "train":
        steps = args.steps or config.steps_per_dispatch
        batch = config.batch.identities * config.batch.images
        print(f"{text}, batches of {batch}, {steps} steps a round, {args.identities} identities", flush=True)
        measured = bench_training(config, args.identities, steps, args.rounds, peers, mesh, args.kernels)
        settings["identities"] = args.identities
    elif args.work == "embed":
        print(text, flush=True)
        measured = bench_embedding(config, args.images, args.rounds, peers, mesh, args.kernels)
    else:
        print(f"{text}, {args.dataset}", flush=True)
        measured = bench_input(config, args.dataset, args.data_dir, args.rounds, mesh)
        settings["dataset"] = args.dataset
    print(measured)
    return settings | measured.figures()


def _tracking(args: argparse.Namespace) -> dict[str, Any]:
    print(f"track: descriptors of {args.dimensions} numbers", flush=True)
    measured = bench_tracking(list(dict.fromkeys(args.people or PEOPLE)), args.dimensions, args.rounds)
    print(measured)
    return measured.figures()


def _gallery(args: argparse.Namespace, peers: list[str]) -> dict[str, Any]:
    print(f"gallery   {args.entries:,} entries x {args.dimensions} numbers, {K} matches a query", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        address = args.gallery or str(Path(folder) / "gallery")
        measured = bench_gallery(address, args.entries, args.dimensions, args.rounds, peers, args.approximate)
    print(measured)
    return measured.figures()


def _nano():
    config = run_config.default()
    config.model.name = "nano"
    return config


def _retrieval(args: argparse.Namespace, peers: list[str], mesh: Mesh) -> dict[str, Any]:
    size = made.SIZES[args.size]
    if args.work == "rerank":
        against.check_reranking(peers, size.queries + size.gallery)
    print(
        f"{args.size}: {size.queries:,} queries x {size.gallery:,} gallery items x {args.dimensions} numbers",
        flush=True,
    )
    embeddings = made.make_embeddings(size, args.dimensions)
    measured = _RETRIEVAL[args.work][0](embeddings, args.rounds, mesh)
    print(f"{args.work:8} {measured}", flush=True)
    report = {"size": dataclasses.asdict(size), "dimensions": args.dimensions}
    report |= {"median_seconds": statistics.median(measured.seconds), **dataclasses.asdict(measured)}
    if peers:
        contest = _CONTESTS[args.work][0](embeddings, args.rounds, mesh)
        print(contest.table())
        report["contestants"] = contest.figures()
    return report
