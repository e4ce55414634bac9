"""`reid-jax track`: follow people through a video, and what is made of such results; an action a file."""

import argparse

from reid_jax.verbs.actions import add_actions
from reid_jax.verbs.track import calibrate, evaluate, reenter, room
from reid_jax.verbs.track import run as run_action

EXAMPLES = """\
  reid-jax track run MOT16/train/MOT16-02 --weights=runs/1x --results=MOT16-02.txt
  reid-jax track run street.mp4 --embedder=histogram --detections=street.csv --results=street.txt --render=seen.mp4
  reid-jax track evaluate MOT16/train --results=results --json=scores.json
  reid-jax track reenter cam1 cam2 --visits=visits.txt --weights=runs/1x --threshold=0.8 --results=people.txt
  reid-jax track run --help"""

# Each action is a module with
#   HELP, EXAMPLES: the text and the examples of its help
#   add_arguments(parser): adds its options
#   run(args): does it, and prints what came of it
ACTIONS = {
    "run": run_action,
    "evaluate": evaluate,
    "reenter": reenter,
    "calibrate": calibrate,
    "room": room,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions with their options."""
    add_actions(parser, ACTIONS)


def run(args: argparse.Namespace) -> None:
    """Runs the chosen action."""
    ACTIONS[args.action].run(args)
