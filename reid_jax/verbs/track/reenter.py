"""`reid-jax track reenter`: identities for people who left and come back."""

import argparse
import dataclasses

import numpy as np

from reid_jax.errors import InputError
from reid_jax.files.writing import require_apart
from reid_jax.ranges import real
from reid_jax.text_table import format_table
from reid_jax.tracking.mot_files import read_results, write_results
from reid_jax.tracking.reentry import (
    QUERY_SECONDS,
    Answer,
    answer,
    mean_reciprocal_rank,
    mistakes,
    oracle,
    reassociations,
    relabel,
)
from reid_jax.tracking.results_file import note_newer_run, require_results
from reid_jax.tracking.visits import NOBODY, true_identities, visits_of
from reid_jax.verbs.track.place import add_place, looks_by, name_of, place_of

HELP = "give people who left and come back their identity again, over one camera or several"
EXAMPLES = """\
  reid-jax track reenter data/scene/cam1 data/scene/cam2 --visits=visits.txt --weights=runs/1x --threshold=0.8 \\
    --results=people.txt
  reid-jax track reenter PETS09-S2L1 --cut_truth --embedder=histogram --threshold=0.5 --results=people.txt
A visit is an id of the results of any tracker, in all cameras together; the camera is their eleventh column. Where
there is ground truth the answers are counted beside "none" (everybody is new) and "oracle" (the truth)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_place(parser)
    visits = parser.add_mutually_exclusive_group(required=True)
    visits.add_argument("--visits", help="results of a tracker, MOTChallenge text")
    visits.add_argument(
        "--cut_truth", action="store_true", help="cut the ground truth where people leave: a tracker without mistakes"
    )
    parser.add_argument(
        "--threshold",
        type=real(0, 2),
        required=True,
        help="distance from which on somebody is new; choose it on other people than these",
    )
    parser.add_argument(
        "--most_spread",
        type=real(0, 1),
        help="with --swag_samples: who the samples disagree about by more is new; choose it with the threshold",
    )
    parser.add_argument("--results", required=True, help="the file to write, MOTChallenge text")
    parser.add_argument(
        "--online",
        action="store_true",
        help=f"rename a visit only once the answer is known, {QUERY_SECONDS:g} seconds after its first frame",
    )


def run(args: argparse.Namespace) -> None:
    """Describes the visits, answers, writes, and counts mistakes where the truth is known."""
    require_results("--results", args.results)
    if args.most_spread is not None and not args.swag_samples:
        raise InputError("--most_spread is of samples of the weights; give --swag_samples too, as in --swag_samples=10")
    place = place_of(args)
    inputs = [*place.inputs, ("--visits", args.visits), ("--weights", args.weights)]
    require_apart([("--results", args.results)], inputs)
    if args.cut_truth:
        rows = place.cut_truth()
    else:
        rows = read_results(args.visits)
        note_newer_run(args.visits)
        if len(place.sequences) == 1 and not rows.camera.any():  # a file without the column
            rows = dataclasses.replace(rows, camera=np.ones_like(rows.camera))
    visits = visits_of(rows)
    embed, _ = looks_by(args)
    described = place.describe(embed, rows, visits)
    by_distance = answer(visits, described, args.threshold, nearest=args.nearest)
    answers = by_distance
    if args.most_spread is not None:
        answers = answer(visits, described, args.threshold, most_spread=args.most_spread, nearest=args.nearest)
    renamed = relabel(rows, visits, answers, place.query_frames if args.online else 0)
    if len(place.sequences) == 1:  # other readers take no eleventh column, and it would say nothing
        renamed = dataclasses.replace(renamed, camera=np.zeros_like(renamed.camera))
    write_results(args.results, renamed)
    people = len({each.identity for each in answers})
    print(f"{args.results}: {len(visits):,} visits of {people:,} people")
    if place.truth is not None:
        true = true_identities(rows, visits, place.truth)
        none = [Answer(visit.identity, np.inf, 0) for visit in visits]
        rows_by = {"none": none, name_of(args): by_distance}
        if args.most_spread is not None:
            rows_by[f"{name_of(args)}, spread to {args.most_spread:g}"] = answers
        print(_counted(visits, true, rows_by | {"oracle": oracle(visits, true)}))
        found = reassociations(visits, described, true, nearest=args.nearest)
        if found:
            print(
                f"mean reciprocal rank of {len(found):,} who returned: {100 * mean_reciprocal_rank(found):.1f} percent"
            )


def _counted(visits: list, true: np.ndarray, rows: dict[str, list[Answer]]) -> str:
    table = [("answers", "visits", "returns", "right", "false new", "false merge")]
    for name, answers in rows.items():
        found = mistakes(visits, answers, true)
        table.append((name, found.visits, found.returns, found.right, found.false_new, found.false_merge))
    nobody = int((true == NOBODY).sum())
    note = f"\n{nobody:,} visits are of nobody in the ground truth, and not counted" if nobody else ""
    return format_table(table) + note
