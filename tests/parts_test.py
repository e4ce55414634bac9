"""Descriptors in parts: shared by processes, gone on with, and joined."""

import dataclasses

import numpy as np
import pytest

from reid_jax import parts
from reid_jax.data.builders.files import Entry
from reid_jax.errors import InputError
from reid_jax.extractor import BrokenImages

IMAGES = [Entry(f"{number:03}.png", 100 + number, 0) for number in range(150)]
NAMES = [image.name for image in IMAGES]


class Describer:
    """Describes a name by its number; keeps which it described. Those in `broken` cannot be decoded."""

    def __init__(self, digest="ab" * 32, broken=()):
        self.digest, self.flip, self.streams, self.described, self.broken = digest, False, (2,), [], broken

    def describe_files(self, names, read, place, progress=""):
        if wrong := [f"{name} (cut short)" for name in names if name in self.broken]:
            raise BrokenImages(wrong, len(names))
        self.described += names
        angle = np.array([int(name[:3]) for name in names]) / 100
        return np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "LEAST", 10)
    monkeypatch.setattr(parts, "MOST", 40)
    return tmp_path / "parts"


def run(folder, extractor, process=0, processes=1, images=IMAGES):
    return parts.embed_parts(folder, extractor, images, None, "there", process, processes)


def cut(images=IMAGES):
    return [[image.name for image in part] for part in parts._cut(images)]


def files(folder):
    return sorted(path.name for path in folder.glob("part-*"))


def test_parts_are_of_bounded_size_and_end_where_names_say(folder):
    assert [name for part in cut() for name in part] == NAMES
    assert all(10 <= len(part) <= 40 for part in cut()[:-1])
    assert len({len(part) for part in cut()}) > 1
    # Without one image nearly all parts stay but the one that had it.
    lost = [len([part for part in cut() if part not in cut(IMAGES[:i] + IMAGES[i + 1 :])]) for i in range(150)]
    assert min(lost) == 1
    assert np.mean(lost) < 1.5


def test_processes_share_parts_and_none_is_described_twice(folder):
    one, other = Describer(), Describer()
    shares = [sum(map(len, cut()[process::2])) for process in range(2)]
    assert run(folder, one, 0, 2) == (shares[0], 0)
    with pytest.raises(InputError, match=r"of \d parts are missing in .*part-[0-9a-f]{32}\.npz, .*; start the same"):
        parts.join(folder)
    assert run(folder, other, 1, 2) == (shares[1], 0)
    assert sorted(one.described + other.described) == NAMES
    joined = parts.join(folder)
    assert joined.name.tolist() == NAMES
    np.testing.assert_allclose(joined.embedding[:, 0], np.cos(np.arange(150) / 100), atol=1e-6)
    # Stopped, and gone on with by three processes: only what is missing is done, and what a crash has cut short.
    lost, short = (folder / name for name in files(folder)[:2])
    expected = sorted(name for path in (lost, short) for name in parts.read_descriptors(path).name.tolist())
    lost.unlink()
    short.write_bytes(short.read_bytes()[:300])
    again = [Describer() for _ in range(3)]
    done = [run(folder, each, process, 3) for process, each in enumerate(again)]
    assert sum(each for each, _ in done) == len(expected)
    assert sorted(name for each in again for name in each.described) == expected
    assert parts.join(folder).name.tolist() == NAMES


def test_copies_of_the_images_have_the_times_that_process_zero_has(folder, monkeypatch):
    told = []

    def by_process_zero(text):
        told.append(text)
        return told[0]

    monkeypatch.setattr(parts.joining, "told_by_process_zero", by_process_zero)
    copied = [dataclasses.replace(image, stamp=9) for image in IMAGES]
    run(folder, Describer(), 0, 2)
    run(folder, Describer(), 1, 2, images=copied)
    assert parts.join(folder).name.tolist() == NAMES
    cut_short = [dataclasses.replace(copied[0], size=1), *copied[1:]]
    with pytest.raises(InputError, match="there has other images here than in process 0, by their names or sizes"):
        run(folder, Describer(), 1, 2, images=cut_short)


def test_one_image_more_less_or_changed_costs_the_part_around_it(folder):
    run(folder, Describer())
    changed = [dataclasses.replace(image, size=7) if image.name == "031.png" else image for image in IMAGES]
    touched = [dataclasses.replace(image, stamp=7) if image.name == "003.png" else image for image in IMAGES]
    for images in (changed, touched, IMAGES[:90] + IMAGES[91:], [*IMAGES, Entry("150.png", 1, 0)]):
        described, there = run(folder, Describer(), images=images)
        assert there > 70
        assert described + there == len(images)
        assert len(files(folder)) == len(cut(images))  # nothing is left of what is gone
        assert parts.join(folder).name.tolist() == [image.name for image in images]


def test_broken_images_are_told_together_and_cost_their_parts_alone(folder):
    broken = ("002.png", "100.png")
    with pytest.raises(BrokenImages, match=r"2 of 150 images in there .*: 002\.png \(cut short\), 100\.png"):
        run(folder, Describer(broken=broken))
    whole = sum(len(part) for part in cut() if not {*broken} & {*part})
    assert 50 < whole < 140
    # Taken out, as the message says: what is there stays.
    rest = [image for image in IMAGES if image.name not in broken]
    assert run(folder, Describer(), images=rest) == (148 - whole, whole)
    assert parts.join(folder).name.tolist() == [image.name for image in rest]


def test_parts_of_other_images_or_weights_are_refused(folder):
    run(folder, Describer())
    before = files(folder)
    # Frames of another camera have the same names.
    with pytest.raises(InputError, match="has parts of other images, or all have new times; name another folder"):
        run(folder, Describer(), images=[dataclasses.replace(image, stamp=5) for image in IMAGES])
    with pytest.raises(InputError, match="has parts of other weights"):
        run(folder, Describer("cd" * 32))
    assert files(folder) == before
    assert run(folder, Describer()) == (0, 150)
    (folder / before[1]).write_bytes((folder / before[2]).read_bytes())
    with pytest.raises(InputError, match=r"are not of the images and weights that list\.json says"):
        parts.join(folder)
    (folder / "list.json").write_text('{"version": 1}')
    with pytest.raises(InputError, match=r"list\.json is none of reid_jax's of version 2"):
        parts.join(folder)
    (folder / "list.json").write_text('{"version": 2, "parts": ["../x.npz"], "images": 1}')
    with pytest.raises(InputError, match=r"list\.json was changed"):
        parts.join(folder)
    (folder / "list.json").unlink()
    with pytest.raises(InputError, match=r"has no list\.json; name a folder that reid-jax embed --parts"):
        parts.join(folder)
