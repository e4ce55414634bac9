"""What visits look like: the boxes worth a look, cut out of every camera's frames and described."""

from collections.abc import Mapping

import numpy as np

from reid_jax.errors import InputError
from reid_jax.progress import progress_bar
from reid_jax.tracking.boxes import inside, whole_pixels
from reid_jax.tracking.frames import Frames
from reid_jax.tracking.mot_files import Rows
from reid_jax.tracking.motdt import Embed, Settings, unit
from reid_jax.tracking.reentry import GALLERY_CROPS, QUERY_CROPS, Described
from reid_jax.tracking.visits import Visit, covered, diverse, early_rows, spread

_LEAST_INSIDE = Settings().least_inside  # part of a box's area that lies in the frame, as the tracker has it
_CANDIDATES = 2 * GALLERY_CROPS  # boxes of a visit that are described, of which the most diverse are kept


def describe_visits(
    rows: Rows,
    visits: list[Visit],
    cameras: Mapping[int, Frames],
    embed: Embed,
    query_frames: int,
    progress: str = "",
) -> list[Described]:
    """Describes each visit by its early crops and a diverse gallery; each frame is read once, with one call of `embed`.

    A box that lies with less than half of its area in the frame has no look.

    Args:
      rows: of all visits.
      cameras: {camera: its frames}, for each camera of the rows; frame numbers are the same moments in all of them.
      embed: see `motdt.Embed`; a descriptor that is 0 or not finite is left out. One that is shorter than 1 is the
        mean of several networks', and gives the visit its spread; see `appearance.of_extractors`.
      query_frames: how many frames from its first on a visit's early crops are from.
      progress: the name of a bar on stderr; none is shown where it is empty.

    Raises InputError for rows of a camera or of a frame that is not there.
    """
    unknown = sorted(set(rows.camera.tolist()) - set(cameras))
    if unknown:
        there = ", ".join(map(str, sorted(cameras)))
        raise InputError(f"visits are of camera {unknown[0]}, and there are only the cameras {there}")
    cost = covered(rows)
    query = [early_rows(rows, visit, cost, QUERY_CROPS, query_frames) for visit in visits]
    gallery = [spread(rows, visit.rows, cost, _CANDIDATES) for visit in visits]
    wanted = np.unique(np.concatenate([*query, *gallery, np.zeros(0, np.int64)]))
    feature, disagreement = _features(rows, wanted, cameras, embed, progress)
    width = next((len(one) for one in feature.values()), 1)

    def looks_of(own: np.ndarray) -> np.ndarray:
        found = [feature[row] for row in own.tolist() if row in feature]
        return np.array(found, np.float32).reshape(len(found), width)

    described = []
    for early, later in zip(query, gallery, strict=True):
        later = later[[row in feature for row in later.tolist()]]
        later = later[diverse(looks_of(later), rows.frame[later], rows.camera[later], GALLERY_CROPS)]
        apart = [disagreement[row] for row in early.tolist() if row in feature]
        disagreed = float(np.sqrt(np.mean(apart))) if apart else 0.0
        described.append(Described(looks_of(early), looks_of(later), rows.frame[later], rows.camera[later], disagreed))
    return described


def _features(
    rows: Rows, wanted: np.ndarray, cameras: Mapping[int, Frames], embed: Embed, progress: str
) -> tuple[dict[int, np.ndarray], dict[int, float]]:
    """{row: its unit descriptor float32 [d]} and {row: 1 - |m|^2, squared spread} of the rows that have one."""
    feature: dict[int, np.ndarray] = {}
    disagreement: dict[int, float] = {}
    corners = rows.corners
    total = len(np.unique(np.stack([rows.camera[wanted], rows.frame[wanted]]), axis=1).T)
    with progress_bar(total, progress, "frames") as bar:
        for camera, frames in cameras.items():
            there = wanted[rows.camera[wanted] == camera]
            last = int(rows.frame[there].max(initial=0))
            number = 0
            for number, frame in enumerate(frames.read() if last else (), 1):
                own = there[rows.frame[there] == number]
                if len(own):
                    bar.update()
                    own = own[inside(corners[own], frame.shape[:2]) >= _LEAST_INSIDE]
                if len(own):
                    described = embed(frame, whole_pixels(corners[own], frame.shape[:2]))
                    for row, mean, found in zip(own.tolist(), described, unit(described), strict=True):
                        if np.isfinite(found).all():
                            feature[row] = found
                            disagreement[row] = max(0.0, 1 - float(mean @ mean))
                if number == last:
                    break
            if number < last:
                raise InputError(f"visits go to frame {last:,}, but {frames.name} has {number:,} frames")
    return feature, disagreement
