"""Whether a run's training images lie on every device, whole, or are streamed from disk."""

import os

import jax

from reid_jax.processes import joining

AUTO, RESIDENT, STREAMED = CHOICES = ("auto", "resident", "streamed")

_SHARE = 0.25  # of the memory that the images may take; parameters, activations and copies need the rest


def is_resident(choice: str, images: int, image_size: tuple[int, int]) -> tuple[bool, str]:
    """Says whether so many images of (height, width) are held by every device, and why, in a line.

    'auto' holds them where they take at most a quarter of the memory of process 0's first device, or of its machine,
    whichever has less. All processes call this alike, and get the same answer.
    """
    size = images * image_size[0] * image_size[1] * 3
    resident, why = choice == RESIDENT, "as config.train_images says"
    if choice == AUTO:
        memory = _memory()
        resident = size <= _SHARE * memory
        why = f"{'at most' if resident else 'more than'} a quarter of {_gib(memory)} of memory"
    how = "on every device" if resident else "streamed from disk"
    line = f"{how}: {images:,} of {image_size[0]}x{image_size[1]} pixels, {_gib(size)}, {why}"
    told = joining.told_by_process_zero(line)
    return told.startswith("on"), told


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _memory() -> int:
    """Bytes of the machine, through which the images pass, or of the first device where it has fewer and says so."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    device = jax.local_devices()[0]
    own = None if device.platform == "cpu" else (device.memory_stats() or {}).get("bytes_limit")
    return min(machine, own or machine)
