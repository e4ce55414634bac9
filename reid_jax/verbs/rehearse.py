"""`reid-jax rehearse`: compiles training and embedding for hardware that is not here, and says what they would cost."""

import argparse
from pathlib import Path

import jax

from reid_jax import config as run_config
from reid_jax.bench.rehearsal import programs, target
from reid_jax.bench.rehearsal.rehearse import rehearse
from reid_jax.files.json_files import write_json
from reid_jax.files.writing import replace_file, require_writable, require_writable_folder
from reid_jax.models.fields import IDENTITIES
from reid_jax.models.registry import dtype_of
from reid_jax.progress import announce

EXAMPLES = """\
  reid-jax rehearse --config=configs/robust_reid.py:size=1x --target=tpu:v5e:1x1 --config.model.dtype=bfloat16
  reid-jax rehearse --config=configs/robust_reid.py:size=nano --target=gpu:h100 --work=embed --json=h100.json
  reid-jax rehearse --config=configs/robust_reid.py:size=2x --target=tpu:v6e:4x4 --text=compiled
Nothing runs: memory, kernels and bytes are those of the compiled program, its time is a model's. A program takes one to
ten minutes of one core to compile. The compilers come with pip install 'reid_jax[tpu]' and 'reid_jax[cuda]'."""

_WORK = ("train", "embed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options; overrides `--config.KEY=VALUE` pass beside them."""
    parser.add_argument("--config", metavar="FILE.py[:ARG]", required=True, help="the config of the network and run")
    parser.add_argument("--target", type=target.target, required=True, help=target.FORMS)
    parser.add_argument(
        "--work", nargs="+", action="extend", choices=_WORK, help="which programs: train, embed (default: both)"
    )
    text = "in the made training set (default %(default)s)"
    parser.add_argument("--identities", type=IDENTITIES, default=751, help=text)
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument("--text", metavar="FOLDER", help="also write the compiled programs, as XLA prints them")


def run(args: argparse.Namespace) -> None:
    """Compiles, prints, and writes what was asked for."""
    if args.json:
        require_writable("--json", args.json)
    if args.text:
        require_writable_folder("--text", args.text)
    jax.config.update("jax_platforms", "cpu")  # whatever this machine has: nothing runs
    settings = run_config.load(args.config, args.overrides)
    mesh, dtype = args.target.mesh(), dtype_of(settings)
    kind = args.target.hardware.kind
    print(f"target      {mesh.size} x {kind}, jax {jax.__version__}; compiled, not run", flush=True)
    figures = {}
    for work in dict.fromkeys(args.work or _WORK):
        announce(f"{work}: tracing and compiling, which takes one to ten minutes")
        train = work == "train"
        program = programs.training(settings, args.identities, mesh) if train else programs.embedding(settings, mesh)
        rehearsed = rehearse(program, args.target, dtype)
        what = f"a step of {program.images:,} images" if train else f"a dispatch of {program.images:,} images"
        height, width = settings.image_size
        print(f"\n{work:12}{settings.model.name}, {dtype}, {height}x{width}, {what}; figures of one device")
        print(rehearsed, flush=True)
        figures[work] = rehearsed.figures()
        if args.text:
            replace_file(Path(args.text) / f"{work}.hlo.txt", lambda path, text=rehearsed.text: path.write_text(text))
    if args.json:
        settings_of = {"config": args.config, "overrides": args.overrides, "network": settings.model.name}
        write_json(args.json, settings_of | {"dtype": dtype, "jax": jax.__version__, **figures})
