"""`reid-jax track evaluate`: which files it takes, what it writes, and what it says of what it cannot take."""

import argparse
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from reid_jax.main import main
from reid_jax.tracking.mot_files import COMMENT, Rows, write_detections, write_ground_truth, write_results
from reid_jax.tracking.sequences import Sequence, write_seqinfo
from reid_jax.verbs.track import evaluate as evaluate_verb

pytest.importorskip("trackeval")

FRAMES = 10


def walk(identity, top=0.0, camera=0):
    frames = range(1, FRAMES + 1)
    return Rows.of(frames, [[10.0 * frame, top, 20, 40] for frame in frames], identity=identity, camera=camera)


def together(*parts):
    fields = [field.name for field in dataclasses.fields(Rows)]
    return Rows(*(np.concatenate([getattr(rows, field) for rows in parts]) for field in fields))


TRUTH = together(walk(1), walk(2, top=100.0))


@pytest.mark.parametrize("line", [line for line in evaluate_verb.EXAMPLES.splitlines() if line.startswith("  ")])
def test_examples_parse(line):
    parser = argparse.ArgumentParser()
    evaluate_verb.add_arguments(parser)
    _, _, action, *options = line.split()
    assert action == "evaluate"
    assert parser.parse_args(options).results


@pytest.fixture
def scene(tmp_path):
    """Two sequences, the second without a seqinfo.ini, and results of both."""
    for name, truth in (("S-01", TRUTH), ("S-02", walk(1))):
        write_ground_truth(tmp_path / "train" / name / "gt" / "gt.txt", truth)
        write_results(tmp_path / "results" / f"{name}.txt", truth)
    write_seqinfo(Sequence(tmp_path / "train" / "S-01", "S-01", 10, FRAMES, (480, 640)))
    return tmp_path


def evaluate(*arguments):
    return main(["track", "evaluate", *map(str, arguments)])


def test_the_command_scores_a_folder_of_sequences(scene, capsys):
    assert evaluate(scene / "train", f"--results={scene / 'results'}", f"--json={scene / 'scores.json'}") == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if line[0] not in "-"] == [
        "sequence",
        "S-01",
        "S-02",
        "together",
    ]
    written = json.loads((scene / "scores.json").read_text())
    assert set(written["sequences"]) == {"S-01", "S-02"}
    assert written["together"]["hota"] == pytest.approx(1)
    assert written["together"]["switches"] == 0


@pytest.mark.parametrize("named", ["train/S-01", "train/S-01/gt/gt.txt"])
def test_the_command_scores_one_sequence_and_one_file(scene, capsys, named):
    assert evaluate(scene / named, f"--results={scene / 'results' / 'S-01.txt'}") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("S-01")


def test_the_command_scores_cameras_of_one_scene(scene, capsys):
    truth = walk(1)
    for name in ("S-01", "S-02"):
        write_ground_truth(scene / "train" / name / "gt" / "gt.txt", truth)
    write_results(scene / "all.txt", together(walk(3, camera=1), walk(4, camera=2)))
    arguments = (scene / "train", f"--results={scene / 'all.txt'}", "--one_scene", f"--json={scene / 'scores.json'}")
    assert evaluate(*arguments) == 0
    assert "all cameras" in capsys.readouterr().out
    written = json.loads((scene / "scores.json").read_text())
    assert written["together"]["idf1"] == pytest.approx(1)
    assert written["one_scene"]["idf1"] == pytest.approx(0.5)


def test_scoring_needs_no_jax(scene):
    code = "import sys; from reid_jax.main import main; print(main(sys.argv[1:]), 'jax' in sys.modules)"
    arguments = ["track", "evaluate", str(scene / "train"), f"--results={scene / 'results'}"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"


def results_with(scene, text):
    (scene / "results" / "S-01.txt").write_text(text)
    return scene / "train", f"--results={scene / 'results'}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"1,1,10,0,20,40,1,-1,-1,-1\n{COMMENT} to frame 1 of 10\n", "a run that did not end"),
        ("1,1,10,0,20,40,1,-1,-1,-1\n2,1,10,", "1 of 2 lines of results"),  # cut off in the middle
        ("1,2147483648,10,0,20,40,1,-1,-1,-1\n", "the id is 2147483648"),
        ("1,nan,10,0,20,40,1,-1,-1,-1\n", "no finite number"),
        ("1,3,10,0,20,40,1,-1,-1,-1\n1,3,90,0,20,40,1,-1,-1,-1\n", "id 3 has a box in frame 1 already"),
        ("11,1,10,0,20,40,1,-1,-1,-1\n", "has boxes in frame 11, but S-01 has 10 frames"),
        ("1,1,10,0,20,40,1,-1,-1,-1,1\n1,1,10,0,20,40,1,-1,-1,-1,2\n", "cameras 1, 2; name all their sequences"),
    ],
)
def test_the_command_refuses_results(scene, capsys, text, said):
    assert evaluate(*results_with(scene, text)) == 2
    assert said in capsys.readouterr().err


def test_the_command_takes_empty_and_unsorted_results(scene, capsys):
    assert evaluate(*results_with(scene, "")) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("S-01"))
    assert line.split()[1:7] == ["0.0"] * 6
    rows = (scene / "results" / "S-02.txt").read_text().splitlines()
    (scene / "results" / "S-02.txt").write_text("\n".join(reversed(rows)))
    write_results(scene / "results" / "S-01.txt", TRUTH)
    assert evaluate(scene / "train", f"--results={scene / 'results'}") == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[1] == "100.0"


def test_the_command_says_which_file_is_missing(scene, capsys):
    (scene / "results" / "S-02.txt").rename(scene / "results" / "S-02.txt.partial")
    assert evaluate(scene / "train", f"--results={scene / 'results'}") == 2
    assert "S-02.txt has not ended" in capsys.readouterr().err
    (scene / "results" / "S-02.txt.partial").unlink()
    assert evaluate(scene / "train", f"--results={scene / 'results'}") == 2
    assert "S-02.txt; results of a sequence are in a file of its name" in capsys.readouterr().err
    assert evaluate(scene / "train", f"--results={scene / 'results' / 'S-01.txt'}") == 2
    assert "there are 2 sequences (S-01, S-02)" in capsys.readouterr().err
    assert evaluate(scene / "results", f"--results={scene / 'results'}") == 2
    assert "has gt/gt.txt" in capsys.readouterr().err
    assert evaluate(scene / "train" / "S-01", f"--results={scene / 'results'}", "--one_scene") == 2
    assert "--one_scene takes two sequences or more" in capsys.readouterr().err


def test_detections_are_no_results(scene, capsys):
    write_detections(scene / "results" / "S-01.txt", TRUTH)
    assert evaluate(scene / "train" / "S-01", f"--results={scene / 'results'}") == 2
    assert "-1" in capsys.readouterr().err


def test_without_trackeval_one_line_says_what_to_install(scene, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackeval", None)
    assert evaluate(scene / "train", f"--results={scene / 'results'}") == 2
    said = capsys.readouterr().err
    assert "pip install 'reid_jax[track]'" in said
    assert len(said.splitlines()) == 1


def test_scores_are_not_written_over_what_is_scored(scene, capsys):
    results, gt = scene / "results", scene / "train" / "S-01" / "gt" / "gt.txt"
    before = {path: path.read_bytes() for path in scene.rglob("*") if path.is_file()}
    for json_file, said in (
        (results / "S-01.txt", "which is read as the results of S-01"),
        (gt, "which is read as the ground truth of S-01"),
        (scene / "train" / "S-01" / "seqinfo.ini", "which is read as the seqinfo.ini of S-01"),
    ):
        assert evaluate(scene / "train", f"--results={results}", f"--json={json_file}") == 2
        assert said in capsys.readouterr().err
    assert {path: path.read_bytes() for path in scene.rglob("*") if path.is_file()} == before


def test_a_newer_run_that_has_not_ended_is_noted(scene, capsys):
    (scene / "results" / "S-01.txt.partial").write_text("")
    assert evaluate(scene / "train", f"--results={scene / 'results'}") == 0
    assert "S-01.txt is of an earlier run: a newer one has not ended" in capsys.readouterr().err
