"""`reid-jax visualize curves`: CMC and ROC curves of one or several weights."""

import argparse

from reid_jax import visualize
from reid_jax.verbs.protocol import add_protocol
from reid_jax.verbs.visualize.options import add_out, add_weights, labels, score_weights

HELP = "draw CMC and ROC curves of one or several weights; the points beside it, in OUT.json"
EXAMPLES = """\
  reid-jax visualize curves --weights=runs/quickstart --out=curves.png
  reid-jax visualize curves --weights runs/1x runs/2x --out=curves.png --dataset=market1501 --data_dir=data"""
ENDINGS = (".png", ".json")
PACKAGES = ("matplotlib",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add_weights(parser, several=True)
    add_out(parser, ENDINGS)
    add_protocol(parser.add_argument_group("protocol", "as in reid-jax evaluate"))


def run(args: argparse.Namespace) -> None:
    """Scores the weights, one after the other, and draws their curves."""
    evaluations = {}
    for label, path in zip(labels(args.weights), args.weights, strict=True):
        scored = score_weights(args, path)
        evaluations[label] = scored.evaluation
        print(f"{label} on {scored.dataset}: {scored.evaluation.protocol}")
    visualize.write_curves(args.out, evaluations)
    print(f"{args.out}: CMC and ROC of {', '.join(evaluations)}; JSON")
