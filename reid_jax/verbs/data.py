"""`reid-jax data`: check a data set, prepare its records, draw synthetic people and scenes."""

import argparse
import dataclasses
import os
import time

from reid_jax.data import check as check_module
from reid_jax.data import datasets, street, synthetic
from reid_jax.data.builders import records
from reid_jax.errors import InputError
from reid_jax.files.json_files import write_json
from reid_jax.files.writing import require_writable, require_writable_folder
from reid_jax.progress import tell
from reid_jax.ranges import whole
from reid_jax.tracking import scene

_NUMBER = whole(0, 10**9)  # the least of each field, and the most together, are checked by `SyntheticPeople`

# The worlds that people are drawn in, and the numbers of a set of each.
_WORLDS = {synthetic.NAME: (synthetic, synthetic.SyntheticPeople), street.NAME: (street, street.StreetPeople)}

# What the options of a scene mean, where the field's name does not say it.
_OF_SCENE = {
    "people": "people who come and go",
    "at_once": "of them in the room at once, at most",
    "away": "seconds that somebody stays away, on average",
    "frames": "images of each camera",
    "frame_rate": "images a second",
    "height": "of an image in pixels",
    "width": "of an image in pixels",
    "miss_rate": "share of people in full view that no detection shows; of hidden ones more are missed",
    "false_rate": "detections of nobody in an image, on average",
    "jitter": "standard deviation of a detection's edges, as a share of its size",
    "first_identity": "the first person looks like this one of the synthetic people of the same seed",
}

EXAMPLES = """\
  reid-jax data check --dataset=market1501 --data_dir=data
  reid-jax data prepare --dataset=market1501+dukemtmcreid --data_dir=data
  reid-jax data prepare --data_dir=data --prune
  reid-jax data synthesize --out=data --train_identities=150 --test_identities=100
  reid-jax data synthesize --world=street --out=data --train_identities=400
  reid-jax data synthesize --scene --out=data --people=8 --cameras=4 --seed=1
  reid-jax data check --dataset=synthetic:train_identities=150,test_identities=100 --data_dir=data"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions check, prepare and synthesize with their flags."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{check,prepare,synthesize}")
    check = actions.add_parser("check", help="compare what is there with what should be; exit code 1 if unsound")
    prepare = actions.add_parser("prepare", help="write the records that training and evaluation read")
    for action in (check, prepare):
        known = ", ".join(datasets.DATASETS)
        action.add_argument("--dataset", required=action is check, help=f"one of {known}, or several joined by '+'")
        action.add_argument("--data_dir", required=True, help="folder that holds the data set")
    prepare.add_argument(
        "--prune",
        action="store_true",
        help="then remove from that folder, with or without --dataset, records of older versions of its data sets and "
        "what killed processes left; not while runs read it",
    )
    check.add_argument("--json", help="also write the report to this file")
    synthesize = actions.add_parser(
        "synthesize", help="draw synthetic people in Market-1501's layout, or a scene of them in MOTChallenge's"
    )
    synthesize.add_argument("--out", required=True, help="folder to write the set below")
    synthesize.add_argument(
        "--scene", action="store_true", help="people who walk through a room, before cameras in its corners, instead"
    )
    synthesize.add_argument(
        "--world",
        choices=list(_WORLDS),
        help=f"{synthetic.NAME}: quick to learn; {street.NAME}: as much like real people as can be ({synthetic.NAME})",
    )
    people, rooms = (_defaults(each) for each in (synthetic.SyntheticPeople, scene.SyntheticScene))
    in_street = _defaults(street.StreetPeople)
    for name, default in people.items():
        others = [f"{in_street[name]} in the street"] if in_street[name] != default else []
        others += [f"{rooms[name]} with --scene"] if name in rooms else []
        text = f"{_words(name)} ({'; '.join([str(default), *others])})"
        synthesize.add_argument(f"--{name}", type=_NUMBER, help=text)
    for name, default in rooms.items():
        if name not in people:
            text = f"with --scene: {_OF_SCENE[name]}; {scene.RANGES[name]} ({default})"
            synthesize.add_argument(f"--{name}", type=scene.RANGES[name], help=text)


def _defaults(spec: type) -> dict[str, float]:
    return {field.name: field.default for field in dataclasses.fields(spec)}


def _words(name: str) -> str:
    return name.replace("_", " ")


def _check(args: argparse.Namespace) -> int:
    if args.json:
        require_writable("--json", args.json)
    reports = []
    for name in datasets.check_name(args.dataset):
        reports.append(check_module.check(name, args.data_dir))
        print(reports[-1].table(), flush=True)
    if args.json:
        written = [
            dataclasses.asdict(report) | {"sound": report.sound, "verdict": report.verdict} for report in reports
        ]
        write_json(args.json, written[0] if len(written) == 1 else written)
    return 0 if all(report.sound for report in reports) else 1


def _prepare(args: argparse.Namespace) -> int:
    if not args.dataset and not args.prune:
        raise InputError("data prepare takes --dataset=NAME, --prune or both")
    for name in datasets.check_name(args.dataset) if args.dataset else ():
        started = time.perf_counter()
        source = datasets.find_source(name, args.data_dir)
        counts, size, place = [], 0, None
        for split in source.splits:
            prepared = records.prepare(source, split, args.data_dir)
            place = prepared.folder.parent
            size += sum(file.stat().st_size for file in prepared.folder.rglob("*") if file.is_file())
            counts.append(f"{split} {len(prepared.files):,}")
        for note in source.notes_so_far():
            tell(f"{source.name} in {source.location}: {note}")
        seconds = time.perf_counter() - started
        print(f"{source.name}: {', '.join(counts)}; {size / 2**20:.1f} MiB in {place}; {seconds:.1f} s", flush=True)
    if args.prune:
        _prune(args.data_dir)
    return 0


def _prune(data_dir: str) -> None:
    if not os.path.exists(os.path.expanduser(data_dir)):
        raise InputError(f"--data_dir is {data_dir}, which does not exist; name the folder that holds the data sets")
    pruned = records.prune(data_dir) + synthetic.prune(data_dir) + street.prune(data_dir) + scene.prune(data_dir)
    for folder, why, size in pruned:
        print(f"removed {folder}, {why}: {size / 2**20:.1f} MiB")
    print(f"removed {len(pruned)} folder(s) of {data_dir}, {sum(size for *_, size in pruned) / 2**20:.1f} MiB")


def _synthesize(args: argparse.Namespace) -> int:
    if args.scene and args.world:
        raise InputError(f"--world={args.world} goes without --scene; see data synthesize --help")
    world, people = _WORLDS[args.world or synthetic.NAME]
    kind, other = people, scene.SyntheticScene
    if args.scene:
        kind, other = other, kind
    given = {name: getattr(args, name) for name in {**_defaults(kind), **_defaults(other)}}
    given = {name: value for name, value in given.items() if value is not None}
    if foreign := [f"--{name}" for name in given if name not in _defaults(kind)]:
        raise InputError(f"{foreign[0]} goes {'without' if args.scene else 'with'} --scene; see data synthesize --help")
    spec = kind(**given)
    require_writable_folder("--out", args.out)
    started = time.perf_counter()
    if args.scene:
        sequences = scene.render(spec, args.out)
        seconds = time.perf_counter() - started
        print(f"{spec.frames * spec.cameras:,} images in {sequences[0].folder.parent}; {seconds:.1f} s")
        print("\n".join(f"sequence: {sequence.folder}" for sequence in sequences))
        return 0
    folder = world.render(spec, args.out)
    seconds = time.perf_counter() - started
    print(f"{len(world.file_names(spec)):,} images in {folder}; {seconds:.1f} s")
    numbers = ",".join(f"{field}={value}" for field, value in dataclasses.asdict(spec).items())
    print(f"use: --dataset={world.NAME}:{numbers} --data_dir={args.out}")
    return 0


def run(args: argparse.Namespace) -> int:
    """Runs the chosen action and returns the exit code; `check` of an unsound data set gives 1.

    Raises:
      InputError: bad arguments, or what the action finds wrong.
    """
    return {"check": _check, "prepare": _prepare, "synthesize": _synthesize}[args.action](args)
