"""The checker: sound sets pass, and each way of being broken becomes a problem with its cause."""

import argparse
import json
import pathlib
import shutil

import pytest

from reid_jax.data import check, synthetic
from reid_jax.errors import InputError
from reid_jax.verbs import data

SPEC = synthetic.SyntheticPeople(train_identities=3, test_identities=2, cameras=3, images_per_camera=2, seed=5)
NAME = "synthetic:train_identities=3,test_identities=2,cameras=3,images_per_camera=2,seed=5"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> pathlib.Path:
    return synthetic.render(SPEC, tmp_path_factory.mktemp("people"), workers=1)


@pytest.fixture
def people(drawn, tmp_path, monkeypatch) -> pathlib.Path:
    """A copy to break, which passes for the whole of Market-1501 while it is whole."""
    shutil.copytree(drawn, tmp_path / "set")
    monkeypatch.setattr(check, "MARKET1501", check._expected(NAME))
    return tmp_path / "set"


def verb(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    data.add_arguments(parser)
    data.run(parser.parse_args(arguments))


def test_market1501_expectations_are_the_published_ones():
    counts = {split: (c.images, c.identities, c.cameras) for split, c in check.MARKET1501.items()}
    assert counts == {"train": (12936, 751, 6), "query": (3368, 750, 6), "gallery": (19732 - 3819, 750, 6)}


def test_a_whole_set_is_sound(drawn):
    report = check.check(NAME, drawn.parent)
    assert report.sound
    assert [item.found for item in report.splits] == [item.expected for item in report.splits]
    train, query, gallery = report.splits
    assert (train.found.images, query.found.images, gallery.found.images) == (18, 6, 8)
    assert (gallery.distractors, gallery.junk, report.queries_without_match) == (2, 0, 0)
    assert "sound: a run can start" in report.table()


def test_junk_is_counted_apart(people):
    gallery = people / "Market-1501-v15.09.15" / "bounding_box_test"
    shutil.copy(next(gallery.glob("0004*")), gallery / "-1_c1s1_000401_03.jpg")
    report = check.check("market1501", people)
    assert report.sound
    assert (report.splits[2].junk, report.splits[2].found.images) == (1, 8)


def test_counts_that_differ_are_a_problem(people):
    next((people / "Market-1501-v15.09.15" / "bounding_box_train").glob("*.jpg")).unlink()
    report = check.check("market1501", people)
    assert not report.sound
    assert "train has 17 images" in report.problems[0]
    assert "PROBLEM" in report.table()


def test_query_identities_absent_from_gallery_are_named(people):
    for file in (people / "Market-1501-v15.09.15" / "bounding_box_test").glob("0005*"):
        file.unlink()
    report = check.check("market1501", people)
    assert any("1 query identities do not appear in gallery, the first is 5" in text for text in report.problems)
    assert report.queries_without_match == 3


def test_a_query_seen_by_its_own_camera_only_has_no_match(people):
    for camera in (2, 3):
        for file in (people / "Market-1501-v15.09.15" / "bounding_box_test").glob(f"0004_c{camera}*"):
            file.unlink()
    report = check.check("market1501", people)
    assert report.queries_without_match == 1
    assert report.splits[2].single_camera == 1
    assert any("1 queries have no gallery image by another camera" in note for note in report.notes)


def test_broken_odd_and_copied_files_are_found(people):
    root = people / "Market-1501-v15.09.15"
    train = sorted((root / "bounding_box_train").glob("*.jpg"))
    train[0].write_bytes(train[0].read_bytes()[:400])
    with synthetic.Image.open(train[1]) as image:
        image.resize((50, 100)).save(train[1])
    shutil.copy(next((root / "query").glob("*.jpg")), train[2])
    report = check.check("market1501", people)
    relative = [str(file.relative_to(root)) for file in train]
    assert report.unreadable == (relative[0],)
    assert report.odd_sized == (relative[1],)
    assert report.duplicates == (relative[2],)
    assert len(report.problems) == 2
    assert len(report.notes) == 1


def test_identities_in_training_and_test_are_a_problem(people):
    root = people / "Market-1501-v15.09.15"
    file = next((root / "bounding_box_train").glob("0001*"))
    file.rename(file.with_name(file.name.replace("0001_", "0004_")))
    problems = check.check("market1501", people).problems
    assert any("both in training and in test, the first is 4" in text for text in problems)


def test_missing_parts_are_problems_not_crashes(people, tmp_path):
    shutil.rmtree(people / "Market-1501-v15.09.15" / "query")
    assert any("query is missing" in text for text in check.check("market1501", people).problems)
    (tmp_path / "empty").mkdir()
    report = check.check("market1501", tmp_path / "empty")
    assert "Market-1501 not found" in report.problems[0]
    assert "not sound" in report.table()


def test_bad_arguments_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="unknown data set"):
        check.check("market", tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        check.check("market1501", tmp_path / "nowhere")


def test_verb_check_exits_by_soundness_and_writes_json(drawn, tmp_path, capsys):
    path = tmp_path / "report.json"
    verb("check", f"--dataset={NAME}", f"--data_dir={drawn.parent}", f"--json={path}")
    assert json.loads(path.read_text())["sound"] is True
    assert "gallery" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        verb("check", "--dataset=market1501", f"--data_dir={drawn}", f"--json={path}")
    assert caught.value.code == 1
    written = json.loads(path.read_text())
    assert written["sound"] is False
    assert written["splits"][0]["found"]["images"] == 18
    with pytest.raises(InputError, match="cannot write --json"):
        verb("check", f"--dataset={NAME}", f"--data_dir={drawn.parent}", f"--json={tmp_path}/no/report.json")


def test_verb_synthesize_then_prepare(tmp_path, capsys):
    numbers = [
        "--train_identities=2",
        "--test_identities=2",
        "--cameras=2",
        "--images_per_camera=2",
        "--seed=9",
    ]
    verb("synthesize", f"--out={tmp_path}", *numbers)
    said = capsys.readouterr().out
    assert said.startswith("18 images in ")  # 4 people x 2 cameras x 2 images, and 2 distractors
    dataset = next(word for word in said.split() if word.startswith("--dataset="))
    verb("prepare", dataset, f"--data_dir={tmp_path}")
    assert "train 8, query 4, gallery 6" in capsys.readouterr().out
