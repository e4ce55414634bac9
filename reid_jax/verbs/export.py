"""`reid-jax export`."""

import argparse
from pathlib import Path

from reid_jax.errors import InputError, shown
from reid_jax.export.packages import require_onnx
from reid_jax.export.reading import ENDINGS
from reid_jax.export.stablehlo import export_stablehlo
from reid_jax.files.json_files import is_number, read_json
from reid_jax.files.writing import require_writable
from reid_jax.weights import load_weights

EXAMPLES = """\
  reid-jax export --weights=runs/quickstart --out=person.onnx
  reid-jax export --weights=runs/1x --out=person.onnx --uint8 --float16
  reid-jax export --weights=runs/1x --out=person.stablehlo
  reid-jax evaluate --weights=person.onnx --dataset=market1501 --data_dir=data"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--weights", required=True, help="a run's workdir, a .safetensors file or zoo:NAME")
    parser.add_argument("--out", required=True, help="the .onnx or .stablehlo file to write")
    parser.add_argument(
        "--uint8",
        action="store_true",
        help="ONNX: take pixels, uint8 [n, h, w, 3], RGB, and normalise within (default: normalised float32 "
        "[n, 3, h, w]); StableHLO always does",
    )
    parser.add_argument("--float16", action="store_true", help="ONNX: compute feature maps in float16")
    parser.add_argument("--thresholds", help="a JSON file of `reid-jax track calibrate`, to be told in the file")


def run(args: argparse.Namespace) -> None:
    """Exports, compares with our forward pass, and says how close it is."""
    ending = Path(args.out).suffix.lower()
    if ending not in ENDINGS:
        raise InputError(f"--out is {shown(args.out)!r}; it must end in {' or '.join(ENDINGS)}")
    require_writable("--out", args.out)
    thresholds = _thresholds(args.thresholds) if args.thresholds else {}
    if ending == ".stablehlo":
        if args.float16:
            raise InputError("--float16 is for ONNX; StableHLO is the network as it is: export weights of its dtype")
        print(export_stablehlo(load_weights(args.weights), args.out, thresholds=thresholds))
        return
    require_onnx("onnx", "onnxruntime")
    from reid_jax.export.onnx import export_onnx

    weights = load_weights(args.weights)
    print(export_onnx(weights, args.out, uint8=args.uint8, float16=args.float16, thresholds=thresholds))


def _thresholds(path: str) -> dict[str, float]:
    """The thresholds of a file that `track calibrate --json` has written: rate -> distance."""
    value = read_json(path)
    lines = value.get("thresholds") if isinstance(value, dict) else None
    try:
        found = {f"{line['rate']:g}": line["threshold"] for line in lines}
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"--thresholds={path} is no file of `reid-jax track calibrate --json`") from error
    if not found or not all(map(is_number, found.values())):
        raise InputError(f"--thresholds={path} has a threshold that is no number, or none at all")
    return found
