"""Synthetic scenes: who walks where, what a frame shows and what is said of it, and the folders on disk."""

import dataclasses
import hashlib
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from reid_jax.errors import InputError
from reid_jax.files import leftovers
from reid_jax.main import main
from reid_jax.tracking import scene
from reid_jax.tracking.mot_files import PEDESTRIAN, read_detections, read_ground_truth
from reid_jax.tracking.scene import writing
from reid_jax.tracking.scene.detections import draw_detections
from reid_jax.tracking.scene.frame import Stage, Truth
from reid_jax.tracking.scene.room import DEPTH, DOOR_WIDTH, DOORS, WIDTH, is_inside
from reid_jax.tracking.scene.view import View
from reid_jax.tracking.scene.walks import Visit, draw_visits, walkers_at
from reid_jax.tracking.sequences import read_sequence

SMALL = scene.SyntheticScene(people=3, frames=8, frame_rate=2.0, cameras=2, height=96, width=128, seed=1)
LONG = scene.SyntheticScene(people=6, at_once=3, frames=1200)


def digests(folder: pathlib.Path) -> dict[str, str]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def standing(person: int, x: float, z: float, heading: float = 0.0) -> Visit:
    """Somebody who stands at a spot in all frames."""
    return Visit(person, -1.0, np.full((3000, 2), (x, z)), np.full(3000, heading), np.zeros(3000))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    return scene.render(SMALL, tmp_path_factory.mktemp("scene"), workers=1)


@pytest.fixture(scope="module")
def visits():
    return draw_visits(LONG)


def test_folders_are_those_of_motchallenge(rendered):
    assert [sequence.name for sequence in rendered] == ["scene1-c1", "scene1-c2"]
    for sequence in rendered:
        assert read_sequence(sequence.folder) == sequence
        for frame in range(1, 9):
            assert Image.open(sequence.image(frame)).size == (128, 96)
        truth = read_ground_truth(sequence.ground_truth)
        assert len(truth) >= 8
        assert set(truth.frame) <= set(range(1, 9))
        assert set(truth.identity) <= {1, 2, 3}
        assert set(truth.category) == {PEDESTRIAN}
        assert (truth.confidence == 1).all()
        assert (truth.visibility >= 0).all()
        assert (truth.visibility <= 1).all()
        assert len(read_detections(sequence.detections)) > 4


def test_files_do_not_depend_on_the_workers(rendered, tmp_path):
    again = scene.render(SMALL, tmp_path, workers=2)
    assert digests(again[0].folder.parent) == digests(rendered[0].folder.parent)


def test_a_finished_scene_is_kept_and_a_lacking_one_is_drawn_again(tmp_path):
    spec = dataclasses.replace(SMALL, frames=2, cameras=1)
    (sequence,) = scene.render(spec, tmp_path, workers=1)
    before = digests(tmp_path)
    stamp = sequence.image(1).stat().st_mtime_ns
    scene.render(spec, tmp_path, workers=1)
    assert sequence.image(1).stat().st_mtime_ns == stamp
    sequence.image(2).unlink()
    scene.render(spec, tmp_path, workers=1)
    assert digests(tmp_path) == before


def test_an_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(spec, root, worker, workers):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "_write_images", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scene.render(SMALL, tmp_path, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_pruned(tmp_path, monkeypatch):
    def killed(spec, root, worker, workers):
        raise SystemExit

    monkeypatch.setattr(writing, "_write_images", killed)
    monkeypatch.setattr(leftovers.shutil, "rmtree", lambda *_, **__: None)  # it cannot tidy up
    with pytest.raises(SystemExit):
        scene.render(SMALL, tmp_path, workers=1)
    monkeypatch.undo()
    (half,) = tmp_path.iterdir()
    assert main(["data", "prepare", f"--data_dir={tmp_path}", "--prune"]) == 0
    assert not half.exists()


def test_a_folder_that_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write a synthetic scene"):
        scene.render(SMALL, tmp_path / "file", workers=1)


def test_scenes_of_other_numbers_have_other_folders():
    names = {dataclasses.replace(SMALL, **change).folder_name for change in ({}, {"seed": 2}, {"jitter": 0.1})}
    assert len(names) == 3
    assert scene.SyntheticScene().folder_name == "scene-seed0-v1"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("people", 0),
        ("people", 2.0),
        ("cameras", 5),
        ("frames", 0),
        ("frame_rate", 0.1),
        ("height", 63),
        ("miss_rate", 1.1),
        ("jitter", float("nan")),
        ("seed", -1),
    ],
)
def test_numbers_out_of_range_are_refused(field, value):
    with pytest.raises(InputError, match=f"synthetic scene: {field} is .*; it takes"):
        scene.SyntheticScene(**{field: value})


def test_people_leave_by_the_doors_and_come_back(visits):
    of_person = {person: [visit for visit in visits if visit.person == person] for person in range(1, 7)}
    assert all(len(own) >= 3 for own in of_person.values())
    for own in of_person.values():
        for before, after in zip(own, own[1:], strict=False):
            assert after.start >= before.end + LONG.away / 4
    for visit in visits:
        inside = is_inside(visit.position)
        assert not inside[0]
        assert not inside[-1]
        for spot in visit.position[~inside]:  # behind a wall only where a door is
            across = min(abs((spot - door.middle) @ door.along) for door in DOORS)
            assert across < DOOR_WIDTH / 2


def test_people_walk_steadily_the_way_they_face(visits):
    for visit in visits:
        move = np.diff(visit.position, axis=0) / 0.04
        speed = np.hypot(*move.T)
        assert speed.max() < 1.6
        facing = np.stack((np.sin(visit.heading), np.cos(visit.heading)), 1)[:-1]
        along = (move * facing).sum(1)[speed > 0.7] / speed[speed > 0.7]
        assert np.median(along) > 0.99
        assert np.allclose(np.diff(visit.walked), 0.04 * speed, atol=1e-9)


def test_no_more_people_than_allowed_are_there_at_once(visits):
    counts = [len(walkers_at(LONG, visits, frame)) for frame in range(1, 1201)]
    assert max(counts) == 3
    assert np.mean(counts) > 2


def test_a_pixels_ray_leads_back_to_it():
    for camera in (1, 2, 3, 4):
        view = View(SMALL, camera)
        rays = np.concatenate([view.rays(0, 30), view.rays(30, 96)])
        pixels, depth = view.project(view.eye + 3 * rays)
        assert (depth > 0).all()
        rows, columns = np.mgrid[0:96, 0:128] + 0.5
        np.testing.assert_allclose(pixels, np.stack((columns, rows), -1), atol=1e-9)
        # The middle of the room is in the middle of the image, and up is up.
        (low, high), _ = view.project(np.array(((WIDTH / 2, 0.0, DEPTH / 2), (WIDTH / 2, 1.5, DEPTH / 2))))
        assert abs(low[0] - 64) < 1e-6
        assert high[1] < 48 < low[1]


def test_opposite_cameras_see_left_and_right_swapped():
    (near_door, far_door), _ = View(SMALL, 1).project(np.array(((2.0, 0.5, 4.0), (4.0, 0.5, 2.0))))
    (near_again, far_again), _ = View(SMALL, 2).project(np.array(((2.0, 0.5, 4.0), (4.0, 0.5, 2.0))))
    assert (near_door[0] < far_door[0]) != (near_again[0] < far_again[0])


def test_a_box_goes_around_what_the_person_changes_in_the_image():
    empty, _ = Stage(SMALL, [], 1).draw(1)
    image, (truth,) = Stage(SMALL, [standing(1, 4.0, 3.3)], 1).draw(1)
    changed = np.abs(np.asarray(image, int) - np.asarray(empty, int)).max(2) > 25
    changed[int(truth.box[1] + 0.85 * truth.box[3]) :] = False  # the shadow
    rows, columns = np.nonzero(changed)
    left, top, width, _ = truth.box
    np.testing.assert_allclose((columns.min(), columns.max() + 1, rows.min()), (left, left + width, top), atol=3)
    assert truth.visibility == 1


def test_the_nearer_are_larger_lower_and_hide_the_farther():
    eye = View(SMALL, 1).eye[[0, 2]]
    away = np.array((0.8, 0.6))
    near, far = eye + 3.5 * away, eye + 5 * away
    _, (front, back) = Stage(SMALL, [standing(2, *far), standing(1, *near)], 1).draw(1)
    assert (front.person, back.person) == (1, 2)
    assert front.box[3] > 1.2 * back.box[3]
    assert front.box[1] + front.box[3] > back.box[1] + back.box[3]
    assert front.visibility == 1
    assert back.visibility < 0.6
    _, (alone,) = Stage(SMALL, [standing(2, *far)], 1).draw(1)
    assert alone.visibility == 1
    assert alone.box == back.box  # hidden parts belong to a box


def test_somebody_behind_a_door_is_seen_through_it_alone():
    door = DOORS[1]
    outline = View(SMALL, 1).outline(door.corners())
    empty, _ = Stage(SMALL, [], 1).draw(1)
    shares = []
    for aside in (-0.5, 0.0, 0.4, 1.5):
        spot = door.middle - 0.8 * door.inward - aside * door.along
        image, truth = Stage(SMALL, [standing(1, *spot)], 1).draw(1)
        changed = np.argwhere(np.abs(np.asarray(image, int) - np.asarray(empty, int)).max(2) > 20)[:, 1]
        assert ((changed > outline[:, 0].min() - 3) & (changed < outline[:, 0].max() + 3)).all()
        shares.append(sum(each.visibility for each in truth))
    assert shares[0] == 1
    assert 0 < min(share for share in shares if share) < 0.9
    assert shares[-1] == 0


def test_somebody_out_of_the_image_has_no_row():
    eye = View(SMALL, 1).eye[[0, 2]]
    _, truth = Stage(SMALL, [standing(1, eye[0] + 0.4, eye[1] + 5.5)], 1).draw(1)
    assert truth == []


def test_an_identity_looks_the_same_whatever_its_number():
    second = Stage(dataclasses.replace(SMALL, first_identity=7), [standing(2, 4.0, 3.0)], 1)
    first = Stage(dataclasses.replace(SMALL, first_identity=8), [standing(1, 4.0, 3.0)], 1)
    other = Stage(dataclasses.replace(SMALL, first_identity=9), [standing(1, 4.0, 3.0)], 1)
    images = [np.asarray(stage.draw(1)[0], int) for stage in (second, first, other)]
    np.testing.assert_array_equal(images[0], images[1])
    assert np.abs(images[0] - images[2]).max() > 30


def detections_of(truth: list[Truth], frames: int = 400, **change):
    spec = dataclasses.replace(SMALL, **change)
    stage = Stage(spec, [], 1)
    return [draw_detections(spec, stage, 1, frame, truth) for frame in range(1, frames + 1)]


def test_a_perfect_detector_finds_the_boxes_within_the_image():
    truth = [Truth(1, (-10.0, 20.0, 30.0, 60.0), 0.7), Truth(2, (60.0, 30.0, 20.0, 50.0), 1.0)]
    for boxes, confidence in detections_of(truth, 5, miss_rate=0.0, false_rate=0.0, jitter=0.0):
        order = np.argsort(boxes[:, 0])
        np.testing.assert_array_equal(boxes[order], [[0, 20, 20, 60], [60, 30, 20, 50]])
        assert confidence[order][0] < confidence[order][1] + 0.1


def test_people_are_missed_at_the_rate_and_more_often_where_they_are_hidden():
    def found(visibility, miss_rate):
        truth = [Truth(1, (50.0, 20.0, 20.0, 50.0), visibility)]
        return np.mean([len(boxes) for boxes, _ in detections_of(truth, miss_rate=miss_rate, false_rate=0.0)])

    assert abs(found(1.0, 0.3) - 0.7) < 0.08
    assert abs(found(0.4, 0.3) - 0.35) < 0.08
    assert found(0.15, 0.0) == 0
    assert found(1.0, 1.0) == 0


def test_nobody_is_detected_at_the_false_rate_with_low_confidence():
    drawn = detections_of([], false_rate=0.8)
    assert abs(np.mean([len(boxes) for boxes, _ in drawn]) - 0.8) < 0.15
    confidence = np.concatenate([confidence for _, confidence in drawn])
    assert confidence.max() <= 0.6
    boxes = np.concatenate([boxes for boxes, _ in drawn])
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 0] + boxes[:, 2] <= 128.01).all()
    assert (boxes[:, 1] + boxes[:, 3] <= 96.01).all()


def test_jitter_is_a_share_of_the_box_and_larger_where_it_is_hidden():
    def spread(visibility):
        truth = [Truth(1, (40.0, 20.0, 20.0, 50.0), visibility)]
        boxes = [boxes for boxes, _ in detections_of(truth, miss_rate=0.0, false_rate=0.0, jitter=0.05)]
        return np.concatenate(boxes).std(0)[:2]

    np.testing.assert_allclose(spread(1.0), (1.0, 2.5), rtol=0.15)
    np.testing.assert_allclose(spread(0.6), (1.8, 4.5), rtol=0.15)


def test_the_command_writes_a_scene(tmp_path, capsys):
    size = ["--frames=2", "--people=1", "--height=64", "--width=64"]
    assert main(["data", "synthesize", "--scene", f"--out={tmp_path}", "--cameras=2", "--seed=4", *size]) == 0
    said = capsys.readouterr().out
    folders = re.findall("sequence: (.*)", said)
    assert [read_sequence(folder).name for folder in folders] == ["scene4-c1", "scene4-c2"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--people=3"], "--people goes with --scene"),
        (["--scene", "--train_identities=3"], "--train_identities goes without --scene"),
        (["--scene", "--cameras=5"], "from 1 to 4"),
    ],
)
def test_the_command_refuses_what_does_not_go_together(tmp_path, capsys, options, said):
    assert main(["data", "synthesize", f"--out={tmp_path}", *options]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
