r"""`reid-jax gallery add`."""

import argparse
from pathlib import Path

from reid_jax import parallel
from reid_jax.data.builders.files import left_out_note
from reid_jax.data.image_files import find_images
from reid_jax.descriptors import read_descriptors
from reid_jax.errors import InputError, first_few
from reid_jax.export.reading import describer_of, open_weights
from reid_jax.extractor import Extractor
from reid_jax.gallery import Gallery, open_gallery
from reid_jax.gallery.adding import AddedImages, add_descriptors, add_images
from reid_jax.gallery.kind import Kind
from reid_jax.gallery.labels import Labels, labels_of, read_table, rows_of
from reid_jax.gallery.times import seconds_of
from reid_jax.processes import joining
from reid_jax.progress import progress_bar
from reid_jax.tracking.calibration import read_calibration
from reid_jax.verbs.gallery.options import add_gallery

HELP = "add images that are not there yet; the same command goes on where it was stopped"
EXAMPLES = r"""  reid-jax gallery add --weights=zoo:street --images=crops
  reid-jax gallery add --weights=runs/1x --images=door.zip --camera=door --time=2026-11-29T14:30 --tag visitor
  reid-jax gallery add --weights=runs/1x --images=market/bounding_box_test --calibration=thresholds.json \
    --pattern='(?P<person>-?\d+)_c(?P<camera>\d)s\d_(?P<time>\d+)_.*'
  reid-jax gallery add --embeddings=crops.npz --facts=facts.csv --gallery=postgresql://reid@server/people
facts.csv has a column name, and any of person, camera, time, tags (with | between them). An image is known by its name
below --images and its content: adding a folder twice adds nothing. Several processes share the images out (launch/)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_gallery(parser)
    parser.add_argument("--weights", help="a run's workdir, a .safetensors file, an exported one or zoo:NAME")
    parser.add_argument("--images", help="person crops: a folder or a zip, searched with its subfolders, or one image")
    parser.add_argument("--embeddings", help="instead of both: descriptors that reid-jax embed or join wrote (.npz)")
    parser.add_argument("--flip", action="store_true", help="average each descriptor with its mirror image's")
    parser.add_argument("--no_crops", action="store_true", help="keep no small picture of each image")
    parser.add_argument("--calibration", help="thresholds of these weights, from `reid-jax track calibrate --json`")
    facts = parser.add_argument_group("what is known of the images", "of all, by their names, or by a table")
    facts.add_argument("--person", default="", help="who all of them show")
    facts.add_argument("--camera", default="", help="which camera took all of them")
    facts.add_argument("--time", help="when: 2026-11-29T14:30 (UTC), or with an offset +01:00, or seconds since 1970")
    facts.add_argument("--tag", nargs="+", action="extend", default=[], help="words to find them by")
    facts.add_argument("--pattern", default="", help="a regular expression with groups person, camera, time, tag")
    facts.add_argument("--time_format", default="", help="of the times by name or table, such as %%Y%%m%%d-%%H%%M%%S")
    facts.add_argument("--facts", help="a .csv file: name, person, camera, time, tags")


def run(args: argparse.Namespace) -> None:
    """Adds them, and prints how many were new."""
    if bool(args.embeddings) == bool(args.images) or (args.images and not args.weights):
        raise InputError("give --weights and --images, or --embeddings alone")
    calibration = read_calibration(args.calibration) if args.calibration else None
    of_all = Labels(args.camera, seconds_of(args.time) if args.time else None, args.person, tuple(args.tag))
    table = read_table(Path(args.facts)) if args.facts else None

    def labels(names: list[str]) -> tuple[list[Labels], list[str]]:
        """The labels of each, and the digests that the table gives."""
        rows = [] if table is None else rows_of(names, table)
        digests = [row.get("digest", "") for row in rows] or [""] * len(names)
        return labels_of(names, of_all, args.pattern, args.time_format, rows), digests

    if args.embeddings:
        descriptors = read_descriptors(args.embeddings)
        known, digests = labels(descriptors.name.tolist())
        kind = Kind(descriptors.weights, descriptors.streams)
        with open_gallery(args.gallery, kind, create=True) as gallery:
            if calibration:
                gallery.attach(calibration)
            with progress_bar(len(descriptors), "add", "vectors") as bar:
                added = add_descriptors(gallery, descriptors, known, digests, lambda added: _advance(bar, added))
            _tell(gallery, added)
        return
    process, processes = joining.join_several()
    tree, images, left_out = find_images(Path(args.images))
    names = [entry.name for entry in images]
    known = dict(zip(names, labels(names)[0], strict=True))
    extractor = Extractor(describer_of(open_weights(args.weights), parallel.create_local_mesh()), flip=args.flip)
    mine = names[process::processes]
    with open_gallery(args.gallery, extractor, create=True) as gallery:
        if calibration:
            gallery.attach(calibration)
        with tree.reader() as read, progress_bar(len(mine), "add") as bar:
            added = add_images(
                gallery,
                extractor,
                mine,
                read,
                labels=known.__getitem__,
                crops=not args.no_crops,
                report=lambda added: _advance(bar, added),
            )
        joining.meet()  # process 0 speaks for the others as long as it runs
        _tell(gallery, added, f"process {process} of {processes}: " if processes > 1 else "")
    if left_out:
        print(left_out_note(left_out))
    if added.broken:
        broken = [f"{name} ({reason})" for name, reason in sorted(added.broken.items())]
        raise InputError(
            f"{len(broken):,} of {len(mine):,} images in {tree.location()} cannot be decoded: {first_few(broken)}; the "
            "others are in the gallery"
        )


def _advance(bar, added: AddedImages) -> None:
    bar.update(added.done - bar.n)


def _tell(gallery: Gallery, added: AddedImages, which: str = "") -> None:
    print(f"{which}{added.new:,} added, {added.known:,} known already; {gallery.count():,} in {gallery.address}")
