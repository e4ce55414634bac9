"""The scores of the weights that a run starts from, `before.json`: made once, read again by a resumed run."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from reid_jax.errors import InputError
from reid_jax.files.json_files import is_number, read_json
from reid_jax.training.log import say

Scores = dict[str, dict[str, float]]  # name of a test set -> its metrics


def read_start_scores(file: Path, names: Collection[str]) -> Scores | None:
    """Returns the scores on the test sets `names`; None, with a line that says why, where they are to be made again."""
    if not file.exists():
        return None
    try:
        scores = read_json(file)
        if scores.keys() == set(names) and all(map(_are_metrics, scores.values())):
            return scores
        why = f"{file} does not hold the scores of {', '.join(names)}"
    except InputError as error:
        why = str(error)
    except AttributeError:  # no object
        why = f"{file} holds no scores"
    say(f"{why}; the weights that the run starts from are scored again")
    return None


def _are_metrics(value: Any) -> bool:
    return isinstance(value, dict) and {"rank1", "mAP"} <= value.keys() and all(map(is_number, value.values()))
