"""The command `reid-jax VERB`: reads the arguments and hands over to the verb."""

import argparse
import gc
import importlib
import os
import re
import sys
from collections.abc import Iterable, Sequence

from reid_jax.errors import nearest, shown
from reid_jax.processes import absent_tpu, ending

VERBS = {
    "train": "train a network as a config says and score it, or resume a run",
    "evaluate": "score weights on a query and a gallery split",
    "embed": "write the descriptors of a folder of images",
    "compare": "say whether two images show the same person",
    "join": "put the parts that several processes embedded into one file",
    "gallery": "keep descriptors of people: add, search, list, erase",
    "export": "write weights as ONNX or StableHLO, held against our own forward pass",
    "convert": "turn PyTorch weights of HA-CNN or OSNet into reid_jax weights",
    "summary": "show what the network of a config costs, per component",
    "visualize": "draw results: ranked sheets, attention, maps, curves, or a page with all of them",
    "data": "check, prepare or synthesize a data set",
    "serve": "show a page on which a gallery is searched, added to and erased",
    "track": "follow people through a video and write who is where, or score that",
    "zoo": "list weights that have a name, show what is known of them, or add some",
    "report": "gather runs into tables and plots beside the paper's figures",
    "bench": "measure speed and memory on made data",
    "rehearse": "compile a config's programs for a TPU or GPU that is not here: memory, kernels, time",
}

# New objects after which Python looks for cycles among them. Tracing a network makes hundreds of thousands, which
# stay: by the default of 700 a fifth of the time goes into looking.
_OBJECTS_BETWEEN_COLLECTIONS = 100_000

_OVERRIDE = "--config."  # begins what sets a key of the config

EXAMPLES = """\
  reid-jax train --config=configs/quickstart.py --workdir=runs/quickstart
  reid-jax evaluate --weights=runs/quickstart
  reid-jax train --help"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all of the command's are."""

    def error(self, message: str):
        """Prints the message and leaves with 2."""
        self.exit(2, f"{self.prog}: error: {shown(' '.join(message.split()), 600)}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit code: 0, what the verb returns, or 2 for bad input (one line on stderr).

    Without `arguments` it is the command, whose process it has for itself: see `reid_jax.processes.ending`.
    """
    if arguments is not None:
        return _run(list(arguments))
    verb = sys.argv[1] if sys.argv[1:] else ""
    return ending.run_process(verb, lambda: _run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    arguments = [_expanded(argument) for argument in arguments]
    parser = Parser(
        prog="reid-jax",
        description="Person re-identification in JAX. `reid-jax VERB --help` shows a verb's options and examples.",
        epilog=f"examples:\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    named = arguments[0] if arguments else None
    for name, text in VERBS.items():
        # Only the verb that is asked for is imported: the others' help needs no JAX.
        module = importlib.import_module(f"reid_jax.verbs.{name}") if name == named else None
        verb = verbs.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"examples:\n{module.EXAMPLES}" if module else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if module:
            module.add_arguments(verb)
            _refuse_unknown(verb, arguments[1:])
    known, rest = parser.parse_known_args(arguments)
    overrides = [a for a in rest if a.startswith(_OVERRIDE) and hasattr(known, "config")]
    unknown = [a for a in rest if a not in overrides]
    if unknown:
        parser.error(f"{known.verb} takes no argument {shown(unknown[0])}{_missing_equals(arguments, unknown[0])}")
    known.overrides = overrides
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's remarks on the machine
    absent_tpu.tell_libtpu_that_it_is_alone()
    if "jax" in sys.modules and known.verb not in ("bench", "rehearse"):  # those look at the compiler itself
        importlib.import_module("reid_jax.processes.compiled").keep()
    return ending.run_verb(known.verb, lambda: module_of(known.verb).run(known))


def _expanded(argument: str) -> str:
    """Replaces ~ behind the = of an option, which no shell does: '--workdir=~/x' to '--workdir=/home/me/x'."""
    option, equals, value = argument.partition("=")
    return option + equals + os.path.expanduser(value) if option.startswith("--") else argument


def _refuse_unknown(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Leaves with an error at the first option that the verb, or the action it names, does not have.

    Before argparse does, which would first miss the option that a misspelt one was to be.
    """
    actions = next((each.choices for each in parser._actions if isinstance(each, argparse._SubParsersAction)), {})
    parser = next((actions[argument] for argument in arguments if argument in actions), parser)
    known = parser._option_string_actions
    for argument in arguments:
        name = argument.partition("=")[0]
        if re.match("--?[^-0-9.]", argument) and name not in known and not name.startswith(_OVERRIDE):
            hint = _option_meant(name.lstrip("-"), known)
            parser.error(f"there is no argument {shown(argument)}{hint}")


def _option_meant(name: str, known: Iterable[str]) -> str:
    """The hint for an option that a verb lacks: a key of its config, or the nearest of the `known` options."""
    if "--config" in known:
        from reid_jax.config_keys import keys_meant  # only now: it imports JAX

        if name.casefold().startswith("config."):
            return f"; did you mean --config.{name[len('config.') :]}?"
        if keys := keys_meant(name):
            return f"; did you mean --config.{keys[0]}?"
    close = nearest(name, [option.lstrip("-") for option in known])
    return f"; did you mean --{close}?" if close else ""


def _missing_equals(arguments: Sequence[str], value: str) -> str:
    """The hint for a value that stands alone behind '--config.KEY', as other commands take it."""
    before = arguments[arguments.index(value) - 1] if value in arguments[1:] else ""
    return f"; write {before}={shown(value)}" if before.startswith(_OVERRIDE) and "=" not in before else ""


def module_of(verb: str):
    """Returns the module reid_jax.verbs.VERB."""
    return importlib.import_module(f"reid_jax.verbs.{verb}")


if __name__ == "__main__":
    sys.exit(main())
