"""Descriptors in parts: shared by processes, gone on with, and joined."""

import numpy as np
import pytest

from reid_jax import parts
from reid_jax.errors import InputError

NAMES = [f"{number:02}.png" for number in range(23)]


class Describer:
    """Describes a name by its number; counts how often each is described."""

    def __init__(self, digest="ab" * 32):
        self.digest, self.flip, self.streams, self.described = digest, False, (2,), []

    def describe_files(self, names, read, place, progress=""):
        self.described += names
        angle = np.array([int(name[:2]) for name in names]) / 10
        return np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "IMAGES", 5)
    return tmp_path / "parts"


def run(folder, extractor, process=0, processes=1, names=NAMES):
    return parts.embed_parts(folder, extractor, names, None, "there", process, processes)


def test_processes_share_parts_and_none_is_described_twice(folder):
    one, other = Describer(), Describer()
    assert run(folder, one, 0, 2) == (13, 0)
    with pytest.raises(InputError, match=r"2 of 5 parts are missing in .*part-000001\.npz, part-000003\.npz; start"):
        parts.join(folder)
    assert run(folder, other, 1, 2) == (10, 0)
    assert sorted(one.described + other.described) == NAMES
    joined = parts.join(folder)
    assert joined.name.tolist() == NAMES
    np.testing.assert_allclose(joined.embedding[:, 0], np.cos(np.arange(23) / 10), atol=1e-6)
    # Stopped, and gone on with by three processes: only what is missing is done.
    parts.part_path(folder, 2).unlink()
    again = [Describer() for _ in range(3)]
    done = [run(folder, each, process, 3) for process, each in enumerate(again)]
    assert sum(each for each, _ in done) == 5
    assert [name for each in again for name in each.described] == NAMES[10:15]
    assert parts.join(folder).name.tolist() == NAMES


def test_parts_of_other_images_or_weights_are_refused(folder):
    run(folder, Describer())
    with pytest.raises(InputError, match="has parts of other images"):
        run(folder, Describer(), names=NAMES[:-1])
    with pytest.raises(InputError, match="has parts of other weights"):
        run(folder, Describer("cd" * 32))
    parts.part_path(folder, 0).replace(parts.part_path(folder, 1))
    run(folder, Describer())
    parts.part_path(folder, 1).write_bytes(parts.part_path(folder, 2).read_bytes())
    with pytest.raises(InputError, match=r"are not of the images and weights that list\.json says"):
        parts.join(folder)
    (folder / "list.json").write_text('{"version": 2}')
    with pytest.raises(InputError, match=r"list\.json is none of reid_jax's of version 1"):
        parts.join(folder)
    (folder / "list.json").unlink()
    with pytest.raises(InputError, match=r"has no list\.json; name a folder that reid-jax embed --parts"):
        parts.join(folder)
    with pytest.raises(InputError, match=r"has parts and no list\.json"):
        run(folder, Describer())
