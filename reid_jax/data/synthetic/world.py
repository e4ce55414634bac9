"""Worlds of drawn people: writing a set to disk in Market-1501's layout, on all cores, complete or not at all."""

import dataclasses
import functools
import importlib
import json
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from tqdm import tqdm

from reid_jax.cpu import cores
from reid_jax.data.builders.split_folders import FOLDER_OF
from reid_jax.data.synthetic.drawn import is_of_spec, prune_halves, write_spec
from reid_jax.data.synthetic.workers import command_of, run_jobs
from reid_jax.errors import InputError
from reid_jax.files.writing import new_folder
from reid_jax.progress import progress_bar

LAYOUT_FOLDER = "Market-1501-v15.09.15"

_IN_PROCESS = 200  # below this many images, starting worker processes costs more than it saves


class SetImage(Protocol):
    """One image of a set: its path below the layout's folder, and who is on it."""

    path: str
    person: int


@dataclasses.dataclass(frozen=True)
class World:
    """A kind of drawn people.

    Attributes:
      name: of its data set. `title`: how messages call it.
      drawing: the drawing's version.
      module: that has this world as `WORLD`, for processes that draw.
      spec: the dataclass of a set's numbers.
      images_of: all images of a set.
      save: draws one image of a set into a file.
    """

    name: str
    title: str
    drawing: int
    module: str
    spec: type
    images_of: Callable[[Any], Iterator[SetImage]]
    save: Callable[[Any, SetImage, pathlib.Path], None]

    def file_names(self, spec: Any) -> list[str]:
        """The names of a set's files, relative to its `Market-1501-v15.09.15` folder, as drawn."""
        return [image.path for image in self.images_of(spec)]

    def prune(self, folder: str | os.PathLike) -> list[tuple[pathlib.Path, str, int]]:
        """Removes half-drawn sets of dead processes from `folder`: [(their folder, why, bytes)]."""
        return prune_halves(folder, self.name)

    def render(self, spec: Any, folder: str | os.PathLike, workers: int | None = None) -> pathlib.Path:
        """Writes a whole set below `folder`, unless it is there, and returns the folder that holds it.

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
        if self._finished(spec, target):
            return target
        try:
            with new_folder(target, functools.partial(self._finished, spec)) as temporary:
                root = temporary / LAYOUT_FOLDER
                for split_folder in FOLDER_OF.values():
                    (root / split_folder).mkdir(parents=True)
                images = list(self.images_of(spec))
                workers = workers or (cores() if len(images) >= _IN_PROCESS and sys.executable else 1)
                with progress_bar(len(images), f"drawing {self.title}") as bar:
                    if workers == 1:
                        for _ in _write(self, spec, images, root):
                            bar.update()
                    else:
                        self._write_in_workers(spec, root, workers, bar)
                write_spec(spec, self.drawing, temporary)
        except OSError as error:
            raise InputError(
                f"cannot write {self.title} to {target.parent}: {error.strerror or error}; "
                "give a writable folder with room in it"
            ) from error
        return target

    def _write_in_workers(self, spec: Any, root: pathlib.Path, workers: int, bar: tqdm) -> None:
        """Splits the images over processes of their own."""
        job = {"module": self.module, "spec": dataclasses.asdict(spec), "root": str(root), "workers": workers}
        jobs = [job | {"worker": worker} for worker in range(workers)]
        failure = f"drawing {self.title} into {root.parent.parent} failed"
        run_jobs(_work_command(), jobs, lambda _: bar.update(), failure)

    def _finished(self, spec: Any, target: pathlib.Path) -> bool:
        """Whether `target` holds this very set with every file of it."""
        root = target / LAYOUT_FOLDER
        if not is_of_spec(spec, self.drawing, target) or not root.is_dir():
            return False
        existing = {
            f"{folder.name}/{name}" for folder in root.iterdir() if folder.is_dir() for name in os.listdir(folder)
        }
        return existing.issuperset(self.file_names(spec))


def _write(world: World, spec: Any, images: Iterable[SetImage], root: pathlib.Path) -> Iterator[None]:
    for image in images:
        world.save(spec, image, root / image.path)
        yield None


def _work() -> None:
    """A worker's whole life: a job as JSON on stdin, one line on stdout for each image written."""
    job = json.load(sys.stdin)
    world: World = importlib.import_module(job["module"]).WORLD
    spec = world.spec(**job["spec"])
    # All images of a person in one process, which then prepares the person once.
    own = (image for image in world.images_of(spec) if image.person % job["workers"] == job["worker"])
    for _ in _write(world, spec, own, pathlib.Path(job["root"])):
        print(flush=True)


def _work_command() -> list[str]:
    return command_of(__name__)
