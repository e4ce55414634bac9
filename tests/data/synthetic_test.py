"""Synthetic people: their numbers, their layout, and that the same numbers give the same files."""

import hashlib
import json
import pathlib
import re
import sys

import numpy as np
import pytest
from PIL import Image

from reid_jax.data import split, synthetic
from reid_jax.data.synthetic import world
from reid_jax.data.synthetic.cameras import create_camera
from reid_jax.data.synthetic.canvas import Canvas
from reid_jax.data.synthetic.figure import draw_figure, draw_pose
from reid_jax.data.synthetic.people import draw_person
from reid_jax.errors import InputError

SMALL = synthetic.SyntheticPeople(train_identities=3, test_identities=2, cameras=3, images_per_camera=2, seed=5)


def digests(folder: pathlib.Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.suffix == ".jpg")
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> pathlib.Path:
    return synthetic.render(SMALL, tmp_path_factory.mktemp("people"), workers=1)


def test_parse_reads_fields_and_leaves_the_rest_by_default():
    assert synthetic.parse("synthetic") == synthetic.SyntheticPeople()
    assert synthetic.parse("synthetic:seed=3,test_identities=7") == synthetic.SyntheticPeople(test_identities=7, seed=3)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("people", "not of synthetic people"),
        ("synthetic:", "is not field=value"),
        ("synthetic:identities=3", "the fields are: train_identities"),
        ("synthetic:seed", "seed has no value"),
        ("synthetic:seed=1,seed=2", "given twice"),
        ("synthetic:seed=-1", "not a whole number"),
        ("synthetic:seed=1.5", "not a whole number"),
        ("synthetic:seed= 1", "not a whole number"),
        ("synthetic:cameras=1", "at least 2"),
        ("synthetic:images_per_camera=1", "at least 2"),
        ("synthetic:train_identities=9000,test_identities=1000", "9999"),
    ],
)
def test_parse_refuses(name, said):
    with pytest.raises(InputError, match=re.escape(said)):
        synthetic.parse(name)


def test_files_do_not_depend_on_the_workers(rendered, tmp_path):
    again = synthetic.render(SMALL, tmp_path, workers=3)
    assert digests(again) == digests(rendered)


def test_an_image_does_not_depend_on_the_size_of_the_set():
    # More training identities must not redraw the ones that are there: sets nest.
    larger = synthetic.SyntheticPeople(train_identities=30, test_identities=2, cameras=3, images_per_camera=2, seed=5)
    one, other = synthetic.draw_image(SMALL, 2, 1, 0), synthetic.draw_image(larger, 2, 1, 0)
    np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_layout_and_counts(rendered):
    names = synthetic.file_names(SMALL)
    root = rendered / synthetic.LAYOUT_FOLDER
    assert sorted(names) == sorted(str(file.relative_to(root)) for file in root.rglob("*.jpg"))
    # Three cameras of three see everybody; two distractors join the gallery.
    assert len([name for name in names if name.startswith("bounding_box_train/")]) == 3 * 3 * 2
    assert len([name for name in names if name.startswith("query/")]) == 2 * 3
    assert len([name for name in names if name.startswith("bounding_box_test/")]) == 2 * 3 + 2
    assert json.loads((rendered / "spec.json").read_text())["seed"] == 5


def test_the_set_serves_as_market1501_and_by_its_own_name(rendered):
    query = split.load_split("market1501", "query", rendered, (128, 64))
    gallery = split.load_split("market1501", "gallery", rendered, (128, 64))
    assert query.image.shape == (6, 128, 64, 3)
    assert set(gallery.identity) == {0, 4, 5}
    name = "synthetic:train_identities=3,test_identities=2,cameras=3,images_per_camera=2,seed=5"
    same = split.load_split(name, "query", rendered.parent, (128, 64))
    np.testing.assert_array_equal(same.image, query.image)
    for number, seen_by in zip(query.identity, query.camera, strict=True):
        assert ((gallery.identity == number) & (gallery.camera != seen_by)).any()


def test_other_numbers_give_another_folder_and_other_pictures(rendered, tmp_path):
    other = synthetic.SyntheticPeople(train_identities=3, test_identities=2, cameras=3, images_per_camera=2, seed=6)
    assert other.folder_name != SMALL.folder_name
    assert not set(digests(synthetic.render(other, tmp_path, workers=1)).values()) & set(digests(rendered).values())


def test_a_finished_set_is_kept_and_a_lacking_one_is_drawn_again(tmp_path):
    folder = synthetic.render(SMALL, tmp_path, workers=1)
    before = digests(folder)
    stamps = {file: file.stat().st_mtime_ns for file in folder.rglob("*.jpg")}
    synthetic.render(SMALL, tmp_path, workers=1)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.jpg")} == stamps
    next(folder.rglob("*.jpg")).unlink()
    synthetic.render(SMALL, tmp_path, workers=1)
    assert digests(folder) == before


def test_an_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(kind, spec, images, root):
        yield None
        raise KeyboardInterrupt

    monkeypatch.setattr(world, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        synthetic.render(SMALL, tmp_path, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write synthetic people"):
        synthetic.render(SMALL, tmp_path / "file", workers=1)


def test_a_workers_failure_is_reported_and_cleaned_up(tmp_path, monkeypatch):
    monkeypatch.setattr(world, "_work_command", lambda: [sys.executable, "-c", "raise OSError('disk is full')"])
    with pytest.raises(InputError, match="disk is full"):
        synthetic.render(SMALL, tmp_path, workers=2)
    assert list(tmp_path.iterdir()) == []


def test_people_of_one_identity_are_drawn_differently_in_each_image_of_each_camera():
    images = [
        np.asarray(synthetic.draw_image(SMALL, 1, camera, index), int) for camera in (1, 2, 3) for index in (0, 1)
    ]
    for one in range(6):
        for other in range(one):
            assert np.abs(images[one] - images[other]).mean() > 3
    assert all(image.shape == (128, 64, 3) for image in images)


def test_figures_are_drawn_as_they_always_were():
    """The picture holds every kind of bag, hair, hat, jacket, pattern, trousers and skirt, from all sides."""
    spec = synthetic.SyntheticPeople(seed=5)
    figures = []
    for i in range(24):
        rng = np.random.default_rng([5, i])
        camera = create_camera(spec, 1 + i % 6)
        canvas = Canvas(96, 48, camera.light, camera.ambient)
        person = draw_person(rng)
        draw_figure(canvas, person, draw_pose(rng, camera, rng.uniform(-np.pi, np.pi), 96, 48))
        figures.append(np.clip(255 * canvas.colour, 0, 255).astype(np.uint8))
    drawn = np.concatenate([np.concatenate(figures[row : row + 12], axis=1) for row in (0, 12)])
    golden = np.asarray(Image.open(pathlib.Path(__file__).with_name("synthetic_figures.png")))
    # Another processor may round an edge to the other side; nothing else may differ.
    assert (drawn != golden).any(axis=2).mean() < 1e-3
