"""`reid-jax track evaluate`: HOTA, MOTA, IDF1 and their like of a tracker's results."""

import argparse

from reid_jax.errors import InputError
from reid_jax.files.json_files import write_json
from reid_jax.files.writing import require_apart, require_writable
from reid_jax.tracking.scored_files import find_tracked, read_tracked
from reid_jax.tracking.scores import as_one, require_trackeval, score, table

HELP = "score results against ground truth: HOTA, MOTA, IDF1, switches, fragments, per sequence and together"
EXAMPLES = """\
  reid-jax track evaluate MOT16/train/MOT16-02 --results=MOT16-02.txt
  reid-jax track evaluate MOT16/train --results=results --json=scores.json
  reid-jax track evaluate data/scene-seed1-cameras4-v1 --results=results --one_scene
Shares are in percent: precision (Prcn) and recall (Rcll) of boxes, identity's precision (IDP) and recall (IDR); counts:
switches of identity (IDs), fragments (Frag), people mostly tracked (MT) and mostly lost (ML), boxes of nobody (FP) and
missed (FN). Boxes match from an IoU of 0.5 on, for HOTA from 0.05 to 0.95. Whoever leaves and comes back is a fragment,
too, as TrackEval has it."""

_SCENE = "all cameras"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument(
        "sequences",
        metavar="SEQUENCE",
        nargs="+",
        help="sequence folders with gt/gt.txt, folders that hold some, or text files of ground truth",
    )
    parser.add_argument(
        "--results", required=True, help="a folder that holds NAME.txt for each sequence, or the file of the only one"
    )
    parser.add_argument(
        "--one_scene",
        action="store_true",
        help="the sequences are cameras of one scene with identities in common: also score them as one; --results may "
        "be one file with their numbers, from 1 on, in its eleventh column",
    )
    parser.add_argument(
        "--without_preprocessing",
        action="store_true",
        help="count results on distractors (classes 2, 7, 8 and 12, of MOT20 also 6) as wrong, as py-motmetrics",
    )
    parser.add_argument("--json", help="also write the scores to this file, shares as fractions")


def run(args: argparse.Namespace) -> None:
    """Reads, scores and prints; what is wrong with the options is said before anything is read."""
    if args.json:
        require_writable("--json", args.json)
    require_trackeval()
    found = find_tracked(args.sequences, args.results, one_scene=args.one_scene)
    require_apart([("--json", args.json)], [read for files in found for read in files.inputs])
    sequences = read_tracked(found)
    if args.one_scene and len(sequences) < 2:
        raise InputError(f"--one_scene takes two sequences or more, a camera each; here is {sequences[0].name} alone")
    preprocessing = not args.without_preprocessing
    by_sequence, together = score(sequences, preprocessing=preprocessing, progress="scoring")
    print(table(by_sequence, together))
    written = {"preprocessing": preprocessing, "sequences": by_sequence, "together": together}
    if args.one_scene:
        joined, _ = score([as_one(_SCENE, sequences)], preprocessing=preprocessing)
        print(table(joined, joined[_SCENE]))
        written["one_scene"] = joined[_SCENE]
    if args.json:
        write_json(args.json, written)
