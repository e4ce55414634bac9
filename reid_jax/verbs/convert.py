"""`reid-jax convert`."""

import argparse

from reid_jax import config
from reid_jax.convert.formats import convert_weights
from reid_jax.convert.torch_file import read_state_dict
from reid_jax.files.writing import require_apart, require_writable
from reid_jax.weights import Weights, save_weights

EXAMPLES = """\
  reid-jax convert --torch=hacnn_market_xent.pth.tar --out=hacnn.safetensors
  reid-jax convert --torch=model.pth.tar-60 --out=hacnn.safetensors --crop_align_corners=false
  reid-jax convert --torch=osnet_x1_0_market.pth --out=osnet.safetensors
  reid-jax evaluate --weights=hacnn.safetensors --dataset=market1501 --data_dir=data"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--torch", required=True, help="HA-CNN's or OSNet's weights, torchreid's file or .safetensors")
    parser.add_argument("--out", required=True, help="the .safetensors file to write")
    parser.add_argument(
        "--crop_align_corners",
        choices=("true", "false"),
        default="true",
        help="HA-CNN only, the grid of the region crop: true for weights trained with PyTorch before 1.3, as the "
        "published ones are; false for newer ones (default true)",
    )


def run(args: argparse.Namespace) -> None:
    """Reads, converts and writes, never onto what it reads; no pickled code is run."""
    require_writable("--out", args.out, ".safetensors")
    require_apart([("--out", args.out)], [("--torch", args.torch)])
    align = args.crop_align_corners == "true"
    model, variables, image_size = convert_weights(read_state_dict(args.torch), crop_align_corners=align)
    identities = model.pop("identities", 0)
    settings = config.default(model["name"])
    settings.image_size = image_size
    if "logit_scale" in settings.model:  # these networks have no scale on their logits
        model = {"logit_scale": 1.0, "logit_scale_learned": False, **model}
    settings.model.update(model)
    save_weights(args.out, Weights(settings, identities, variables))
    grid = f", crop_align_corners={args.crop_align_corners}" if "crop_align_corners" in settings.model else ""
    print(f"{args.out}: {settings.model.name}, {identities} identities{grid}")
