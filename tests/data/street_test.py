"""People in the street: the same numbers give the same images, boxes fit, and no camera tells who is who."""

import numpy as np
import pytest

from reid_jax.data import split, street
from reid_jax.data.street.atlas import COLUMNS, ROWS, TILE, paint_atlas
from reid_jax.data.street.body import build_skeleton, draw_riding, draw_stance
from reid_jax.data.street.camera import draw_camera
from reid_jax.data.street.detector import detect
from reid_jax.data.street.figure import Place, draw_figure
from reid_jax.data.street.looks import draw_looks
from reid_jax.data.street.people import draw_person
from reid_jax.data.street.surface import Surfaces
from reid_jax.data.street.track import draw_track
from reid_jax.errors import InputError
from reid_jax.main import main

SMALL = street.StreetPeople(train_identities=3, test_identities=2, cameras=2, images_per_camera=2, seed=5)


def drawn(spec, *image) -> np.ndarray:
    return np.asarray(street.draw_image(spec, *image)[0])


def test_parse():
    assert street.parse("street:train_identities=3,test_identities=2,cameras=2,seed=5") == SMALL
    with pytest.raises(InputError, match="not of people in the street"):
        street.parse("synthetic")
    with pytest.raises(InputError, match="images_per_camera is 1"):
        street.parse("street:images_per_camera=1")


def test_an_image_depends_on_its_numbers_alone():
    first = drawn(SMALL, 2, 1, 0)
    assert first.shape == (128, 64, 3)
    assert first.dtype == np.uint8
    drawn(SMALL, 1, 1, 1)
    draw_person.cache_clear()
    larger = street.StreetPeople(train_identities=30, test_identities=2, cameras=5, images_per_camera=3, seed=5)
    np.testing.assert_array_equal(drawn(larger, 2, 1, 0), first)
    others = [(1, 1, 0), (2, 2, 0), (2, 1, 1)]  # another person, camera, moment
    assert all(np.abs(drawn(SMALL, *other).astype(int) - first).mean() > 3 for other in others)


def test_files_serve_as_a_data_set_and_do_not_depend_on_the_workers(tmp_path):
    alone = street.render(SMALL, tmp_path / "alone", workers=1)
    many = street.render(SMALL, tmp_path / "many", workers=2)
    files = {name: (alone / street.LAYOUT_FOLDER / name).read_bytes() for name in street.file_names(SMALL)}
    assert all((many / street.LAYOUT_FOLDER / name).read_bytes() == data for name, data in files.items())
    name = "street:train_identities=3,test_identities=2,cameras=2,images_per_camera=2,seed=5"
    train, query = (split.load_split(name, part, tmp_path / "alone", (96, 32)) for part in ("train", "query"))
    assert train.image.shape == (3 * 2 * 2, 96, 32, 3)
    assert sorted(set(query.identity.tolist())) == [4, 5]
    assert (np.bincount(train.camera)[train.camera] == 6).all()


@pytest.mark.parametrize("seed", range(6))
def test_a_body_stands_on_its_feet_and_its_joints_hang_together(seed):
    rng = np.random.default_rng(seed)
    looks = draw_looks(rng)
    for stance in (draw_stance(rng, looks.build.stoop), draw_riding(rng)):
        joints = build_skeleton(looks.build, stance)
        lengths = [
            [np.linalg.norm(np.subtract(*ends)) for ends in zip(upper, lower, strict=True)]
            for upper, lower in (
                (joints.hips, joints.knees),
                (joints.knees, joints.ankles),
                (joints.shoulders, joints.elbows),
            )
        ]
        np.testing.assert_allclose([left for left, _ in lengths], [right for _, right in lengths], rtol=0.15)
        assert joints.crown[1] > joints.chin[1] > joints.shoulders[0][1] > joints.hips[0][1]


def test_front_and_back_differ_and_a_turn_shows_the_other_side():
    rng = np.random.default_rng(1)
    looks = next(looks for looks in iter(lambda: draw_looks(rng), None) if looks.bag.kind == "backpack")
    atlas = paint_atlas(looks, np.ones(3, np.float32))
    assert atlas.shape == (len(TILE), ROWS, COLUMNS, 3)
    stance = draw_stance(rng, 0.0)
    texels = []
    for azimuth in (0.0, np.pi):
        surfaces = Surfaces(200, 120, np.array((0.0, 0.6, 0.8), np.float32), 0.5)
        draw_figure(surfaces, looks, stance, Place(azimuth, 0.1, 150.0, (60.0, 180.0)))
        texels.append(surfaces.texel[surfaces.depth > -np.inf] // (ROWS * COLUMNS))
    front, back = (np.count_nonzero(seen == TILE["bag"]) for seen in texels)
    assert back > 4 * front


@pytest.mark.parametrize("identity", range(1, 7))
def test_boxes_are_about_the_figure(identity):
    track = draw_track(SMALL, identity, 1)
    covered = np.zeros((224, 152), bool)
    covered[40:200, 50:100] = True
    rng = np.random.default_rng(identity)
    boxes = np.array([detect(covered, rng, track.looseness) for _ in range(200)])
    left, top, right, bottom = boxes.T
    assert (left >= 0).all()
    assert (right <= 152).all()
    assert (top >= 0).all()
    assert (bottom <= 224).all()
    # Mostly a tight box, far higher than wide; some are cut, some far too large.
    assert abs(np.median(top) - 40) < 14
    assert abs(np.median(bottom) - 200) < 14
    assert abs(np.median((bottom - top) / (right - left)) - 2.8) < 0.2
    assert (bottom < 190).mean() > 0.02
    assert ((bottom - top) > 180).mean() > 0.02


def test_cameras_are_drawn_for_each_track_anew():
    cameras = [draw_track(SMALL, identity, 1).camera for identity in range(1, 60)]
    greys = np.array([camera.colour.sum(1) for camera in cameras])
    assert greys.std(0).min() > 0.008  # camera 1 has no cast of its own
    # Hues turn, greys do not: a row's sum is the channel's gain alone.
    one = draw_camera(np.random.default_rng(0))
    assert one.colour.sum(1).min() > 0.7
    assert one.colour.sum(1).max() < 1.4


def test_clothes_are_more_alike_across_cameras_than_across_people():
    spec = street.StreetPeople(train_identities=12, test_identities=2, cameras=4, seed=3)
    torso = np.array(
        [
            [drawn(spec, person, camera, 0)[30:60, 22:42].mean((0, 1)) for camera in (1, 2, 3, 4)]
            for person in range(1, 13)
        ]
    )
    within = torso.std(1).mean()
    between = torso.mean(1).std(0).mean()
    assert between > 0.75 * within


def test_the_verb_draws_the_street(tmp_path, capsys):
    numbers = ["--train_identities=2", "--test_identities=2", "--cameras=2"]
    assert main(["data", "synthesize", "--world=street", f"--out={tmp_path}", *numbers]) == 0
    name = capsys.readouterr().out.split("--dataset=")[1].split()[0]
    assert street.parse(name) == street.StreetPeople(train_identities=2, test_identities=2, cameras=2)
    assert (tmp_path / street.parse(name).folder_name / street.LAYOUT_FOLDER).is_dir()
    assert main(["data", "synthesize", "--world=street", "--scene", f"--out={tmp_path}"]) == 2
    assert "without --scene" in capsys.readouterr().err
