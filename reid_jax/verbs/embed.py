"""`reid-jax embed`."""

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jax.sharding import Mesh

from reid_jax import parallel
from reid_jax.cpu import cores
from reid_jax.data.builders.files import Entry, FileTree, is_image, left_out_note
from reid_jax.data.decode import decode
from reid_jax.data.image_kinds import IMAGE_ENDINGS
from reid_jax.embed import embed
from reid_jax.errors import InputError, first_few
from reid_jax.files.writing import replace_file, require_writable
from reid_jax.progress import progress_bar
from reid_jax.weights import Weights, load_weights

EXAMPLES = """\
  reid-jax embed --weights=runs/quickstart --images=crops --out=crops.npz
  python -c "import numpy; f = numpy.load('crops.npz'); print(f['name'][0], f['embedding'].shape)\""""

_IMAGES_AT_ONCE = 1024  # decoded at a time: bounds the memory for a folder of any size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--weights", required=True, help="a run's workdir or a .safetensors file")
    parser.add_argument(
        "--images", required=True, help="person crops: a folder or a zip, searched with its subfolders, or one image"
    )
    parser.add_argument("--out", required=True, help="the .npz file to write: name [n], embedding float32 [n, d]")
    parser.add_argument("--flip", action="store_true", help="average each descriptor with its mirror image's")


def run(args: argparse.Namespace) -> None:
    """Embeds every image in the folder or zip, in the order of their names."""
    out = Path(args.out)
    require_writable("--out", out, ".npz")
    tree, images, left_out = _find_images(Path(args.images))
    embedding = _embed_all(tree, images, load_weights(args.weights), parallel.create_mesh(), args.flip)
    names = np.array([entry.name for entry in images])
    replace_file(out, lambda temporary: np.savez(temporary, name=names, embedding=embedding))
    print(f"{out}: {len(names):,} descriptors of {embedding.shape[1]} numbers")
    if left_out:
        print(left_out_note(left_out))


def _find_images(path: Path) -> tuple[FileTree, list[Entry], dict[str, str]]:
    """Where the images of --images are, which they are, and what is left out; raises InputError where there is none."""
    if path.is_file() and is_image(path.name):
        tree = FileTree(path.parent)
        return tree, [tree.entry(path.name)], {}
    zipped = path.is_file() and path.suffix.lower() == ".zip"
    if not zipped and not path.is_dir():
        raise InputError(f"--images names {path}, which is no folder, no zip and no image by its ending")
    tree = FileTree(path, "") if zipped else FileTree(path)
    images, left_out = tree.images()
    if not images:
        beside = f"; {left_out_note(left_out)}" if left_out else ""
        raise InputError(f"{path} holds no image ({', '.join(IMAGE_ENDINGS)}){beside}; name the folder of the crops")
    return tree, images, left_out


def _embed_all(tree: FileTree, images: Sequence[Entry], weights: Weights, mesh: Mesh, flip: bool) -> np.ndarray:
    """The descriptors float32 [n, d] of n images; raises InputError that names all that cannot be decoded."""
    parts, broken = [], []
    with tree.reader() as read, ThreadPoolExecutor(cores()) as pool, progress_bar(len(images), "embedding") as bar:

        def decoded(entry: Entry) -> np.ndarray | None:
            try:
                return decode(read(entry.name), weights.config.image_size)
            except InputError as error:
                broken.append(f"{entry.name} ({error})")
                return None

        for start in range(0, len(images), _IMAGES_AT_ONCE):
            some = list(pool.map(decoded, images[start : start + _IMAGES_AT_ONCE]))
            if not broken:  # else the rest is read only to tell what else is broken
                parts.append(embed(weights.network, weights.variables, np.stack(some), mesh, flip))
            bar.update(len(some))
    if broken:
        raise InputError(
            f"{len(broken):,} of {len(images):,} images in {tree.location()} cannot be decoded: "
            f"{first_few(sorted(broken))}; fetch these again or take them out"
        )
    return np.concatenate(parts)
