"""The files that scores are made of: ground truth of sequences, and a tracker's results for each."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid_jax.errors import InputError, first_few, shown
from reid_jax.progress import with_progress
from reid_jax.tracking.mot_files import Rows, read_ground_truth, read_results
from reid_jax.tracking.results_file import note_newer_run, partial_of
from reid_jax.tracking.scores import Tracked
from reid_jax.tracking.sequences import GROUND_TRUTH, SEQINFO, is_sequence, read_sequence

_BELOW = f"*/{GROUND_TRUTH}"


@dataclasses.dataclass(frozen=True)
class _Truth:
    name: str
    path: Path
    length: int | None  # frames, where a seqinfo.ini says so


@dataclasses.dataclass(frozen=True)
class Files:
    """The files of one sequence: its ground truth and results, of which `camera`, where it is one, names the rows."""

    truth: _Truth
    results: Path
    camera: int | None = None

    @property
    def inputs(self) -> list[tuple[str, Path]]:
        """Everything that is read, each behind what messages call it: nothing may be written there."""
        name, path = self.truth.name, self.truth.path
        of_sequence = [] if self.truth.length is None else [(f"the {SEQINFO} of {name}", path.parents[1] / SEQINFO)]
        return [(f"the ground truth of {name}", path), (f"the results of {name}", self.results), *of_sequence]


def find_tracked(
    ground_truth: Sequence[str | os.PathLike], results: str | os.PathLike, *, one_scene: bool = False
) -> list[Files]:
    """Finds ground truth and results of sequences, in the order given, those below a folder by name.

    Args:
      ground_truth: sequence folders (with gt/gt.txt; seqinfo.ini is not needed), folders that hold some, or text files.
      results: a folder that holds NAME.txt for each sequence, or the file of the only one.
      one_scene: the sequences are cameras of one scene; `results` may be one file whose eleventh column says which of
        them, counted from 1.

    Raises InputError where one is missing.
    """
    truths = [truth for path in ground_truth for truth in _find(Path(path))]
    results = Path(results)
    if results.is_dir():
        files = [results / f"{truth.name}.txt" for truth in truths]
        _require_files(files)
        return [Files(truth, path) for truth, path in zip(truths, files, strict=True)]
    if len(truths) == 1:
        return [Files(truths[0], results)]
    if one_scene:
        return [Files(truth, results, camera) for camera, truth in enumerate(truths, 1)]
    raise InputError(
        f"there are {len(truths)} sequences ({first_few([truth.name for truth in truths])}), but "
        f"--results={shown(results)} is no folder; give a folder that holds NAME.txt for each"
    )


def read_tracked(found: Sequence[Files]) -> list[Tracked]:
    """Reads what `find_tracked` gives.

    Raises:
      InputError: a file is missing or cannot be taken, or has frames that its sequence does not have.
    """
    return [_read(files, cameras=len(found)) for files in with_progress(found, "reading", "sequences")]


def _find(path: Path) -> list[_Truth]:
    if not path.is_dir():
        # NAME/gt/gt.txt is of the sequence NAME, as its folder would say.
        is_in_sequence = Path(*path.parts[-2:]) == GROUND_TRUTH
        return [_Truth(path.absolute().parents[1].name if is_in_sequence else path.stem, path, None)]
    folders = (
        [path] if (path / GROUND_TRUTH).is_file() else sorted(each.parents[1] for each in path.glob("*/gt/gt.txt"))
    )
    if not folders:
        raise InputError(f"neither {shown(path)} nor a folder in it has {GROUND_TRUTH}; name folders of sequences")
    return [_of_folder(folder) for folder in folders]


def _of_folder(folder: Path) -> _Truth:
    if not is_sequence(folder):
        return _Truth(folder.resolve().name, folder / GROUND_TRUTH, None)
    sequence = read_sequence(folder)
    return _Truth(sequence.name, sequence.ground_truth, sequence.length)


def _require_files(files: Sequence[Path]) -> None:
    missing = [path for path in files if not path.is_file()]
    if not missing:
        return
    begun = [path for path in missing if partial_of(path).exists()]
    if begun:
        raise InputError(f"the run that writes {first_few(begun)} has not ended; run it to its end")
    raise InputError(f"there is no {first_few(missing)}; results of a sequence are in a file of its name")


def _read(files: Files, *, cameras: int) -> Tracked:
    truth, path, camera = files.truth, files.results, files.camera
    people = read_ground_truth(truth.path)
    if camera is None and not path.is_file():
        _require_files([path])
    results = read_results(path)
    note_newer_run(path)
    numbers = np.unique(results.camera)
    if camera is not None:
        if len(results) and not (numbers[0] >= 1 and numbers[-1] <= cameras):
            raise InputError(
                f"{shown(path)} has boxes of the cameras {first_few(numbers.tolist())} in its eleventh column; of "
                f"{cameras} sequences the cameras are 1 to {cameras}"
            )
        results = results.select(results.camera == camera)
    elif len(numbers) > 1:
        raise InputError(
            f"{shown(path)} has boxes of the cameras {first_few(numbers.tolist())}; name all their sequences, and "
            "--one_scene"
        )
    for file, rows in ((truth.path, people), (path, results)):
        _require_frames(truth, file, rows)
    return Tracked(truth.name, people, results)


def _require_frames(truth: _Truth, path: Path, rows: Rows) -> None:
    if truth.length is not None and len(rows) and rows.frame.max() > truth.length:
        raise InputError(
            f"{shown(path)} has boxes in frame {rows.frame.max():,}, but {shown(truth.name)} has {truth.length:,} "
            "frames by its seqinfo.ini"
        )
