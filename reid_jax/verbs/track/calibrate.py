"""`reid-jax track calibrate`: thresholds at stated false-positive rates, on other people."""

import argparse

from reid_jax.files.writing import require_apart, require_writable
from reid_jax.ranges import real
from reid_jax.text_table import format_table
from reid_jax.tracking.calibration import Threshold, Thresholds, calibrate, write_calibration
from reid_jax.tracking.doubt import Doubt, doubt
from reid_jax.tracking.visits import true_identities, visits_of
from reid_jax.verbs.track.place import add_place, looks_by, name_of, place_of

HELP = "find thresholds of re-entry, and of two images, at false-positive rates, on people who are not those it is for"
EXAMPLES = """\
  reid-jax track calibrate data/held_out/cam1 data/held_out/cam2 --weights=runs/1x --rates 0.01 0.001
  reid-jax track calibrate data/held_out/cam1 data/held_out/cam2 --weights=runs/1x --json=thresholds.json
Ground truth is cut into visits where people leave. Each is compared with everyone who is not there, as on re-entry; a
false positive is another person nearer than the threshold. With m people away an entry has up to m times the rate.
Two images are nearer or farther than a visit and a gallery, so that they have thresholds of their own, which
`reid-jax compare --calibration=thresholds.json` goes by.
With --swag_samples it also tells how well the samples' spread foretells wrong identities, and limits for --most_spread:
  reid-jax track calibrate data/held_out/cam1 data/held_out/cam2 --weights=runs/1x-swag --swag_samples=10"""

_RATES = (0.05, 0.01)
_DOUBTED = (0.2, 0.1, 0.05)  # shares of visits that limits of the spread are told for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_place(parser)
    parser.add_argument(
        "--rates",
        type=real(0, 1, above=True, below=True),
        nargs="+",
        action="extend",
        help="shares of comparisons with other people that may be nearer (default: 0.05 0.01)",
    )
    parser.add_argument("--json", help="also write the thresholds to this file")


def run(args: argparse.Namespace) -> None:
    """Compares, and prints a line a rate."""
    if args.json:
        require_writable("--json", args.json)
    place = place_of(args)
    require_apart([("--json", args.json)], [*place.inputs, ("--weights", args.weights)])
    rows = place.cut_truth()
    visits = visits_of(rows)
    truth = true_identities(rows, visits, place.truth)
    embed, digest = looks_by(args)
    described = place.describe(embed, rows, visits)
    found = calibrate(visits, described, truth, args.rates or _RATES, nearest=args.nearest, digest=digest)
    print(_table(f"{name_of(args)}: re-entry", found.visits))
    print(_table(f"{name_of(args)}: two images", found.images))
    if args.swag_samples:
        for each in found.visits.at:
            print(_doubt_table(each, doubt(visits, described, truth, each.threshold, _DOUBTED, nearest=args.nearest)))
    if args.json:
        write_calibration(args.json, found)


def _table(title: str, found: Thresholds) -> str:
    table = [("false-positive rate", "threshold", "same person beyond it")]
    for each in found.at:
        share = "" if each.false_new is None else f"{100 * each.false_new:.1f} %"
        table.append((f"{each.rate:g}", f"{each.threshold:.4f}", share))
    counts = f"{found.others:,} comparisons with other people, {found.same:,} with the same"
    return f"{title}: {counts}\n{format_table(table)}"


def _doubt_table(at: Threshold, found: Doubt) -> str:
    table = [("visits of a larger spread", "spread", "wrong of these", "wrong of the others")]
    for each in found.limits:
        shares = [f"{100 * share:.1f} %" for share in (each.wrong_above, each.wrong_below)]
        table.append((f"{100 * each.share:g} %", f"{each.spread:.4f}", *shares))
    curve = found.by_spread
    return (
        f"taken for somebody at the threshold of rate {at.rate:g}: {found.visits:,} visits, "
        f"{100 * curve.random:.1f} % wrongly; area under risk-coverage by spread {100 * curve.area:.2f} %, "
        f"by an oracle {100 * curve.oracle:.2f} % (lower is better)\n{format_table(table)}"
    )
