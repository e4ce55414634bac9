"""How well a tracker followed people: HOTA, MOTA, IDF1 and what goes with them, by the library TrackEval.

HOTA (Luiten et al., IJCV 2021) = sqrt(DetA AssA), a mean over the IoU 0.05, 0.1, ... 0.95 from which on two boxes
match: DetA says how well people are found, AssA how well each keeps one identity. With matches from IoU 0.5 on:

  MOTA = 1 - (misses + false positives + switches) / boxes of the ground truth      (Bernardin and Stiefelhagen, 2008)
  IDF1 = boxes under the right identity, by the best assignment of one identity to each person, as an F1
         (Ristani et al., 2016)

Fragments are times at which somebody is followed again after a frame without; TrackEval also counts those at which he
was not there, so that whoever comes back adds one even to perfect results.

Several sequences are scored together by TrackEval's own rule: counts are added up, and of AssA the mean is taken,
weighted by matches.
"""

import dataclasses
import types
from collections.abc import Sequence

import numpy as np

from reid_jax.errors import InputError, first_few, shown
from reid_jax.progress import with_progress
from reid_jax.text_table import format_table
from reid_jax.tracking.boxes import iou
from reid_jax.tracking.mot_files import NOBODY, Rows
from reid_jax.tracking.preprocessing import distractors_of, preprocess, to_follow

TOGETHER = "together"

# Ours: TrackEval's metric and field, whether it is a share, and the head of its column.
_METRICS = {
    "hota": ("HOTA", "HOTA", True, "HOTA"),
    "deta": ("HOTA", "DetA", True, "DetA"),
    "assa": ("HOTA", "AssA", True, "AssA"),
    "mota": ("CLEAR", "MOTA", True, "MOTA"),
    "idf1": ("Identity", "IDF1", True, "IDF1"),
    "idp": ("Identity", "IDP", True, "IDP"),
    "idr": ("Identity", "IDR", True, "IDR"),
    "precision": ("CLEAR", "CLR_Pr", True, "Prcn"),
    "recall": ("CLEAR", "CLR_Re", True, "Rcll"),
    "switches": ("CLEAR", "IDSW", False, "IDs"),
    "fragments": ("CLEAR", "Frag", False, "Frag"),
    "mostly_tracked": ("CLEAR", "MT", False, "MT"),
    "mostly_lost": ("CLEAR", "ML", False, "ML"),
    "false_positives": ("CLEAR", "CLR_FP", False, "FP"),
    "misses": ("CLEAR", "CLR_FN", False, "FN"),
}
METRICS = tuple(_METRICS)


@dataclasses.dataclass(frozen=True)
class Tracked:
    """A sequence with its ground truth and a tracker's results.

    name: the sequence's.
    truth: every box of the ground truth; of any class and flag.
    results: identities and boxes of the tracker; frames without a box, and none at all, are fine.
    distractors: the classes that are; None for those of the sequence's name.
    """

    name: str
    truth: Rows
    results: Rows
    distractors: tuple[int, ...] | None = None


def score(
    sequences: Sequence[Tracked], *, preprocessing: bool = True, progress: str = ""
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Scores sequences: {name: {metric: value}}, and {metric: value} of all together, with `METRICS` as keys.

    Shares are fractions, MOTA perhaps below 0; counts are whole. A sequence with nobody to be followed has shares of 0,
    and its results are false positives. With `preprocessing`, MOT16's, MOT17's and MOT20's rules for distractors;
    without, results on distractors are false positives, as in py-motmetrics. `progress` names the bar over
    the sequences; none is shown where it is empty.

    Raises:
      InputError: TrackEval is not installed, two sequences have one name, no sequence has anybody to be followed,
        somebody has two boxes in a frame, or a class is none of MOTChallenge's.
    """
    names = [each.name for each in sequences]
    if len(set(names)) < len(names):
        raise InputError(f"sequences are {first_few(sorted(names))}; each name may be there once")
    if not names:
        raise InputError("there is no sequence to score; name one")
    metrics = require_trackeval()
    measures = {
        "HOTA": metrics.HOTA(),
        "CLEAR": metrics.CLEAR({"PRINT_CONFIG": False}),
        "Identity": metrics.Identity({"PRINT_CONFIG": False}),
    }
    by_measure = {measure: {} for measure in measures}
    people = 0
    for each in with_progress(sequences, progress, "sequences"):
        data = _arrays(each, preprocessing)
        people += data["num_gt_ids"]
        for measure, metric in measures.items():
            by_measure[measure][each.name] = metric.eval_sequence(data)
    if not people:
        raise InputError(
            f"{first_few(names)}: the ground truth has nobody to be followed; it takes boxes of class 1 with a flag "
            "that is not 0"
        )
    combined = {measure: metric.combine_sequences(by_measure[measure]) for measure, metric in measures.items()}
    each_alone = {name: _ours({measure: found[name] for measure, found in by_measure.items()}) for name in names}
    return each_alone, _ours(combined)


def as_one(name: str, cameras: Sequence[Tracked]) -> Tracked:
    """Returns the sequences of several cameras as one, a camera after the other: identities are common to them.

    What is one person to the ground truth of all cameras must be one identity in all results to score well.
    """
    longest = max(
        (int(rows.frame.max()) for each in cameras for rows in (each.truth, each.results) if len(rows)), default=0
    )

    def joined(parts: list[Rows]) -> Rows:
        moved = [dataclasses.replace(rows, frame=rows.frame + number * longest) for number, rows in enumerate(parts)]
        fields = [field.name for field in dataclasses.fields(Rows)]
        return Rows(*(np.concatenate([getattr(rows, field) for rows in moved]) for field in fields))

    distractors = sorted({kind for each in cameras for kind in _distractors(each)})
    return Tracked(
        name, joined([each.truth for each in cameras]), joined([each.results for each in cameras]), tuple(distractors)
    )


def _distractors(tracked: Tracked) -> tuple[int, ...]:
    return distractors_of(tracked.name) if tracked.distractors is None else tracked.distractors


def table(by_sequence: dict[str, dict[str, float]], together: dict[str, float]) -> str:
    """Returns scores as a table, a sequence a row; shares in percent. A single sequence has no row for all together."""
    rows = dict(by_sequence)
    if len(rows) > 1:
        rows[TOGETHER] = together
    heads = ("sequence", *(head for _, _, _, head in _METRICS.values()))
    body = [(name, *(_cell(metric, values[metric]) for metric in METRICS)) for name, values in rows.items()]
    return format_table([heads, *body], rules=[0, len(by_sequence)] if len(by_sequence) > 1 else [0])


def _cell(metric: str, value: float) -> str:
    return f"{100 * value:.1f}" if _METRICS[metric][2] else f"{value:,}"


def require_trackeval() -> types.ModuleType:
    """Returns TrackEval's metrics; raises InputError where it is missing or broken: known before long work."""
    try:
        from trackeval import metrics
    except ImportError as error:
        raise InputError(
            f"scores need trackeval, which is missing or broken ({shown(error)}); pip install 'reid_jax[track]'"
        ) from error
    return metrics


def _ours(found: dict[str, dict]) -> dict[str, float]:
    values = {}
    for name, (measure, field, is_share, _) in _METRICS.items():
        value = np.mean(found[measure][field])  # HOTA and its parts are arrays over the thresholds of IoU
        values[name] = float(value) if is_share else round(float(value))
    return values


def _arrays(tracked: Tracked, preprocessing: bool) -> dict:
    """What TrackEval's metrics read: for each frame that has any box identities from 0 on without gaps, and IoU."""
    for what, rows in (("ground truth", tracked.truth), ("results", tracked.results)):
        _require_one_box_each(tracked.name, what, rows)
    try:
        if preprocessing:
            truth, results = preprocess(tracked.truth, tracked.results, _distractors(tracked))
        else:
            truth, results = tracked.truth.select(to_follow(tracked.truth)), tracked.results
    except InputError as error:
        raise InputError(f"{shown(tracked.name)}: {error}") from error
    people, truth_id = np.unique(truth.identity, return_inverse=True)
    tracks, result_id = np.unique(results.identity, return_inverse=True)
    truth_rows, result_rows = truth.by_frame(), results.by_frame()
    nobody = np.zeros(0, np.int64)
    truth_corners, result_corners = truth.corners, results.corners
    frames = sorted({*truth_rows, *result_rows})
    pairs = [(truth_rows.get(frame, nobody), result_rows.get(frame, nobody)) for frame in frames]
    return {
        "num_timesteps": len(frames),
        "num_gt_ids": len(people),
        "num_tracker_ids": len(tracks),
        "num_gt_dets": len(truth),
        "num_tracker_dets": len(results),
        "gt_ids": [truth_id[ours] for ours, _ in pairs],
        "tracker_ids": [result_id[theirs] for _, theirs in pairs],
        "similarity_scores": [iou(truth_corners[ours], result_corners[theirs]) for ours, theirs in pairs],
    }


def _require_one_box_each(name: str, what: str, rows: Rows) -> None:
    if (rows.identity == NOBODY).any():
        raise InputError(f"{shown(name)}: the {what} have boxes without an identity; detections cannot be scored")
    frames, counts = np.unique(np.stack([rows.frame, rows.identity], 1), axis=0, return_counts=True)
    if (counts > 1).any():
        frame, identity = frames[np.argmax(counts > 1)]
        raise InputError(f"{shown(name)}: {what} have id {identity} twice in frame {frame}; it may be there once")
