"""`reid-jax visualize`: one page of an evaluation, or a single picture."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid_jax import parallel, visualize
from reid_jax.data.builders.source import Source
from reid_jax.data.split import StoredSplit, open_sources, open_splits
from reid_jax.describe import Encoder
from reid_jax.embed import embed_items
from reid_jax.errors import InputError
from reid_jax.evaluate import Evaluation, evaluate
from reid_jax.files.writing import require_writable
from reid_jax.ranges import whole
from reid_jax.training.metric_writer import read_records
from reid_jax.verbs.protocol import (
    SEED,
    add_protocol,
    add_query_height,
    check_heights,
    heights_of,
    open_test,
    protocol_of,
    score_heights,
    sources_to_score,
)
from reid_jax.visualize import embedding_map, page
from reid_jax.visualize.drawing import require
from reid_jax.visualize.ranked import ORDERS
from reid_jax.weights import Weights, load_weights

EXAMPLES = """\
  reid-jax visualize page --weights=runs/quickstart --out=quickstart.html
  reid-jax visualize ranked --weights=runs/quickstart --out=worst.png --order=worst
  reid-jax visualize page --help"""

_COUNT = whole(1, 10_000)  # of what a picture shows

# Each action: what its help says, and its examples.
ACTIONS = {
    "page": (
        "write one HTML page: metrics, curves, ranked results, attention, embedding map, training",
        """\
  reid-jax visualize page --weights=runs/quickstart --out=quickstart.html
  reid-jax visualize page --weights=runs/1x --out=market.html --dataset=market1501 --data_dir=data --rows=10
  reid-jax visualize page --weights=runs/1x --out=far.html --query_height=80,40,20
  reid-jax visualize page --weights=runs/1x --out=reranked.html --flip --rerank""",
    ),
    "ranked": (
        "draw queries with their nearest gallery images; JSON and CSV with the names beside it",
        """\
  reid-jax visualize ranked --weights=runs/quickstart --out=ranked.png
  reid-jax visualize ranked --weights=runs/quickstart --out=worst.png --order=worst --rows=20 --top=15""",
    ),
    "attention": (
        "draw soft-attention maps and hard-attention regions over images; JSON with the numbers beside it",
        """\
  reid-jax visualize attention --weights=runs/quickstart --out=attention.png
  reid-jax visualize attention --weights=runs/1x --out=attention.png --split=gallery --rows=12 --seed=1""",
    ),
    "map": (
        "draw descriptors on a plane (t-SNE); JSON and CSV with the coordinates beside it",
        """\
  reid-jax visualize map --weights=runs/quickstart --out=map.png
  reid-jax visualize map --weights=runs/quickstart --out=cameras.png --color=camera
  reid-jax visualize map --weights=runs/1x --out=map.png --items=2000 --identities=40""",
    ),
    "curves": (
        "draw CMC and ROC curves of one or several weights; JSON with the points beside it",
        """\
  reid-jax visualize curves --weights=runs/quickstart --out=curves.png
  reid-jax visualize curves --weights runs/1x runs/2x --out=curves.png --dataset=market1501 --data_dir=data""",
    ),
    "training": (
        "draw the training curves of one or several runs",
        """\
  reid-jax visualize training --workdir=runs/quickstart --out=training.png
  reid-jax visualize training --workdir runs/1x runs/2x --out=training.png""",
    ),
}

# The endings of what each action writes: --out, and what stands beside it.
FILES = {
    "page": (".html",),
    "ranked": (".png", ".json", ".csv"),
    "attention": (".png", ".json"),
    "map": (".png", ".json", ".csv"),
    "curves": (".png", ".json"),
    "training": (".png",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions with their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar=f"{{{','.join(ACTIONS)}}}")
    parsers = {}
    for name, (text, examples) in ACTIONS.items():
        parsers[name] = action = actions.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name != "training":
            several = {"nargs": "+"} if name == "curves" else {}
            action.add_argument(
                "--weights", required=True, help="a run's workdir or a .safetensors file", metavar="RUN", **several
            )
            action.add_argument("--dataset", help="default: the one that the weights were trained for")
            action.add_argument("--data_dir", help="the folder that holds the data sets; default: the run's")
        file = "the .html file to write" if name == "page" else "the .png file to write"
        action.add_argument("--out", required=True, help=file)
    parsers["training"].add_argument("--workdir", required=True, nargs="+", metavar="RUN", help="workdirs of runs")

    parsers["page"].add_argument(
        "--rows",
        type=_COUNT,
        default=page.ROWS,
        help="queries in each list: worst, best and random (default %(default)s)",
    )
    add_query_height(parsers["page"])
    parsers["ranked"].add_argument("--rows", type=_COUNT, default=10, help="queries shown (default %(default)s)")
    parsers["ranked"].add_argument("--order", choices=ORDERS, default="random", help="which queries, by AP")
    parsers["attention"].add_argument("--rows", type=_COUNT, default=6, help="images shown (default %(default)s)")
    parsers["attention"].add_argument(
        "--split", default="query", help="where they are drawn from: query, gallery, train (default %(default)s)"
    )
    for name in ("page", "ranked"):
        parsers[name].add_argument("--top", type=_COUNT, default=10, help="results of a query (default %(default)s)")
    for name in ("page", "map"):
        parsers[name].add_argument(
            "--items",
            type=whole(embedding_map.LEAST_ITEMS, 100_000),
            default=embedding_map.ITEMS,
            help="descriptors in the map (default %(default)s)",
        )
    parsers["map"].add_argument(
        "--identities",
        type=whole(0, 100_000),
        default=embedding_map.IDENTITIES,
        help="of which in colour (default %(default)s)",
    )
    parsers["map"].add_argument(
        "--color", choices=embedding_map.COLOR_BY, default="identity", help="what the colours tell (default identity)"
    )
    for name in ("attention", "map"):
        parsers[name].add_argument("--seed", type=SEED, default=0, help="of what is drawn at random (default 0)")
    for name in ("page", "ranked", "curves"):
        # Its --seed draws the random queries and the items of the map, too.
        add_protocol(parsers[name].add_argument_group("protocol", "as in reid-jax evaluate"))


def run(args: argparse.Namespace) -> None:
    """Runs the chosen action; what is wrong with its options is told before anything is computed."""
    ending, *beside = FILES[args.action]
    require_writable("--out", args.out, ending)
    for ending in beside:
        require_writable(f"what is written beside --out={args.out}", Path(args.out).with_suffix(ending))
    if args.action != "ranked":
        require("matplotlib")
    if args.action in ("page", "map"):
        require("scikit-learn")
    {
        "page": _page,
        "ranked": _ranked,
        "attention": _attention,
        "map": _map,
        "curves": _curves,
        "training": _training,
    }[args.action](args)


def _page(args: argparse.Namespace) -> None:
    heights = heights_of(args)
    weights, encoder, name, query, gallery, evaluation = _evaluate(args, args.weights, heights)
    height, width = weights.config.image_size
    lowered = score_heights(encoder, query, evaluation, heights)
    workdir = Path(args.weights) if Path(args.weights).is_dir() else Path(args.weights).parent
    records = read_records(workdir / "metrics.jsonl")
    visualize.write_page(
        args.out,
        evaluation,
        query,
        gallery,
        title=f"{labels([args.weights])[0]} on {name.partition(':')[0]}",  # its options stand below
        facts={
            "Weights": args.weights,
            "Network": f"{weights.config.model.name}, images of {height}x{width}",
            "Data set": name,
        },
        encoder=encoder,
        runs={workdir.resolve().name: records} if records else None,
        by_height={height: evaluation.metrics, **lowered} if lowered else None,
        rows=args.rows,
        top=args.top,
        items=args.items,
        seed=args.seed,
    )
    print(f"{args.out}: {Path(args.out).stat().st_size / 2**20:.1f} MiB, all in one file")


def _ranked(args: argparse.Namespace) -> None:
    *_, query, gallery, evaluation = _evaluate(args, args.weights)
    shown = visualize.draw_sheet(
        args.out, query, gallery, evaluation, rows=args.rows, order=args.order, seed=args.seed, top=args.top
    )
    print(f"{args.out}: {shown} queries and their {min(args.top, len(evaluation.gallery))} nearest; JSON and CSV")


def _attention(args: argparse.Namespace) -> None:
    weights = load_weights(args.weights)
    data_dir = args.data_dir or weights.config.data_dir
    size = weights.config.image_size
    if args.split == "train":
        dataset = args.dataset or weights.config.dataset
        (images,) = open_splits(dataset, [args.split], data_dir, size)
    else:
        source = _source(args, weights, data_dir)
        dataset = source.name
        (images,) = open_sources([source], [args.split], data_dir, size)
    rng = np.random.default_rng(args.seed)
    rows = np.sort(rng.choice(len(images), min(args.rows, len(images)), replace=False))
    shown = visualize.attend(Encoder.of(weights, parallel.one_device()), images, rows)
    visualize.write_attention(args.out, shown)
    print(f"{args.out}: {len(shown)} images of {dataset} {args.split}; JSON")


def _map(args: argparse.Namespace) -> None:
    weights = load_weights(args.weights)
    encoder = Encoder.of(weights, parallel.create_mesh())
    data_dir = args.data_dir or weights.config.data_dir
    source = _source(args, weights, data_dir)
    sides = open_sources([source], ["query", "gallery"], data_dir, weights.config.image_size)
    chosen = {"items": args.items, "identities": args.identities, "seed": args.seed}
    colored = None
    if all((side.tracklet < 0).all() for side in sides):
        # Only what the map shows is embedded. The items of tracklets are known once their frames are pooled.
        rows, colored = embedding_map.choose_items(sides[0].identity, sides[1].identity, **chosen)
        count = len(sides[0])
        sides = [sides[0].select(rows[rows < count]), sides[1].select(rows[rows >= count] - count)]
    query, gallery = (
        embed_items(encoder, side, progress=f"embedding {name}")
        for side, name in zip(sides, ("query", "gallery"), strict=True)
    )
    if colored is None:
        shown = visualize.map_items(query, gallery, **chosen)
    else:
        shown = embedding_map.place_items(query, gallery, colored, args.seed)
    visualize.write_map(args.out, shown, args.color)
    print(f"{args.out}: {len(shown):,} descriptors of {source.name} by {args.color}; JSON and CSV")


def _curves(args: argparse.Namespace) -> None:
    evaluations = {}
    for label, path in zip(labels(args.weights), args.weights, strict=True):
        _, _, name, _, _, evaluations[label] = _evaluate(args, path)
        print(f"{label} on {name}: {evaluations[label].protocol}")
    visualize.write_curves(args.out, evaluations)
    print(f"{args.out}: CMC and ROC of {', '.join(evaluations)}; JSON")


def _training(args: argparse.Namespace) -> None:
    runs = {}
    for label, path in zip(labels(args.workdir), args.workdir, strict=True):
        file = Path(path) / "metrics.jsonl"
        if not file.is_file():
            raise InputError(f"{path} has no metrics.jsonl; name the workdir of a run that has begun")
        runs[label] = read_records(file)
    visualize.training_curves(args.out, runs)
    print(f"{args.out}: {', '.join(runs)}")


def labels(paths: Sequence[str]) -> list[str]:
    """Names the runs and weight files in a legend: their own names, as much of the path before as tells them apart.

    Raises InputError where one is named twice.
    """
    parts = [Path(str(Path(path).resolve()).removesuffix(".safetensors")).parts for path in paths]
    if len(set(parts)) < len(parts):
        raise InputError(f"{', '.join(paths)}: one of these is named twice; name each once")
    longest = max(map(len, parts))
    for length in range(1, longest + 1):
        names = ["/".join(one[-length:]) for one in parts]
        if len(set(names)) == len(names):
            break
    return names


def _source(args: argparse.Namespace, weights: Weights, data_dir: str) -> Source:
    """The only data set to draw; raises InputError where there are several."""
    sources = sources_to_score(weights, [args.dataset] if args.dataset else None, data_dir)
    if len(sources) > 1:
        names = ", ".join(source.name for source in sources)
        raise InputError(f"{names} are several data sets; a picture shows one: choose with --dataset")
    return sources[0]


def _evaluate(
    args: argparse.Namespace, path: str, heights: Sequence[int] = ()
) -> tuple[Weights, Encoder, str, StoredSplit, StoredSplit, Evaluation]:
    """Scores the weights at `path`: (weights, encoder, name of the data set, query, gallery, evaluation).

    That the queries can be scaled down to `heights` is checked before.
    """
    protocol = protocol_of(args)
    weights = load_weights(path)
    check_heights(heights, path, weights)
    data_dir = args.data_dir or weights.config.data_dir
    source = _source(args, weights, data_dir)
    query, gallery, pooled = open_test(source, data_dir, weights.config.image_size, protocol)
    encoder = Encoder.of(weights, parallel.create_mesh())
    evaluation = evaluate(encoder, query, gallery, protocol=protocol, multi_query=pooled, progress=True)
    return weights, encoder, source.name, query, gallery, evaluation
