"""`reid-jax track room`: a room of a data set's images, to try re-entry on."""

import argparse
import dataclasses

from reid_jax.data.builders.source import GALLERY, TRAIN
from reid_jax.data.datasets import DATASETS, find_source
from reid_jax.errors import InputError
from reid_jax.files.writing import require_writable_folder
from reid_jax.ranges import whole
from reid_jax.tracking import crop_room

HELP = "make a room of a data set's images: its people come, leave and come back before others of its cameras"
EXAMPLES = """\
  reid-jax track room --dataset=market1501 --data_dir=data --out=data/room1 --seed=1
  reid-jax track reenter data/room1/c? --cut_truth --weights=runs/1x --threshold=0.9 --results=people.txt
A threshold is found on people of the training split, those that a run with val_identities=50 did not train on:
  reid-jax track room --dataset=market1501 --data_dir=data --out=data/other --split=train --held_out=50 --people=50
  reid-jax track calibrate data/other/c? --weights=runs/1x
Frames show crops side by side, and there are no detections: nobody can be followed, only known again. Of Market-1501
they show real people: for research, and not to be passed on."""

_MEANING = {
    "people": "people, of whom two cameras or more have images",
    "at_once": "of them in the room at once, at most",
    "away": "seconds that somebody stays away, on average",
    "frame_rate": "images a second",
    "seed": "of everything that is drawn",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--dataset", required=True, help=f"one of {', '.join(DATASETS)}")
    parser.add_argument("--data_dir", required=True, help="folder that holds the data set")
    parser.add_argument("--split", default=GALLERY, help="whose people come (default %(default)s)")
    parser.add_argument(
        "--held_out",
        type=whole(1, 10**6),
        help="with --split=train: only the people whom a run with so many val_identities holds out",
    )
    parser.add_argument("--out", required=True, help="the folder to write, which is not there yet")
    for field in dataclasses.fields(crop_room.CropRoom):
        allowed = crop_room.RANGES[field.name]
        text = f"{_MEANING[field.name]}; {allowed} ({field.default})"
        parser.add_argument(f"--{field.name}", type=allowed, default=field.default, help=text)


def run(args: argparse.Namespace) -> None:
    """Writes the room."""
    require_writable_folder("--out", args.out)
    source = find_source(args.dataset, args.data_dir)
    if args.split not in source.splits:
        raise InputError(f"--split is {args.split}; {source.name} has {', '.join(source.splits)}")
    files = crop_room.people_of(source, args.split)
    if args.held_out is not None:
        if args.split != TRAIN:
            raise InputError(f"--held_out is of the people of {TRAIN}; give --split={TRAIN}, or leave it out")
        files = crop_room.held_out(files, args.held_out)
    room = crop_room.CropRoom(
        **{field.name: getattr(args, field.name) for field in dataclasses.fields(crop_room.CropRoom)}
    )
    sequences = crop_room.write(room, source, files, args.out)
    print(f"{args.out}: {room.people:,} people before {len(sequences)} cameras, {sequences[0].length:,} frames each")
