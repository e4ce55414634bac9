"""`reid-jax gallery`: descriptors of people, searched and erased; an action a file."""

import argparse

from reid_jax.verbs.actions import add_actions
from reid_jax.verbs.gallery import add, check, copy, erase, export, index, search
from reid_jax.verbs.gallery import list as list_action

EXAMPLES = """\
  reid-jax gallery add --weights=zoo:street --images=crops --pattern='(?P<person>[^_.]+).*'
  reid-jax gallery search anna.jpg --weights=zoo:street
  reid-jax gallery list
  reid-jax gallery erase --person=anna --yes"""

ACTIONS = {
    "add": add,
    "search": search,
    "list": list_action,
    "erase": erase,
    "export": export,
    "copy": copy,
    "index": index,
    "check": check,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the actions with their options."""
    add_actions(parser, ACTIONS)


def run(args: argparse.Namespace) -> int | None:
    """Runs the chosen action."""
    return ACTIONS[args.action].run(args)
