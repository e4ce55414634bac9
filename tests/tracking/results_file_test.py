"""Results frame by frame: complete under their name, or beside it with how far they go."""

import os

import numpy as np
import pytest

from reid_jax.errors import InputError
from reid_jax.tracking.mot_files import Rows, read_results
from reid_jax.tracking.results_file import ResultsFile, note_newer_run, require_results


def rows(frame, count):
    return Rows.of(np.full(count, frame), np.ones((count, 4)), identity=np.arange(1, count + 1))


def test_a_finished_file_is_plain(tmp_path):
    with ResultsFile(tmp_path / "new" / "a.txt", 3) as results:
        for frame, count in ((1, 2), (2, 0), (3, 1)):
            results.write(rows(frame, count))
    assert (tmp_path / "new" / "a.txt").read_text() == (
        "1,1,1,1,1,1,1,-1,-1,-1\n1,2,1,1,1,1,1,-1,-1,-1\n3,1,1,1,1,1,1,-1,-1,-1\n"
    )
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


@pytest.mark.parametrize(("count", "said"), [(795, "to frame 2 of 795"), (None, "to frame 2")])
def test_an_interrupted_one_says_how_far_it_goes_and_leaves_the_old_one(tmp_path, count, said):
    (tmp_path / "a.txt").write_text("of an earlier run")
    results = ResultsFile(tmp_path / "a.txt", count)

    def interrupted():
        with results:
            results.write(rows(1, 1))
            results.write(rows(2, 0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert results.partial == tmp_path / "a.txt.partial"
    assert results.partial.read_text().splitlines()[-1] == f"# {said}"
    assert (tmp_path / "a.txt").read_text() == "of an earlier run"
    with pytest.raises(InputError, match=f"did not end .{said}"):
        read_results(results.partial)


def test_a_killed_one_says_it_too(tmp_path):
    with ResultsFile(tmp_path / "a.txt", 9) as results:
        results.write(rows(1, 1))
        assert results.partial.read_text().splitlines()[-1] == "# to frame 1 of 9"  # while it is open
    with ResultsFile(tmp_path / "a.txt") as results:  # a new run takes the place of an old one's rest
        assert results.partial.read_text() == ""
    assert (tmp_path / "a.txt").read_text() == ""


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"), ResultsFile(tmp_path / "file" / "a.txt"):
        pass


def test_two_runs_do_not_write_one_file(tmp_path):
    with ResultsFile(tmp_path / "a.txt", 2) as results:
        results.write(rows(1, 1))
        with (
            pytest.raises(InputError, match="another run is writing .*a.txt.partial; wait"),
            ResultsFile(tmp_path / "a.txt"),
        ):
            pass
        results.write(rows(2, 1))
    assert read_results(tmp_path / "a.txt").frame.tolist() == [1, 2]
    with ResultsFile(tmp_path / "a.txt") as results:  # the first has let go of it
        results.write(rows(1, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_run_that_was_killed_before_its_first_frame_gives_no_results(tmp_path):
    (tmp_path / "a.txt.partial").write_text("")
    with pytest.raises(InputError, match=r"a run that did not end \(by its ending .partial\)"):
        read_results(tmp_path / "a.txt.partial")
    with pytest.raises(InputError, match="--results is .*b.partial, and .partial is of runs that have not ended"):
        require_results("--results", tmp_path / "b.partial")


def test_results_of_an_earlier_run_are_noted(tmp_path, capsys):
    for name in ("a.txt", "a.txt.partial", "b.txt"):
        (tmp_path / name).write_text("")
    os.utime(tmp_path / "a.txt.partial", (1, 1))
    note_newer_run(tmp_path / "a.txt")
    note_newer_run(tmp_path / "b.txt")
    assert capsys.readouterr().err == ""
    os.utime(tmp_path / "a.txt", (0, 0))
    note_newer_run(tmp_path / "a.txt")
    assert "a.txt is of an earlier run: a newer one has not ended" in capsys.readouterr().err


def test_more_frames_than_were_said_are_counted_alone(tmp_path):
    with ResultsFile(tmp_path / "a.txt", 1) as results:
        results.write(rows(1, 1))
        results.write(rows(2, 1))
        assert results.partial.read_text().splitlines()[1::2] == ["# to frame 1 of 1", "# to frame 2"]
