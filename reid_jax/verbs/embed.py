"""`reid-jax embed`."""

import argparse
from pathlib import Path

from reid_jax.data.builders.files import Entry, FileTree, is_image, left_out_note
from reid_jax.data.image_kinds import IMAGE_ENDINGS
from reid_jax.descriptors import Descriptors, write_descriptors
from reid_jax.errors import InputError
from reid_jax.extractor import Extractor
from reid_jax.files.writing import require_writable

EXAMPLES = """\
  reid-jax embed --weights=runs/quickstart --images=crops --out=crops.npz
  python -c "import numpy; f = numpy.load('crops.npz'); print(f['name'][0], f['embedding'].shape)\""""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument(
        "--weights", required=True, help="a run's workdir, a .safetensors file, an exported one or zoo:NAME"
    )
    parser.add_argument(
        "--images", required=True, help="person crops: a folder or a zip, searched with its subfolders, or one image"
    )
    parser.add_argument(
        "--out",
        required=True,
        help="the .npz file to write: name [n], embedding float32 [n, d], and more (see reid_jax.descriptors)",
    )
    parser.add_argument("--flip", action="store_true", help="average each descriptor with its mirror image's")


def run(args: argparse.Namespace) -> None:
    """Embeds every image in the folder or zip, in the order of their names."""
    out = Path(args.out)
    require_writable("--out", out, ".npz")
    tree, images, left_out = _find_images(Path(args.images))
    names = [entry.name for entry in images]
    extractor = Extractor(args.weights, flip=args.flip)
    with tree.reader() as read:
        embedding = extractor.describe_files(names, read, tree.location(), "embedding")
    write_descriptors(out, Descriptors.unlabelled(names, embedding, extractor.streams, extractor.digest))
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
