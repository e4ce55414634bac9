"""The command `reid-jax VERB`: reads the arguments, hands over to the verb, and turns user errors into one line."""

import argparse
import gc
import importlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Sequence

from reid_jax.errors import InputError, disk_failure, nearest, one_line, shown
from reid_jax.processes import output, peers, signals

VERBS = {
    "train": "train a network as a config says and score it, or resume a run",
    "evaluate": "score weights on a query and a gallery split",
    "embed": "write the descriptors of a folder of images",
    "convert": "turn PyTorch weights of HA-CNN into reid_jax weights",
    "summary": "show what the network of a config costs, per component",
    "visualize": "draw results: ranked sheets, attention, maps, curves, or a page with all of them",
    "data": "check, prepare or synthesize a data set",
    "report": "gather runs into tables and plots beside the paper's figures",
    "bench": "measure speed and memory on made data",
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

    Without `arguments` it is the command, whose process it has for itself: then signals end it in one line, and losing
    what it prints does not.
    """
    if arguments is not None:
        return _run(list(arguments))
    farewell = _farewell(sys.argv[1] if sys.argv[1:] else "")
    output.keep_going()
    signals.install(lambda signum: os._exit(farewell(signum)))
    try:
        try:
            code = _run(sys.argv[1:])
        finally:  # --help leaves by SystemExit
            output.finish()
        signals.finish()
    except (KeyboardInterrupt, signals.Stopped) as told:
        code = farewell(told.signum if isinstance(told, signals.Stopped) else signal.SIGINT)
        # Not by the interpreter's exit: it waits for other threads, and XLA crashes where one of them still compiles.
        os._exit(code)
    if code:
        peers.leave(peers.FAILED, code)
    return code


def _run(arguments: list[str]) -> int:
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    arguments = [_expanded(one) for one in arguments]
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
    try:
        return module_of(known.verb).run(known) or 0
    except (InputError, FloatingPointError) as error:
        print(f"reid-jax {known.verb}: error: {one_line(error)}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    except Exception as error:
        peers.wait_for_news()
        told = _platform_failure(error)
        if told is None and (disk := disk_failure(error)):
            told = f"{disk}; make room or write elsewhere, then start the same command again"
        if told is None:
            raise
        print(f"reid-jax {known.verb}: error: {told}", file=sys.stderr)
        return 2


def _farewell(verb: str) -> Callable[[int], int]:
    """Returns what tells of the signal that ends `verb`, once, and gives the exit code, to the other processes too.

    A run that is told to stop has not failed: its launcher takes 0 without results for "start me again".
    """
    first = threading.Lock()

    def tell(signum: int) -> int:
        name = signal.Signals(signum).name
        if signum == signal.SIGINT:
            words, code, how = "interrupted", 128 + signum, peers.FAILED
        elif verb == "train":
            words, code, how = f"stopped by {name}; the same command resumes the run", 0, peers.STOPPED
        else:
            words, code, how = f"ended by {name}", 128 + signum, peers.FAILED
        if first.acquire(blocking=False):
            output.tell(f"reid-jax {verb}".rstrip() + f": {words}")
        peers.leave(how, code)
        return code

    return tell


def _platform_failure(error: Exception) -> str | None:
    """What to say of an error behind which stands a JAX_PLATFORMS that this machine has not; None for any other."""
    if isinstance(error, RuntimeError | AssertionError) and "jax" in sys.modules:
        try:
            importlib.import_module("reid_jax.parallel").require_platforms()
        except InputError as missing:
            return str(missing)
    return None


def _expanded(argument: str) -> str:
    """Replaces ~ behind the = of an option, which no shell does: '--workdir=~/x' to '--workdir=/home/me/x'."""
    option, equals, value = argument.partition("=")
    return option + equals + os.path.expanduser(value) if option.startswith("--") else argument


def _refuse_unknown(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Leaves with an error at the first option that the verb, or the action it names, does not have.

    Before argparse does, which would first miss the option that a misspelt one was to be.
    """
    actions = next((one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction)), {})
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
