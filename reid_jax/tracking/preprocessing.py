"""Which boxes MOTChallenge scores: its rules for ground truth that is not a person to be followed.

Of MOT16 and MOT17, as their official evaluation: in each frame results are matched to all boxes of the ground truth, of
whatever class and flag, so that the sum of IoU is the largest among pairs of IoU 0.5 or more. Results that are matched
to a distractor are dropped, as neither right nor wrong. Then the ground truth is cut down to pedestrians with a flag
that is not 0. In MOT20 non-motorised vehicles are distractors, too. Ground truth without classes, of 2D MOT 2015 or
one's own, has no distractors.
"""

import re

import numpy as np
from scipy.optimize import linear_sum_assignment

from reid_jax.errors import InputError, first_few
from reid_jax.tracking.boxes import iou
from reid_jax.tracking.mot_files import PEDESTRIAN, UNKNOWN, Rows

CLASSES = range(1, 14)  # MOTChallenge's: 1 pedestrian, 2 person on vehicle, 3 car, ... 13 crowd
DISTRACTORS = (2, 7, 8, 12)  # person on vehicle, static person, distractor, reflection
DISTRACTORS_OF_MOT20 = (*DISTRACTORS, 6)  # and non-motorised vehicles

MATCH = 0.5  # the least IoU of two boxes that are one
_ROUNDING = np.finfo(float).eps


def distractors_of(name: str) -> tuple[int, ...]:
    """The classes that are distractors in a sequence, by its name: MOT20's begin with MOT20."""
    return DISTRACTORS_OF_MOT20 if re.match("MOT20(?![0-9])", name) else DISTRACTORS


def preprocess(truth: Rows, results: Rows, distractors: tuple[int, ...] = DISTRACTORS) -> tuple[Rows, Rows]:
    """Returns the boxes of the ground truth and of the results that are scored, in their order.

    Raises:
      InputError: a class that MOTChallenge does not have.
    """
    strange = sorted(set(truth.category.tolist()) - {UNKNOWN, *CLASSES})
    if strange:
        raise InputError(
            f"ground truth has the classes {first_few(strange)}; MOTChallenge has {CLASSES[0]} (pedestrian) to "
            f"{CLASSES[-1]}: give people class 1, or leave the classes out"
        )
    kept = np.ones(len(results), bool)
    is_distractor = np.isin(truth.category, distractors)
    of_frame = truth.by_frame()
    truth_corners, result_corners = truth.corners, results.corners
    for frame, theirs in results.by_frame().items():
        ours = of_frame.get(frame)
        if ours is None or not is_distractor[ours].any():
            continue
        overlap = iou(truth_corners[ours], result_corners[theirs])
        overlap[overlap < MATCH - _ROUNDING] = 0
        rows, columns = linear_sum_assignment(-overlap)
        dropped = (overlap[rows, columns] > 0) & is_distractor[ours[rows]]
        kept[theirs[columns[dropped]]] = False
    return truth.select(to_follow(truth)), results.select(kept)


def to_follow(truth: Rows) -> np.ndarray:
    """Which boxes of the ground truth are of people to be followed: bool [n]."""
    return np.isin(truth.category, (PEDESTRIAN, UNKNOWN)) & (truth.confidence != 0)
