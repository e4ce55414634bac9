"""A verb with actions, each a module: `reid-jax VERB ACTION`."""

import argparse
from collections.abc import Mapping
from types import ModuleType


def add_actions(parser: argparse.ArgumentParser, modules: Mapping[str, ModuleType]) -> None:
    """Adds the actions to a verb's parser; the one that is chosen is `args.action`.

    Each module of `modules`, name -> module, has HELP, EXAMPLES and `add_arguments(parser)`.
    """
    actions = parser.add_subparsers(dest="action", required=True, metavar=f"{{{','.join(modules)}}}")
    for name, module in modules.items():
        subparser = actions.add_parser(
            name,
            help=module.HELP,
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            epilog=f"examples:\n{module.EXAMPLES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(subparser)
