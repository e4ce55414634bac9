"""Drawn frames: boxes where people are, colours that stay, trails that end, folders and videos."""

import numpy as np
import pytest
from PIL import Image

from reid_jax.errors import InputError
from reid_jax.tracking.frames import open_frames
from reid_jax.tracking.motdt import Seen
from reid_jax.tracking.render import Painter, colour_of, film

FRAME = np.full((100, 160, 3), 128, np.uint8)
FRAME.setflags(write=False)


def seen(*people):
    """Who is seen: (identity, left, top, right, bottom)."""
    table = np.array(people, float).reshape(-1, 5)
    return Seen(table[:, 0].astype(int), table[:, 1:], np.ones(len(table)))


def test_neighbours_differ_and_colours_stay():
    colours = [colour_of(identity) for identity in range(1, 40)]
    assert len(set(colours)) == len(colours)
    for one, other in zip(colours, colours[1:], strict=False):
        assert np.abs(np.subtract(one, other)).max() > 80
    assert colour_of(7) == colours[6]


def test_a_box_is_drawn_in_its_colour_and_nothing_elsewhere():
    drawn = Painter().draw(FRAME, seen((3, 40, 50, 80, 90)))
    for x, y in ((40, 70), (80, 70), (60, 90), (60, 50)):
        assert tuple(drawn[y, x]) == colour_of(3)
    assert (drawn[60:80, 50:70] == 128).all()
    assert (drawn[:20] == 128).all()
    assert (FRAME == 128).all()


def test_people_half_outside_are_drawn_as_far_as_they_show():
    drawn = Painter().draw(FRAME, seen((1, -20, -30, 20, 30), (2, 150, 90, 300, 200), (3, 500, 500, 600, 600)))
    assert drawn.shape == FRAME.shape
    assert tuple(drawn[15, 20]) == colour_of(1)


def test_a_trail_follows_the_feet_and_ends():
    painter = Painter(trail=4)
    for step in range(5):
        drawn = painter.draw(FRAME, seen((1, 10 + 10 * step, 40, 20 + 10 * step, 60)))
    assert tuple(drawn[60, 40]) == colour_of(1)  # walked there two frames ago
    assert tuple(drawn[60, 18]) == (128, 128, 128)  # too long ago
    for _ in range(4):
        drawn = painter.draw(FRAME, seen())
    assert (drawn == 128).all()


def test_where_nobody_was_seen_there_is_no_trail():
    painter = Painter()
    painter.draw(FRAME, seen((1, 10, 40, 20, 60)))
    painter.draw(FRAME, seen())
    drawn = painter.draw(FRAME, seen((1, 110, 40, 120, 60)))
    assert tuple(drawn[60, 60]) == (128, 128, 128)


def test_a_folder_fills_up(tmp_path):
    with film(tmp_path / "seen") as frames:
        for _ in range(2):
            frames.add(FRAME)
    assert sorted(path.name for path in (tmp_path / "seen").iterdir()) == ["000001.jpg", "000002.jpg"]
    assert Image.open(tmp_path / "seen" / "000002.jpg").size == (160, 100)


def test_a_video_is_complete_or_not_there(tmp_path):
    pytest.importorskip("av")
    with film(tmp_path / "new" / "a.mp4", 7.0) as frames:
        for _ in range(5):
            frames.add(FRAME[:51, :33])  # odd sides lose a pixel
    video = open_frames(tmp_path / "new" / "a.mp4")
    found = list(video.read())
    assert len(found) == 5
    assert found[0].shape == (50, 32, 3)
    assert abs(int(found[0][5, 5, 0]) - 128) < 8
    assert video.frame_rate == pytest.approx(7)

    def fails():
        with film(tmp_path / "b.mp4") as frames:
            frames.add(FRAME)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"), film(tmp_path / "file" / "a") as frames:
        frames.add(FRAME)
    pytest.importorskip("av")
    with pytest.raises(InputError, match="cannot write"), film(tmp_path / "file" / "a.mp4") as frames:
        frames.add(FRAME)


@pytest.mark.parametrize("size", [(1, 50), (50, 1)])
def test_a_video_takes_no_frames_of_one_pixel(tmp_path, size):
    pytest.importorskip("av")
    with pytest.raises(InputError, match="pixels .*, and a video takes 2 or more"), film(tmp_path / "a.mp4") as frames:
        frames.add(np.zeros((*size, 3), np.uint8))
    assert not any(tmp_path.iterdir())
