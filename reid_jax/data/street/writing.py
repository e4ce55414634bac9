"""Writing a set of people in the street to disk, on all cores, complete or not at all."""

import dataclasses
import functools
import json
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator

from reid_jax.cpu import cores
from reid_jax.data.builders.split_folders import FOLDER_OF
from reid_jax.data.street.images import SetImage, file_names, images_of
from reid_jax.data.street.picture import draw_image
from reid_jax.data.street.spec import DRAWING, NAME, StreetPeople
from reid_jax.data.synthetic.drawn import is_of_spec, prune_halves, write_spec
from reid_jax.data.synthetic.workers import command_of, run_jobs
from reid_jax.errors import InputError
from reid_jax.files.writing import new_folder
from reid_jax.progress import progress_bar

LAYOUT_FOLDER = "Market-1501-v15.09.15"

_IN_PROCESS = 200  # below this many images, starting worker processes costs more than it saves
_LINE = 20  # images between two lines of a worker


def _write(spec: StreetPeople, images: Iterable[SetImage], root: pathlib.Path) -> Iterator[None]:
    for image in images:
        picture, quality = draw_image(spec, image.identity, image.camera, image.index)
        picture.save(root / image.path, quality=quality)
        yield None


def _work() -> None:
    """A worker's whole life: a job as JSON on stdin, one line on stdout for each `_LINE` images written."""
    job = json.load(sys.stdin)
    spec = StreetPeople(**job["spec"])
    # All images of an identity in one process, which paints its atlas once.
    images = (image for image in images_of(spec) if image.identity % job["workers"] == job["worker"])
    for count, _ in enumerate(_write(spec, images, pathlib.Path(job["root"])), 1):
        if count % _LINE == 0:
            print(flush=True)


def _finished(spec: StreetPeople, target: pathlib.Path) -> bool:
    """Whether `target` holds this very set with every file of it."""
    root = target / LAYOUT_FOLDER
    if not is_of_spec(spec, DRAWING, target) or not root.is_dir():
        return False
    existing = {f"{folder.name}/{name}" for folder in root.iterdir() if folder.is_dir() for name in os.listdir(folder)}
    return existing.issuperset(file_names(spec))


def prune(folder: str | os.PathLike) -> list[tuple[pathlib.Path, str, int]]:
    """Removes half-drawn sets of dead processes from `folder`: [(their folder, why, bytes)]."""
    return prune_halves(folder, NAME)


def render(spec: StreetPeople, folder: str | os.PathLike, workers: int | None = None) -> pathlib.Path:
    """Writes the whole set below `folder`, unless it is there, and returns the folder that holds it.

    As `reid_jax.data.synthetic.render`: in it lie `spec.json` and `Market-1501-v15.09.15/`, it is complete or absent,
    and the files do not depend on `workers` (by default one a core).

    Raises:
      InputError: `folder` cannot be written.
    """
    target = pathlib.Path(os.path.expanduser(folder)) / spec.folder_name
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; give 1 or more")
    if _finished(spec, target):
        return target
    try:
        with new_folder(target, functools.partial(_finished, spec)) as temporary:
            root = temporary / LAYOUT_FOLDER
            for split_folder in FOLDER_OF.values():
                (root / split_folder).mkdir(parents=True)
            images = list(images_of(spec))
            workers = workers or (cores() if len(images) >= _IN_PROCESS and sys.executable else 1)
            with progress_bar(len(images), "drawing people in the street") as bar:
                if workers == 1:
                    for _ in _write(spec, images, root):
                        bar.update()
                else:
                    job = {"spec": dataclasses.asdict(spec), "root": str(root), "workers": workers}
                    jobs = [job | {"worker": worker} for worker in range(workers)]
                    failure = f"drawing people in the street into {target.parent} failed"
                    run_jobs(command_of(__name__), jobs, lambda _: bar.update(_LINE), failure)
            write_spec(spec, DRAWING, temporary)
    except OSError as error:
        raise InputError(
            f"cannot write people in the street to {target.parent}: {error.strerror or error}; "
            "give a writable folder with room in it"
        ) from error
    return target
