"""Writing a set of synthetic people to disk, on all cores, complete or not at all."""

import dataclasses
import functools
import json
import os
import pathlib
import sys
from collections.abc import Iterator

from tqdm import tqdm

from reid_jax.cpu import cores
from reid_jax.data.builders.split_folders import FOLDER_OF
from reid_jax.data.synthetic.cameras import create_camera
from reid_jax.data.synthetic.drawn import is_of_spec, prune_halves, write_spec
from reid_jax.data.synthetic.images import SetImage, file_names, images_of
from reid_jax.data.synthetic.picture import draw_image
from reid_jax.data.synthetic.spec import DRAWING, NAME, SyntheticPeople
from reid_jax.data.synthetic.workers import command_of, run_jobs
from reid_jax.errors import InputError
from reid_jax.files.writing import new_folder
from reid_jax.progress import progress_bar

LAYOUT_FOLDER = "Market-1501-v15.09.15"

_IN_PROCESS = 200  # below this many images, starting worker processes costs more than it saves


def _write(spec: SyntheticPeople, images: list[SetImage], root: pathlib.Path) -> Iterator[None]:
    for image in images:
        picture = draw_image(spec, image.person, image.camera, image.index)
        picture.save(root / image.path, quality=create_camera(spec, image.camera).quality)
        yield None


def _work() -> None:
    """A worker's whole life: a job as JSON on stdin, one line on stdout for each image written."""
    job = json.load(sys.stdin)
    spec = SyntheticPeople(**job["spec"])
    images = list(images_of(spec))[job["worker"] :: job["workers"]]
    for _ in _write(spec, images, pathlib.Path(job["root"])):
        print(flush=True)


def _work_command() -> list[str]:
    return command_of(__name__)


def _write_in_workers(spec: SyntheticPeople, root: pathlib.Path, workers: int, bar: tqdm) -> None:
    """Splits the images over processes of their own."""
    job = {"spec": dataclasses.asdict(spec), "root": str(root), "workers": workers}
    failure = f"drawing synthetic people into {root.parent.parent} failed"
    run_jobs(_work_command(), [job | {"worker": worker} for worker in range(workers)], lambda _: bar.update(), failure)


def _finished(spec: SyntheticPeople, target: pathlib.Path) -> bool:
    """Whether `target` holds this very set with every file of it."""
    if not is_of_spec(spec, DRAWING, target):
        return False
    root = target / LAYOUT_FOLDER
    if not root.is_dir():
        return False
    existing = {f"{folder.name}/{name}" for folder in root.iterdir() if folder.is_dir() for name in os.listdir(folder)}
    return existing.issuperset(file_names(spec))


def prune(folder: str | os.PathLike) -> list[tuple[pathlib.Path, str, int]]:
    """Removes half-drawn sets of dead processes from `folder`: [(their folder, why, bytes)]."""
    return prune_halves(folder, NAME)


def render(spec: SyntheticPeople, folder: str | os.PathLike, workers: int | None = None) -> pathlib.Path:
    """Writes the whole set below `folder`, unless it is there, and returns the folder that holds it.

    Every number of `spec` is in that folder's name; in it lie `spec.json` and `Market-1501-v15.09.15/`, so
    that it serves as the `data_dir` of `market1501`. Files are drawn into a temporary folder, which is then
    renamed: an interrupted drawing leaves nothing that a later run reads. The files do not depend on
    `workers` (by default one a core).

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
            with progress_bar(len(images), "drawing synthetic people") as bar:
                if workers == 1:
                    for _ in _write(spec, images, root):
                        bar.update()
                else:
                    _write_in_workers(spec, root, workers, bar)
            write_spec(spec, DRAWING, temporary)
    except OSError as error:
        raise InputError(
            f"cannot write synthetic people to {target.parent}: {error.strerror or error}; "
            "give a writable folder with room in it"
        ) from error
    return target
