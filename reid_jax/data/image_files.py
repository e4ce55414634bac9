"""The image files that a user names by --images: of a folder, of a zip, or a single one."""

from pathlib import Path

from reid_jax.data.builders.files import Entry, FileTree, is_image, left_out_note
from reid_jax.data.image_kinds import IMAGE_ENDINGS
from reid_jax.errors import InputError


def find_images(path: Path) -> tuple[FileTree, list[Entry], dict[str, str]]:
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
