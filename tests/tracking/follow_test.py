"""Following people from detections to results: which boxes go with which frame, and what does not fit together."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from places import ROOT

from reid_jax.errors import InputError
from reid_jax.tracking.follow import follow
from reid_jax.tracking.mot_files import Rows, read_results
from reid_jax.tracking.results_file import ResultsFile


@dataclasses.dataclass
class Made:
    """Frames whose red says their number; `ends` where the source stops although it says `count`."""

    count: int | None
    ends: int
    has_images: bool = True
    name: str = "made"
    is_counted: bool = True
    frame_rate = None
    image_size = (100, 200)

    def read(self):
        for number in range(1, self.ends + 1):
            yield np.full((*self.image_size, 3), number, np.uint8) if self.has_images else None


def walk(frames, x=10.0, step=2.0):
    """One person's detections, a row a frame."""
    return Rows.of(frames, [[x + step * frame, 20, 20, 50] for frame in frames])


def run(tmp_path, frames, detections, **options):
    with ResultsFile(tmp_path / "a.txt", frames.count) as results:
        followed = follow(frames, detections, results, **options)
    return followed, read_results(tmp_path / "a.txt")


def test_detections_go_with_their_frames_in_any_order(tmp_path):
    order = np.random.default_rng(0).permutation(12)
    detections = walk(range(1, 13)).select(order)
    looked_at = []

    def embed(frame, boxes):
        looked_at.append((int(frame[0, 0, 0]), float(boxes[0, 0])))
        return np.ones((len(boxes), 2))

    followed, rows = run(tmp_path, Made(12, 12), detections, embed=embed)
    assert looked_at == [(number, 10.0 + 2 * number) for number in range(1, 13)]
    assert (followed.frames, followed.identities, followed.boxes) == (12, 1, 11)
    assert rows.frame.tolist() == list(range(2, 13))
    np.testing.assert_allclose(rows.box[:, 0], 10 + 2 * rows.frame, atol=2)
    np.testing.assert_allclose(rows.box[:, 2:], [[20, 50]] * 11, atol=1)
    assert "12 frames, 1 people, 11 boxes" in str(followed)


def test_descriptors_go_with_their_detections_without_any_image(tmp_path):
    # Two who cross at once, seen in turn by their looks alone: where they are does not tell them apart.
    frames = np.repeat(np.arange(1, 11), 2)
    detections = Rows.of(frames, [[20 + 60 * (row % 2), 20, 20, 50] for row in range(20)])
    features = np.eye(2)[np.arange(20) % 2]
    order = np.random.default_rng(1).permutation(20)
    _, rows = run(tmp_path, Made(10, 10, False), detections.select(order), features=features[order])
    assert sorted(set(zip(rows.identity.tolist(), (rows.box[:, 0] > 50).tolist(), strict=True))) in (
        [(1, False), (2, True)],
        [(1, True), (2, False)],
    )


def test_frames_without_detections_are_followed_through(tmp_path):
    _, rows = run(tmp_path, Made(20, 20), walk([1, 2, 3, 4, 9, 10]))
    assert set(rows.identity) == {1}
    assert {5, 6, 7, 8} <= set(rows.frame.tolist())  # predicted
    _, rows = run(tmp_path, Made(3, 3), walk([]))
    assert len(rows) == 0


def test_detections_of_frames_that_do_not_exist_are_told_before_anything_is_done(tmp_path):
    made = Made(5, 5)
    made.read = lambda: pytest.fail("frames were read")
    with pytest.raises(InputError, match="go to frame 9, but made has 5 frames"):
        run(tmp_path, made, walk([1, 9]))
    assert not (tmp_path / "a.txt").exists()


def test_a_video_of_unknown_length_tells_it_at_its_end(tmp_path):
    with pytest.raises(InputError, match="go to frame 9, but made has 5 frames"):
        run(tmp_path, Made(None, 5), walk([1, 9]))
    assert (tmp_path / "a.txt.partial").read_text().splitlines()[-1] == "# to frame 5"
    assert run(tmp_path, Made(None, 5), walk([1, 5]))[0].frames == 5


def test_a_video_that_ends_early_gives_what_it_has(tmp_path, capsys):
    followed, rows = run(tmp_path, Made(30, 6, name="early"), walk(range(1, 7)))
    assert (followed.frames, rows.frame.max()) == (6, 6)
    assert "early ends after 6 frames though it says 30" in capsys.readouterr().err
    with pytest.raises(InputError, match="go to frame 7, but early has 6"):
        run(tmp_path, Made(30, 6, name="early"), walk(range(1, 8)))


def test_what_needs_images_is_not_asked_of_a_source_without(tmp_path):
    with pytest.raises(InputError, match="made has no images"):
        run(tmp_path, Made(3, 3, False), walk([1]), embed=lambda frame, boxes: np.ones((len(boxes), 2)))
    with pytest.raises(InputError, match="made has no images"):
        run(tmp_path, Made(3, 3, False), walk([1]), film=object())


def test_drawn_frames_are_as_many(tmp_path):
    class Film(list):
        add = list.append

    drawn = Film()
    run(tmp_path, Made(4, 4), walk(range(1, 5)), film=drawn)
    assert len(drawn) == 4
    assert (drawn[0] == 1).all()  # nobody is output in the first frame
    assert not (drawn[2] == 3).all()


def test_tracking_needs_no_jax():
    code = "import sys; from reid_jax.tracking import appearance, follow; print({'jax', 'flax'} & set(sys.modules))"
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


def test_a_count_that_is_a_guess_refuses_nothing_before_the_end(tmp_path, capsys):
    followed, rows = run(tmp_path, Made(4, 12, is_counted=False), walk(range(1, 13)))
    assert (followed.frames, rows.frame.max(), capsys.readouterr().err) == (12, 12, "")
    with pytest.raises(InputError, match="go to frame 13, but made has 12 frames"):
        run(tmp_path, Made(20, 12, is_counted=False), walk(range(1, 14)))
