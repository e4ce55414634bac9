"""`reid-jax zoo add`: gives weights a name."""

import argparse

from reid_jax import zoo
from reid_jax.descriptors import digest_of
from reid_jax.errors import InputError
from reid_jax.weights import load_weights, save_weights, without_classifiers

HELP = "give weights a name: they are copied, without classifiers, to the user's own folder"
EXAMPLES = """\
  reid-jax zoo add market-1x --weights=runs/1x
  REID_JAX_ZOO=/srv/weights reid-jax zoo add doorway --weights=runs/doorway
The folder is $REID_JAX_ZOO, else reid_jax/zoo below $XDG_DATA_HOME or ~/.local/share."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the name and the options."""
    parser.add_argument("name", metavar="NAME", help="small letters, digits, '-', '_' and '.'")
    parser.add_argument("--weights", required=True, help="a run's workdir, a .safetensors file or zoo:NAME")
    parser.add_argument("--replace", action="store_true", help="even if the user's folder has weights of this name")
    parser.add_argument("--half", action="store_true", help="store the parameters as float16, in half the room")


def run(args: argparse.Namespace) -> None:
    """Copies the weights."""
    name = args.name.removeprefix(zoo.PREFIX)
    path = zoo.place_of(name)
    if path.exists() and not args.replace:
        raise InputError(f"{path} is there already; take another name, or --replace it")
    weights = without_classifiers(load_weights(args.weights))
    save_weights(path, weights, args.half)
    size = path.stat().st_size / 2**20
    print(f"{zoo.PREFIX}{name} is in {path}: {size:.2f} MiB, digest {digest_of(load_weights(path).variables)}")
