"""`reid-jax track calibrate`: the threshold of re-entry at a stated false-positive rate, on other people."""

import argparse

from reid_jax.files.json_files import write_json
from reid_jax.files.writing import require_writable
from reid_jax.ranges import real
from reid_jax.text_table import format_table
from reid_jax.tracking.reentry import compare, threshold_at
from reid_jax.tracking.visits import true_identities, visits_of
from reid_jax.verbs.track.place import add_place, name_of, place_of

HELP = "find the threshold of re-entry at a false-positive rate, on people who are not those it is for"
EXAMPLES = """\
  reid-jax track calibrate data/held_out/cam1 data/held_out/cam2 --weights=runs/1x --rates 0.01 0.001
Ground truth is cut into visits where people leave. Each is compared with everyone who is not there, as on re-entry; a
false positive is another person nearer than the threshold. With m people away an entry has up to m times the rate."""

_RATES = (0.05, 0.01)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_place(parser)
    parser.add_argument(
        "--rates",
        type=real(0, 1, above=True, below=True),
        nargs="+",
        default=list(_RATES),
        help="shares of comparisons with other people that may be nearer (default: 0.05 0.01)",
    )
    parser.add_argument("--json", help="also write the thresholds to this file")


def run(args: argparse.Namespace) -> None:
    """Compares, and prints a line a rate."""
    if args.json:
        require_writable("--json", args.json)
    place = place_of(args)
    rows = place.cut_truth()
    visits = visits_of(rows)
    truth = true_identities(rows, visits, place.truth)
    same, others = compare(visits, place.describe(args, rows, visits), truth, nearest=args.nearest)
    found = {rate: threshold_at(others, rate) for rate in args.rates}
    called_new = {rate: float((same >= threshold).mean()) if len(same) else None for rate, threshold in found.items()}
    print(f"{name_of(args)}: {len(others):,} comparisons with other people, {len(same):,} with the same")
    table = [("false-positive rate", "threshold", "same person beyond it")]
    for rate, threshold in found.items():
        share = "" if called_new[rate] is None else f"{100 * called_new[rate]:.1f} %"
        table.append((f"{rate:g}", f"{threshold:.4f}", share))
    print(format_table(table))
    if args.json:
        lines = [{"rate": r, "threshold": t, "false_new": called_new[r]} for r, t in found.items()]
        write_json(args.json, {"other": len(others), "same": len(same), "nearest": args.nearest, "thresholds": lines})
