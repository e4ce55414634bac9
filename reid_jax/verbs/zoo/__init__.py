"""`reid-jax zoo`: weights by name; an action a file."""

import argparse

from reid_jax.verbs.actions import add_actions
from reid_jax.verbs.zoo import add, show
from reid_jax.verbs.zoo import list as list_action

EXAMPLES = """\
  reid-jax zoo list
  reid-jax zoo show street
  reid-jax embed --weights=zoo:street --images=crops --out=crops.npz
  reid-jax zoo add market-1x --weights=runs/1x"""

ACTIONS = {"list": list_action, "show": show, "add": add}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions with their options."""
    add_actions(parser, ACTIONS)


def run(args: argparse.Namespace) -> None:
    """Runs the chosen action."""
    ACTIONS[args.action].run(args)
