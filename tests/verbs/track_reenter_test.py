"""`track reenter` and `calibrate`: who comes back before another camera is known again, by a threshold of others."""

import argparse
import re

import numpy as np
import pytest
from made_place import SIZE, two_cameras

from reid_jax.main import main
from reid_jax.tracking.calibration import read_calibration
from reid_jax.tracking.mot_files import Rows, read_results, write_results
from reid_jax.tracking.sequences import Sequence, write_seqinfo
from reid_jax.verbs.track.place import place_of


@pytest.fixture(scope="module")
def cameras(tmp_path_factory):
    """Two sequence folders of one place, with ground truth."""
    return two_cameras(tmp_path_factory.mktemp("place"))


def run(capsys, *arguments, action="reenter"):
    """(exit code, stdout, stderr)."""
    try:
        code = main(["track", action, *map(str, arguments)])
    except SystemExit as left:
        code = left.code
    said = capsys.readouterr()
    return code or 0, said.out, said.err


def spans(path):
    """{identity: (camera, first frame, last frame) of each stretch without a gap}."""
    rows = read_results(path).sorted()
    found = {}
    for identity, camera, frame in zip(rows.identity.tolist(), rows.camera.tolist(), rows.frame.tolist(), strict=True):
        stretches = found.setdefault(identity, [])
        if stretches and stretches[-1][0] == camera and stretches[-1][2] == frame - 1:
            stretches[-1] = (camera, stretches[-1][1], frame)
        else:
            stretches.append((camera, frame, frame))
    return found


def test_who_comes_back_before_another_camera_is_known(cameras, tmp_path, capsys):
    out = tmp_path / "a.txt"
    arguments = (*cameras, "--cut_truth", "--embedder=histogram", f"--results={out}")
    code, said, err = run(capsys, *arguments, "--threshold=0.5")
    assert (code, err) == (0, "")
    assert spans(out) == {1: [(1, 1, 8), (2, 25, 32)], 2: [(1, 5, 16)], 4: [(2, 35, 40)]}
    assert f"{out}: 4 visits of 3 people" in said
    lines = {
        line.split()[0]: line.split()[1:] for line in said.splitlines() if line.startswith(("none", "hist", "ora"))
    }
    assert lines == {
        "none": ["4", "1", "0", "1", "0"],
        "histogram": ["4", "1", "1", "0", "0"],
        "oracle": ["4", "1", "1", "0", "0"],
    }
    assert "mean reciprocal rank of 1 who returned: 100.0 percent" in said
    run(capsys, *arguments, "--threshold=0.5", "--online")  # two seconds are eight frames
    assert spans(out) == {1: [(1, 1, 8)], 2: [(1, 5, 16)], 3: [(2, 25, 32)], 4: [(2, 35, 40)]}
    run(capsys, *arguments, "--threshold=0")
    assert sorted(spans(out)) == [1, 2, 3, 4]


def test_the_visits_of_a_tracker_are_taken_by_camera(cameras, tmp_path, capsys):
    visits = tmp_path / "visits.txt"
    parts = [(11, 1, 1, 8, 10), (3, 2, 25, 32, 10), (4, 2, 35, 40, 60)]
    columns = [
        (frame, own, camera, left) for own, camera, first, last, left in parts for frame in range(first, last + 1)
    ]
    frame, own, camera, left = np.array(columns).T
    box = np.column_stack([left, *np.full((3, len(left)), [[10], [8], [30]])])
    write_results(visits, Rows.of(frame, box, identity=own, camera=camera))
    arguments = (f"--visits={visits}", "--embedder=histogram", "--threshold=0.5", f"--results={tmp_path / 'a.txt'}")
    code, said, _ = run(capsys, *cameras, *arguments)
    assert code == 0
    assert spans(tmp_path / "a.txt") == {11: [(1, 1, 8), (2, 25, 32)], 4: [(2, 35, 40)]}
    assert "1 visits are of nobody" in said  # number 7 stands elsewhere
    _, _, err = run(capsys, cameras[0], *arguments)
    assert "visits are of camera 2, and there are only the cameras 1" in err


def test_a_single_camera_needs_no_column(cameras, tmp_path, capsys):
    visits = tmp_path / "visits.txt"
    write_results(visits, Rows.of(range(1, 9), [[10, 10, 8, 30]] * 8, identity=3))
    code, _, _ = run(
        capsys, cameras[0], f"--visits={visits}", "--embedder=histogram", "--threshold=1", f"--results={tmp_path / 'a'}"
    )
    assert code == 0
    assert spans(tmp_path / "a") == {3: [(0, 1, 8)]}
    assert {line.count(",") for line in (tmp_path / "a").read_text().splitlines()} == {9}  # nor gets one


def test_a_threshold_is_found_at_a_rate_and_told_with_what_it_costs(cameras, tmp_path, capsys):
    arguments = (*cameras, "--embedder=histogram")
    file = tmp_path / "a.json"
    code, said, err = run(capsys, *arguments, "--rates", "0.4", "0.7", f"--json={file}", action="calibrate")
    assert (code, err) == (0, "")
    # The third visit has two people to be compared with, itself and another; the fourth two others.
    assert said.startswith("histogram: re-entry: 3 comparisons with other people, 1 with the same\n")
    found = read_calibration(file)
    for kind in (found.visits, found.images):
        low, high = (each.threshold for each in kind.at)
        assert 0.5 < low <= high  # another colour is farther than the same
        assert [each.false_new for each in kind.at] == [0, 0]
    code, _, err = run(capsys, *arguments, "--rates", "0.1", action="calibrate")
    assert code == 2
    assert "a rate of 0.1 needs 10 comparisons with other people or more, and there are 3" in err


def test_what_does_not_fit_is_told(cameras, tmp_path, capsys):
    other = tmp_path / "other"
    write_seqinfo(Sequence(other, "other", 25.0, 3, SIZE))
    options = ("--embedder=histogram", "--threshold=0.5", f"--results={tmp_path / 'a.txt'}")
    for arguments, reason in (
        ((cameras[0], other, "--cut_truth", *options), "[4.0, 25.0] frames a second"),
        ((other, "--cut_truth", *options), "other has no ground truth; name sequences with gt/gt.txt"),
        ((cameras[0], f"--visits={tmp_path / 'none.txt'}", *options), "there is no file"),
        ((cameras[0], "--cut_truth", "--embedder=histogram", "--results=a.txt"), "--threshold"),
        ((cameras[0], "--cut_truth", "--threshold=3", *options), "from 0 to 2"),
        ((tmp_path, "--cut_truth", *options), "has no seqinfo.ini"),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (2, "")
        assert reason in err
        assert err.count("\n") == 1


def test_what_is_read_is_not_written_over(cameras, tmp_path, capsys):
    visits = tmp_path / "visits.txt"
    write_results(visits, Rows.of(range(1, 9), [[10, 10, 8, 30]] * 8, identity=3))
    truth, text = cameras[0] / "gt" / "gt.txt", visits.read_text()
    was = truth.read_bytes()
    looks = (cameras[0], "--embedder=histogram")
    visited = (*looks, "--threshold=1", f"--visits={visits}")
    for arguments, action, reason in (
        ((*visited, f"--results={visits}"), "reenter", "which is read as --visits"),
        ((*visited, f"--results={truth}"), "reenter", "which is read as the ground truth of c1"),
        ((*looks, f"--json={truth}"), "calibrate", "--json is .*, which is read as the ground truth of c1"),
    ):
        code, out, err = run(capsys, *arguments, action=action)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert re.search(reason, err)
    assert (truth.read_bytes(), visits.read_text()) == (was, text)


def test_a_slow_camera_has_a_frame_that_answers(cameras, tmp_path):
    for rate, count in ((0.2, 1), (0.5, 1), (4.0, 8)):
        write_seqinfo(Sequence(tmp_path, "slow", rate, 3, SIZE))
        assert place_of(argparse.Namespace(sequences=[tmp_path])).query_frames == count
