"""Writing a synthetic scene to disk, a MOTChallenge folder a camera, on all cores, complete or not at all."""

import dataclasses
import functools
import json
import os
import pathlib
import sys
from collections.abc import Iterator

from reid_jax.cpu import cores
from reid_jax.data.synthetic.drawn import is_of_spec, prune_halves, write_spec
from reid_jax.data.synthetic.workers import command_of, run_jobs
from reid_jax.errors import InputError
from reid_jax.files.writing import new_folder
from reid_jax.progress import progress_bar
from reid_jax.tracking.mot_files import PEDESTRIAN, Rows, write_detections, write_ground_truth
from reid_jax.tracking.scene.detections import draw_detections
from reid_jax.tracking.scene.frame import Stage
from reid_jax.tracking.scene.spec import DRAWING, NAME, SyntheticScene, sequence_name
from reid_jax.tracking.scene.walks import draw_visits
from reid_jax.tracking.sequences import Sequence, write_seqinfo

_IN_PROCESS = 100  # below this many images, starting worker processes costs more than it saves


def sequences_of(spec: SyntheticScene, folder: pathlib.Path) -> list[Sequence]:
    """The sequences below `folder`, one a camera; they need not be there."""
    names = [sequence_name(spec, camera) for camera in range(1, spec.cameras + 1)]
    return [Sequence(folder / name, name, spec.frame_rate, spec.frames, (spec.height, spec.width)) for name in names]


def _write_images(spec: SyntheticScene, root: pathlib.Path, worker: int, workers: int) -> Iterator[dict]:
    """Writes a worker's share of the images, and gives what is on each, as JSON holds it."""
    visits = draw_visits(spec)
    frames = range(1 + worker, spec.frames + 1, workers)
    for camera, sequence in enumerate(sequences_of(spec, root), 1):
        stage = Stage(spec, visits, camera)
        for frame in frames:
            image, truth = stage.draw(frame)
            image.save(sequence.image(frame), quality=stage.quality)
            boxes, confidences = draw_detections(spec, stage, camera, frame, truth)
            yield {
                "camera": camera,
                "frame": frame,
                "people": [(each.person, *each.box, each.visibility) for each in truth],
                "detections": [(*box, value) for box, value in zip(boxes.tolist(), confidences.tolist(), strict=True)],
            }


def _work() -> None:
    """A worker's whole life: a job as JSON on stdin, a line of JSON on stdout for each image written."""
    job = json.load(sys.stdin)
    for done in _write_images(SyntheticScene(**job["spec"]), pathlib.Path(job["root"]), job["worker"], job["workers"]):
        print(json.dumps(done), flush=True)


def _ground_truth(images: list[dict]) -> Rows:
    """The ground truth of one camera's images, which are in order."""
    rows = [(image["frame"], *person) for image in images for person in image["people"]]
    return Rows.of(
        [row[0] for row in rows],
        [row[2:6] for row in rows],
        identity=[row[1] for row in rows],
        category=PEDESTRIAN,
        visibility=[row[6] for row in rows],
    )


def _detections(images: list[dict]) -> Rows:
    """The detections of one camera's images, which are in order."""
    rows = [(image["frame"], *detection) for image in images for detection in image["detections"]]
    return Rows.of([row[0] for row in rows], [row[1:5] for row in rows], confidence=[row[5] for row in rows])


def _finished(spec: SyntheticScene, target: pathlib.Path) -> bool:
    """Whether `target` holds this very scene with every file of it."""
    if not is_of_spec(spec, DRAWING, target):
        return False
    return all(
        sequence.detections.is_file()
        and sequence.ground_truth.is_file()
        and (sequence.folder / sequence.images).is_dir()
        and set(os.listdir(sequence.folder / sequence.images))
        >= {sequence.image(frame).name for frame in range(1, spec.frames + 1)}
        for sequence in sequences_of(spec, target)
    )


def prune(folder: str | os.PathLike) -> list[tuple[pathlib.Path, str, int]]:
    """Removes half-drawn scenes of dead processes from `folder`: [(their folder, why, bytes)]."""
    return prune_halves(folder, NAME)


def render(spec: SyntheticScene, folder: str | os.PathLike, workers: int | None = None) -> list[Sequence]:
    """Writes the whole scene below `folder`, unless it is there, and returns its sequences, one a camera.

    They lie in the folder `spec.folder_name`, beside `spec.json`:

      scene-seed0-v1/spec.json
      scene-seed0-v1/scene0-c1/seqinfo.ini, img1/000001.jpg, gt/gt.txt, det/det.txt

    Ground truth holds everybody of whom a fifth or more lies in the image and through the door, hidden by others or
    not; its boxes go around the whole silhouette, beyond the image's edges too. The left upper corner of the image is
    (0, 0). Files are drawn into a temporary folder, which is then renamed: an interrupted drawing leaves nothing that
    a later one reads. The files do not depend on `workers` (by default one a core).

    Raises:
      InputError: `folder` cannot be written.
    """
    target = pathlib.Path(os.path.expanduser(folder)) / spec.folder_name
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; give 1 or more")
    if _finished(spec, target):
        return sequences_of(spec, target)
    total = spec.frames * spec.cameras
    workers = workers or (cores() if total >= _IN_PROCESS and sys.executable else 1)
    try:
        with new_folder(target, functools.partial(_finished, spec)) as temporary:
            _fill(spec, temporary, total, min(workers, spec.frames))
            write_spec(spec, DRAWING, temporary)
    except OSError as error:
        raise InputError(
            f"cannot write a synthetic scene to {target.parent}: {error.strerror or error}; "
            "give a writable folder with room in it"
        ) from error
    return sequences_of(spec, target)


def _fill(spec: SyntheticScene, root: pathlib.Path, total: int, workers: int) -> None:
    sequences = sequences_of(spec, root)
    for sequence in sequences:
        (sequence.folder / sequence.images).mkdir(parents=True)
        write_seqinfo(sequence)
    images: list[dict] = []
    with progress_bar(total, "drawing a synthetic scene") as bar:

        def take(line: str) -> None:
            images.append(json.loads(line))
            bar.update()

        if workers == 1:
            for image in _write_images(spec, root, 0, 1):
                images.append(image)
                bar.update()
        else:
            job = {"spec": dataclasses.asdict(spec), "root": str(root), "workers": workers}
            jobs = [job | {"worker": worker} for worker in range(workers)]
            run_jobs(command_of(__name__), jobs, take, f"drawing a synthetic scene into {root.parent} failed")
    images.sort(key=lambda image: image["frame"])
    for camera, sequence in enumerate(sequences, 1):
        own = [image for image in images if image["camera"] == camera]
        write_ground_truth(sequence.ground_truth, _ground_truth(own))
        write_detections(sequence.detections, _detections(own))
