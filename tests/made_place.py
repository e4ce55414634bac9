"""A place before two cameras, drawn as boxes of a colour, as sequence folders with ground truth."""

from pathlib import Path

import numpy as np
from PIL import Image

from reid_jax.tracking.mot_files import Rows, write_ground_truth
from reid_jax.tracking.sequences import Sequence, write_seqinfo

SIZE = (60, 80)
FRAMES = 40
RED, BLUE = (200, 30, 40), (30, 60, 200)
# (person, camera, first and last frame, colour): 5 comes back before the other camera.
VISITS = [(5, 1, 1, 8, RED), (6, 1, 5, 16, BLUE), (5, 2, 25, 32, RED), (7, 2, 35, 40, (30, 200, 60))]


def two_cameras(folder: Path) -> list[Path]:
    """Writes `VISITS` below the folder, and returns the two sequence folders."""
    folders = [folder / "c1", folder / "c2"]
    for camera, own in enumerate(folders, 1):
        write_seqinfo(Sequence(own, own.name, 4.0, FRAMES, SIZE, ending=".png"))
        (own / "img1").mkdir()
        rows = []
        for number in range(1, FRAMES + 1):
            pixels = np.full((*SIZE, 3), 128, np.uint8)
            for person, where, first, last, colour in VISITS:
                if where == camera and first <= number <= last:
                    left = 10 * (person - 4)
                    pixels[10:40, left : left + 8] = colour
                    rows.append((number, person, [left, 10, 8, 30]))
            Image.fromarray(pixels).save(own / "img1" / f"{number:06d}.png")
        frame, person, box = zip(*rows, strict=True)
        write_ground_truth(own / "gt" / "gt.txt", Rows.of(frame, box, identity=person, category=1, visibility=1))
    return folders
