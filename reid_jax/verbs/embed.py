"""`reid-jax embed`."""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from reid_jax import parallel
from reid_jax.cpu import cores
from reid_jax.data.builders.files import IMAGE_ENDINGS
from reid_jax.data.decode import decode
from reid_jax.embed import embed
from reid_jax.errors import InputError
from reid_jax.weights import load_weights
from reid_jax.writers import replace_file, require_writable

EXAMPLES = """\
  reid-jax embed --weights=runs/quickstart --images=crops --out=crops.npz
  python -c "import numpy; f = numpy.load('crops.npz'); print(f['name'][0], f['embedding'].shape)\""""

_IMAGES_AT_ONCE = 1024  # decoded at a time: bounds the memory for a folder of any size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--weights", required=True, help="a run's workdir or a .safetensors file")
    parser.add_argument("--images", required=True, help="a folder of person crops, searched with its subfolders")
    parser.add_argument("--out", required=True, help="the .npz file to write: name [n], embedding float32 [n, d]")
    parser.add_argument("--flip", action="store_true", help="average each descriptor with its mirror image's")


def run(args: argparse.Namespace) -> None:
    """Embeds every image below the folder, in the order of their names."""
    folder, out = Path(args.images), Path(args.out)
    if not folder.is_dir():
        raise InputError(f"--images names {folder}, which is no folder")
    require_writable("--out", out, ".npz")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS)
    if not paths:
        raise InputError(f"{folder} holds no image ({', '.join(IMAGE_ENDINGS)}); name the folder of the crops")
    weights, mesh = load_weights(args.weights), parallel.create_mesh()

    def read(path):
        try:
            return decode(path.read_bytes(), weights.config.image_size)
        except (InputError, OSError) as error:
            raise InputError(f"{path} cannot be decoded: {error}; fetch it again or take it out") from error

    parts = []
    with ThreadPoolExecutor(cores()) as pool:
        for start in range(0, len(paths), _IMAGES_AT_ONCE):
            images = np.stack(list(pool.map(read, paths[start : start + _IMAGES_AT_ONCE])))
            parts.append(embed(weights.network, weights.variables, images, mesh, args.flip))
            print(f"{start + len(images):,} of {len(paths):,} images", flush=True)
    names = np.array([path.relative_to(folder).as_posix() for path in paths])
    embedding = np.concatenate(parts)
    replace_file(out, lambda temporary: np.savez(temporary, name=names, embedding=embedding))
    print(f"{out}: {len(paths):,} descriptors of {parts[0].shape[1]} numbers")
