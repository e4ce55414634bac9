"""The tracker's bench: people who are really followed, each round the same work, figures and the command."""

import json

import numpy as np

from reid_jax.bench.tracking import TrackingMeasurement, _Walk, bench_tracking
from reid_jax.main import main
from reid_jax.tracking.motdt import Tracker


def test_made_people_are_followed_as_the_same():
    walk, tracker = _Walk(10, 64), Tracker(image_size=(1080, 1920))
    for _ in range(100):
        box, feature = walk.step()
        seen = tracker.step(box, feature=feature)
    assert tracker.identities <= 13  # hardly anybody is taken for somebody new
    assert 8 <= len(seen) <= 12


def test_each_number_of_people_is_timed_in_each_round(monkeypatch):
    steps = []
    monkeypatch.setattr(Tracker, "step", lambda self, box, feature: steps.append(len(box)))
    monkeypatch.setattr("reid_jax.bench.tracking._FRAMES", 4)
    measured = bench_tracking([3, 40], 16, 2)
    assert [len(own) for own in measured.seconds.values()] == [2, 2]
    few, many = (np.array(steps) < 10).sum(), (np.array(steps) > 10).sum()
    assert (few, many) == (12, 12)  # a round that is not counted, then two


def test_figures_are_medians():
    measured = TrackingMeasurement(8, {10: (0.001, 0.002, 0.009)})
    assert str(measured).splitlines()[1].split() == ["10", "2.00", "1.00", "-", "9.00", "500", "20.00"]
    assert measured.figures()["people"][0]["median_seconds"] == 0.002


def test_the_command_writes_its_json(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("reid_jax.bench.tracking._FRAMES", 2)
    file = tmp_path / "a.json"
    arguments = ["--people", "2", "3", "--dimensions=4", "--rounds=1", f"--json={file}"]
    assert not main(["bench", "track", *arguments])
    assert "ms a frame" in capsys.readouterr().out
    written = json.loads(file.read_text())
    assert (written["work"], written["dimensions"]) == ("track", 4)
    assert [row["people"] for row in written["people"]] == [2, 3]
