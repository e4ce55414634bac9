"""`reid-jax track reenter`: identities for people who left and come back."""

import argparse
from pathlib import Path

import numpy as np

import reid_jax
from reid_jax.errors import InputError, shown
from reid_jax.files.writing import require_writable
from reid_jax.ranges import real, whole
from reid_jax.text_table import format_table
from reid_jax.tracking.appearance import histogram, of_extractor
from reid_jax.tracking.frames import SequenceFrames
from reid_jax.tracking.looks import describe_visits
from reid_jax.tracking.mot_files import Rows, join, read_ground_truth, read_results, write_results
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
from reid_jax.tracking.sequences import Sequence, read_sequence
from reid_jax.tracking.visits import NOBODY, cut, true_identities, visits_of

HELP = "give people who left and come back their identity again, over one camera or several"
EXAMPLES = """\
  reid-jax track reenter data/scene/cam1 data/scene/cam2 --visits=visits.txt --weights=runs/1x --threshold=0.8 \\
    --results=people.txt
  reid-jax track reenter PETS09-S2L1 --cut_truth --embedder=histogram --threshold=0.5 --results=people.txt
A visit is an id of the results of any tracker, in all cameras together; the camera is their eleventh column. Where
there is ground truth the answers are counted beside "none" (everybody is new) and "oracle" (the truth)."""

HISTOGRAM = "histogram"
_CUT_SECONDS = 1.0  # out of all cameras for so long, a person of the ground truth has left


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument(
        "sequences", metavar="SEQUENCE", nargs="+", help="sequence folders, a camera each, counted from 1 in this order"
    )
    visits = parser.add_mutually_exclusive_group(required=True)
    visits.add_argument("--visits", help="results of a tracker, MOTChallenge text")
    visits.add_argument(
        "--cut_truth", action="store_true", help="cut the ground truth where people leave: a tracker without mistakes"
    )
    looks = parser.add_mutually_exclusive_group(required=True)
    looks.add_argument("--weights", help="what people look like by a network: a run's workdir or a .safetensors file")
    looks.add_argument("--embedder", choices=(HISTOGRAM,), help="by colours")
    parser.add_argument(
        "--threshold",
        type=real(0, 2),
        required=True,
        help="distance from which on somebody is new; choose it on other people than these",
    )
    parser.add_argument("--results", required=True, help="the file to write, MOTChallenge text")
    parser.add_argument(
        "--online",
        action="store_true",
        help=f"rename a visit only once the answer is known, {QUERY_SECONDS:g} seconds after its first frame",
    )
    parser.add_argument(
        "--nearest", type=whole(1, 1000), default=1, help="crops of a gallery that count, the nearest (default 1)"
    )


def run(args: argparse.Namespace) -> None:
    """Describes the visits, answers, writes, and counts mistakes where the truth is known."""
    require_writable("--results", args.results)
    sequences = [read_sequence(folder) for folder in args.sequences]
    rates = {sequence.frame_rate for sequence in sequences}
    if len(rates) > 1:
        raise InputError(f"the sequences have {sorted(rates)} frames a second; cameras of one place must have the same")
    truth = _truth(sequences)
    if args.cut_truth:
        if truth is None:
            raise InputError(
                f"{shown(sequences[0].folder)} or another sequence has no ground truth; give --visits=FILE"
            )
        rows = cut(truth, round(_CUT_SECONDS * sequences[0].frame_rate))
    else:
        rows = read_results(args.visits)
        if len(sequences) == 1 and not rows.camera.any():
            rows = Rows.of(rows.frame, rows.box, identity=rows.identity, confidence=rows.confidence, camera=1)
    cameras = {number: SequenceFrames.of(sequence, True) for number, sequence in enumerate(sequences, 1)}
    embed = histogram if args.embedder else of_extractor(reid_jax.Extractor(args.weights))  # imports JAX
    delay = round(QUERY_SECONDS * sequences[0].frame_rate)
    visits = visits_of(rows)
    described = describe_visits(rows, visits, cameras, embed, delay, "describing")
    answers = answer(visits, described, args.threshold, nearest=args.nearest)
    write_results(args.results, relabel(rows, visits, answers, delay if args.online else 0))
    people = len({each.identity for each in answers})
    print(f"{args.results}: {len(visits):,} visits of {people:,} people")
    if truth is not None:
        true = true_identities(rows, visits, truth)
        named = Path(args.weights).name if args.weights else args.embedder
        none = [Answer(visit.identity, np.inf, 0) for visit in visits]
        print(_counted(visits, true, {"none": none, named: answers, "oracle": oracle(visits, true)}))
        found = reassociations(visits, described, true, nearest=args.nearest)
        if found:
            print(
                f"mean reciprocal rank of {len(found):,} who returned: {100 * mean_reciprocal_rank(found):.1f} percent"
            )


def _truth(sequences: list[Sequence]) -> Rows | None:
    """The people of all cameras' ground truth; None where one has none."""
    if not all(sequence.ground_truth.is_file() for sequence in sequences):
        return None
    parts = []
    for number, sequence in enumerate(sequences, 1):
        rows = read_ground_truth(sequence.ground_truth)
        rows = rows.select((rows.confidence != 0) & np.isin(rows.category, (-1, 1)))
        parts.append(
            Rows.of(
                rows.frame,
                rows.box,
                identity=rows.identity,
                visibility=rows.visibility,
                category=rows.category,
                camera=number,
            )
        )
    return join(parts)


def _counted(visits: list, true: np.ndarray, rows: dict[str, list[Answer]]) -> str:
    table = [("answers", "visits", "returns", "right", "false new", "false merge")]
    for name, answers in rows.items():
        found = mistakes(visits, answers, true)
        table.append((name, found.visits, found.returns, found.right, found.false_new, found.false_merge))
    nobody = int((true == NOBODY).sum())
    note = f"\n{nobody:,} visits are of nobody in the ground truth, and not counted" if nobody else ""
    return format_table(table) + note
