"""`reid-jax export`."""

import argparse
from pathlib import Path

from reid_jax.descriptors import digest_of
from reid_jax.errors import InputError, shown
from reid_jax.export.packages import require_onnx
from reid_jax.export.reading import ENDINGS
from reid_jax.export.stablehlo import export_stablehlo
from reid_jax.files.writing import require_writable
from reid_jax.tracking.calibration import read_calibration_of
from reid_jax.weights import Weights, load_weights

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
    parser.add_argument(
        "--calibration",
        help="thresholds of these weights, from `reid-jax track calibrate --json`: those of two images are told in the "
        "file",
    )


def run(args: argparse.Namespace) -> None:
    """Exports, compares with our forward pass, and says how close it is."""
    ending = Path(args.out).suffix.lower()
    if ending not in ENDINGS:
        raise InputError(f"--out is {shown(args.out)!r}; it must end in {' or '.join(ENDINGS)}")
    require_writable("--out", args.out)
    if ending == ".stablehlo":
        if args.float16:
            raise InputError("--float16 is for ONNX; StableHLO is the network as it is: export weights of its dtype")
        weights = load_weights(args.weights)
        print(export_stablehlo(weights, args.out, thresholds=_thresholds(args, weights)))
        return
    require_onnx("onnx", "onnxruntime")
    from reid_jax.export.onnx import export_onnx

    weights = load_weights(args.weights)
    thresholds = _thresholds(args, weights)
    print(export_onnx(weights, args.out, uint8=args.uint8, float16=args.float16, thresholds=thresholds))


def _thresholds(args: argparse.Namespace, weights: Weights) -> dict[str, float]:
    """False-positive rate -> distance of two images, of --calibration."""
    if not args.calibration:
        return {}
    calibration = read_calibration_of(args.calibration, args.weights, digest_of(weights.variables))
    return {f"{each.rate:g}": each.threshold for each in calibration.images.at}
