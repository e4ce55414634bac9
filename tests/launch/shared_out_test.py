"""Images shared out among processes that a launcher started: `embed --parts`, `join` and `gallery add`."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from made_sets import png
from places import ROOT

from reid_jax.descriptors import read_descriptors
from reid_jax.gallery import open_gallery
from reid_jax.main import main

# The command with three images to a part, and a network that describes an image by its mean colour.
COMMAND = f"""#!{sys.executable}
import sys
import numpy as np
from reid_jax import main, parts
from reid_jax.describe import Describer
from reid_jax.verbs import embed
from reid_jax.verbs.gallery import add

class Mean(Describer):
    image_size, streams, digest, mesh = (8, 4), (3,), "ab" * 32, None

    def _described(self, blocks, flip):
        for image in blocks:
            mean = image.mean((1, 2), np.float32)
            yield mean / np.linalg.norm(mean, axis=1, keepdims=True)

parts.LEAST = parts.MOST = 3
for verb in (embed, add):
    verb.open_weights = lambda path: None
    verb.describer_of = lambda opened, mesh: Mean()
sys.exit(main.main())
"""


@pytest.fixture
def on_two(tmp_path):
    """Runs a verb on two processes; returns what they said, process 0's first."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "reid-jax").write_text(COMMAND)
    (tmp_path / "bin" / "reid-jax").chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment |= {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    def run(*arguments):
        line = [ROOT / "launch" / "processes.sh", "2", *map(str, arguments)]
        done = subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return sorted(done.stdout.splitlines())

    return run


def test_two_processes_share_the_images_and_do_none_twice(on_two, tmp_path):
    crops = tmp_path / "crops"
    crops.mkdir()
    for number in range(14):
        (crops / f"{number:02}.png").write_bytes(png(number, (4, 8)))
    said = on_two("embed", "--weights=w", f"--images={crops}", "--parts=parts")
    assert said == [
        "process 0 of 2: parts: 8 images embedded, 0 were there already",
        "process 1 of 2: parts: 6 images embedded, 0 were there already",
    ]
    second = next(path for path in (tmp_path / "parts").glob("part-*") if "03.png" in read_descriptors(path).name)
    second.unlink()
    assert "process 1 of 2: parts: 3 images embedded, 3 were there already" in on_two(
        "embed", "--weights=w", f"--images={crops}", "--parts=parts"
    )
    assert main(["join", f"--parts={tmp_path / 'parts'}", f"--out={tmp_path / 'joined.npz'}"]) == 0
    joined = read_descriptors(tmp_path / "joined.npz")
    assert joined.name.tolist() == [f"{number:02}.png" for number in range(14)]

    said = on_two("gallery", "add", "--weights=w", f"--images={crops}")
    assert [re.sub("; .*", "", line) for line in said] == [
        f"process {process} of 2: 7 added, 0 known already" for process in range(2)
    ]
    with open_gallery(tmp_path / "gallery") as gallery:
        assert gallery.check() == []
        entries = gallery.page().entries
        assert sorted(entry.source for entry in entries) == joined.name.tolist()
        place = [joined.name.tolist().index(entry.source) for entry in entries]
        np.testing.assert_array_equal(gallery.vectors(range(1, 15))[1], joined.embedding[place])
