"""`reid-jax embed`."""

import argparse
from pathlib import Path

from reid_jax import parallel
from reid_jax.data.builders.files import left_out_note
from reid_jax.data.image_files import find_images
from reid_jax.descriptors import Descriptors, write_descriptors
from reid_jax.errors import InputError
from reid_jax.export.reading import describer_of, open_weights
from reid_jax.extractor import Extractor
from reid_jax.files.writing import require_writable, require_writable_folder
from reid_jax.parts import embed_parts
from reid_jax.processes import joining

EXAMPLES = """\
  reid-jax embed --weights=runs/quickstart --images=crops --out=crops.npz
  python -c "import numpy; f = numpy.load('crops.npz'); print(f['name'][0], f['embedding'].shape)\"
Of more images than one process should do, or in one go; the same command goes on where it was stopped:
  launch/processes.sh 2 embed --weights=runs/quickstart --images=crops --parts=crops.parts
  reid-jax join --parts=crops.parts --out=crops.npz"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument(
        "--weights", required=True, help="a run's workdir, a .safetensors file, an exported one or zoo:NAME"
    )
    parser.add_argument(
        "--images", required=True, help="person crops: a folder or a zip, searched with its subfolders, or one image"
    )
    to = parser.add_mutually_exclusive_group(required=True)
    to.add_argument(
        "--out",
        help="the .npz file to write: name [n], embedding float32 [n, d], and more (see reid_jax.descriptors)",
    )
    to.add_argument("--parts", help="a folder to write in parts, which several processes share; see reid-jax join")
    parser.add_argument("--flip", action="store_true", help="average each descriptor with its mirror image's")


def run(args: argparse.Namespace) -> None:
    """Embeds every image in the folder or zip, in the order of their names."""
    process, processes = joining.join_several()
    if args.parts:
        require_writable_folder("--parts", args.parts)
    elif processes > 1:
        raise InputError(f"there are {processes} processes, and one file; give --parts=FOLDER instead of --out")
    else:
        require_writable("--out", args.out, ".npz")
    tree, images, left_out = find_images(Path(args.images))
    with tree.reader() as read:
        if args.parts:
            describer = describer_of(open_weights(args.weights), parallel.create_local_mesh())
            extractor = Extractor(describer, flip=args.flip)
            done, there = embed_parts(Path(args.parts), extractor, images, read, tree.location(), process, processes)
            joining.meet()  # process 0 speaks for the others as long as it runs
            which = f"process {process} of {processes}: " if processes > 1 else ""
            print(f"{which}{args.parts}: {done:,} images embedded, {there:,} were there already")
        else:
            extractor = Extractor(args.weights, flip=args.flip)
            names = [entry.name for entry in images]
            embedding = extractor.describe_files(names, read, tree.location(), "embedding")
            write_descriptors(args.out, Descriptors.unlabelled(names, embedding, extractor.streams, extractor.digest))
            print(f"{args.out}: {len(names):,} descriptors of {embedding.shape[1]} numbers")
    if left_out:
        print(left_out_note(left_out))
