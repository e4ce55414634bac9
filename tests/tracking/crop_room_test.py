"""A room of a data set's images: who comes when, what a frame shows, and whose images those are."""

import contextlib
import itertools

import numpy as np
import pytest
from made_sets import MARKET, encoded, write_set
from PIL import Image

from reid_jax.data.builders.source import ImageFile, Source
from reid_jax.data.hold_out import HOLD_OUT_SEED, hold_out
from reid_jax.data.images import Split
from reid_jax.errors import InputError
from reid_jax.main import main
from reid_jax.tracking.crop_room import CropRoom, held_out, people_of, plan, write
from reid_jax.tracking.mot_files import read_ground_truth


class Shades(Source):
    """Images of one shade each, which is its place in the list; junk and a distractor among them."""

    name, location, splits, distractor, image_size = "shades", "nowhere", ("gallery",), 0, (16, 8)

    def list_files(self, split):
        del split
        seen = [(person, camera) for person in range(1, 9) for camera in range(1 + person % 2, 5)]
        people = [pair for pair in seen for _ in range(1 + sum(pair) % 3)] + [(-1, 1), (0, 2), (99, 1)]
        return [ImageFile(str(shade), *pair, 0, 0) for shade, pair in enumerate(people)]

    @contextlib.contextmanager
    def reader(self):
        yield lambda name: encoded(Image.new("RGB", (8, 16), (int(name), 90, 20)))


@pytest.fixture(scope="module")
def files():
    return people_of(Shades(), "gallery")


@pytest.mark.parametrize("seed", range(5))
def test_people_come_back_before_other_cameras_and_no_more_than_fit(files, seed):
    room = CropRoom(people=8, at_once=3, away=4, seed=seed)
    stays = plan(room, files)
    assert stays == plan(room, files)
    assert {stay.person for stay in stays} == set(range(1, 9))  # nobody of a single camera, no junk, no distractor
    shown = [file for stay in stays for images in stay.images.values() for file in images]
    assert sorted(shown, key=lambda file: int(file.name)) == [file for file in files if file.identity != 99]
    for person in range(1, 9):
        own = [stay for stay in stays if stay.person == person]
        assert len(own) > 1
        assert {len(stay.images) for stay in own} <= {1, 2}
        for before, after in itertools.pairwise(own):
            assert not set(before.images) & set(after.images)
            assert after.first - before.last > 2 * room.frame_rate
    for frame in range(1, max(stay.last for stay in stays) + 1):
        slots = [stay.slot for stay in stays if stay.first <= frame <= stay.last]
        assert len(set(slots)) == len(slots) <= 3


def test_the_boxes_of_the_ground_truth_show_the_images(files, tmp_path):
    room = CropRoom(people=8, at_once=3, seed=1)
    sequences = write(room, Shades(), files, tmp_path / "room")
    assert [sequence.name for sequence in sequences] == ["c1", "c2", "c3", "c4"]
    of_camera = {
        (stay.person, camera): (stay.first, images)
        for stay in plan(room, files)
        for camera, images in stay.images.items()
    }
    boxes = 0
    for camera, sequence in enumerate(sequences, 1):
        rows = read_ground_truth(sequence.ground_truth)
        for frame, person, (left, top, width, height) in zip(
            rows.frame, rows.identity, rows.box.astype(int), strict=True
        ):
            pixels = np.asarray(Image.open(sequence.image(frame)))
            first, images = of_camera[person, camera]
            assert (pixels[top : top + height, left : left + width, 0] == int(images[frame - first].name)).all()
            boxes += 1
        assert len(list((sequence.folder / sequence.images).iterdir())) == sequence.length
    assert boxes == len(files) - 1
    with pytest.raises(InputError, match="room is there already; remove it"):
        write(room, Shades(), files, tmp_path / "room")


def test_the_people_held_out_are_those_of_a_run(files):
    column = {name: np.array([getattr(file, name) for file in files]) for name in ("identity", "camera", "tracklet")}
    split = Split(np.zeros((len(files), 1, 1, 3)), *column.values(), np.zeros(len(files), int), np.arange(len(files)))
    rest, query, gallery = hold_out(split, 3, HOLD_OUT_SEED)
    found = held_out(files, 3)
    assert {file.identity for file in found} == set(query.identity) == set(gallery.identity)
    assert len(found) + len(rest) == len(files)


def test_what_cannot_be_is_one_line(files, tmp_path, capsys):
    with pytest.raises(InputError, match="8 people were seen by two cameras or more"):
        plan(CropRoom(people=9), files)
    with pytest.raises(InputError, match="at_once is 0"):
        CropRoom(at_once=0)
    write_set(tmp_path / "Market-1501-v15.09.15", MARKET)
    common = ["track", "room", "--dataset=market1501", f"--data_dir={tmp_path}", f"--out={tmp_path / 'room'}"]
    for options, reason in (
        (["--split=test"], "--split is test; market1501 has train, query, gallery"),
        (["--held_out=2"], "--held_out is of the people of train; give --split=train"),
        (["--people=2"], "1 people were seen by two cameras or more"),
    ):
        assert main([*common, *options]) == 2
        assert reason in capsys.readouterr().err
    assert main([*common, "--people=1"]) == 0
    assert "1 people before 2 cameras" in capsys.readouterr().out
