"""The checker: sound sets pass, and each way of being broken becomes a problem or a note with its cause."""

import argparse
import contextlib
import dataclasses
import json
import pathlib
import re
import shutil
import zlib

import pytest
from made_sets import png
from PIL import Image

from reid_jax.data import check, synthetic
from reid_jax.data.builders import market1501
from reid_jax.data.builders.source import Counts, ImageFile, Source
from reid_jax.data.sampler import IdentitySampler
from reid_jax.data.split import load_split
from reid_jax.errors import InputError
from reid_jax.retrieval.protocol import Labels, check_labels
from reid_jax.verbs import data

SPEC = synthetic.SyntheticPeople(train_identities=8, test_identities=2, cameras=3, images_per_camera=2, seed=5)
NAME = "synthetic:train_identities=8,test_identities=2,cameras=3,images_per_camera=2,seed=5"
COUNTS = {"train": Counts(48, 8, 3), "query": Counts(6, 2, 3), "gallery": Counts(8, 2, 3)}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> pathlib.Path:
    return synthetic.render(SPEC, tmp_path_factory.mktemp("people"), workers=1)


@pytest.fixture
def people(drawn, tmp_path, monkeypatch) -> pathlib.Path:
    """A copy to break, which passes for the whole of Market-1501 while it is whole."""
    shutil.copytree(drawn, tmp_path / "set")
    monkeypatch.setattr(market1501, "_EXPECTED", COUNTS)
    return tmp_path / "set"


class Made(Source):
    """A source in memory: {split: [(identity, camera, tracklet)]}, every file a picture of its own."""

    def __init__(self, rows, **attributes):
        self.name, self.location, self.splits = "made", "memory", tuple(rows)
        self.rows = rows
        for name, value in attributes.items():
            setattr(self, name, value)

    def list_files(self, split):
        return [
            ImageFile(f"{split}/{number}.png", identity, camera, 1, 0, tracklet)
            for number, (identity, camera, tracklet) in enumerate(self.rows[split])
        ]

    def reader(self):
        return contextlib.nullcontext(lambda name: png(zlib.crc32(name.encode()), (8, 16)))


def look(source, monkeypatch, tmp_path):
    monkeypatch.setitem(check.datasets.DATASETS, "made", lambda name, data_dir: source)
    return check.check("made", tmp_path)


def verb(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    data.add_arguments(parser)
    return data.run(parser.parse_args(arguments))


def test_a_whole_set_is_sound(drawn):
    report = check.check(NAME, drawn.parent)
    assert report.sound
    assert {item.split: item.found for item in report.splits} == COUNTS
    assert [item.found for item in report.splits] == [item.expected for item in report.splits]
    gallery = report.splits[2]
    assert (gallery.distractors, gallery.junk, report.queries_without_match) == (2, 0, 0)
    assert report.sizes == ((128, 64), (128, 64))
    assert report.notes == ()
    assert "sound: train and evaluate can start" in report.table()


def test_checking_writes_nothing(people):
    before = sorted(people.rglob("*"))
    check.check("market1501", people)
    assert sorted(people.rglob("*")) == before


def test_junk_is_counted_apart(people):
    gallery = people / "Market-1501-v15.09.15" / "bounding_box_test"
    shutil.copy(next(gallery.glob("0009*")), gallery / "-1_c1s1_000401_03.jpg")
    report = check.check("market1501", people)
    assert report.sound
    assert (report.splits[2].junk, report.splits[2].found.images) == (1, 8)


def test_counts_that_differ_are_a_problem(people):
    next((people / "Market-1501-v15.09.15" / "bounding_box_train").glob("*.jpg")).unlink()
    report = check.check("market1501", people)
    assert not report.sound
    assert "train has 47 images of 8 identities by 3 cameras, expected are 48 of 8 by 3" in report.problems[0]
    assert "PROBLEM" in report.table()


def test_query_identities_absent_from_gallery_are_named(people):
    for file in (people / "Market-1501-v15.09.15" / "bounding_box_test").glob("0010*"):
        file.unlink()
    report = check.check("market1501", people)
    assert any("1 query identities do not appear in gallery, the first is 10" in text for text in report.problems)
    assert report.queries_without_match == 3


def test_a_query_seen_by_its_own_camera_only_has_no_match(people):
    for camera in (2, 3):
        for file in (people / "Market-1501-v15.09.15" / "bounding_box_test").glob(f"0009_c{camera}*"):
            file.unlink()
    report = check.check("market1501", people)
    assert report.queries_without_match == 1
    assert report.splits[2].single_camera == 1
    assert any("1 queries have no gallery image by another camera" in note for note in report.notes)


def test_broken_odd_misnamed_and_copied_files_are_found(people):
    root = people / "Market-1501-v15.09.15"
    train = sorted((root / "bounding_box_train").glob("*.jpg"))
    train[0].write_bytes(train[0].read_bytes()[:400])
    train[1].write_bytes(b"")
    with Image.open(train[2]) as image:
        image.resize((50, 100)).save(train[2])
    shutil.copy(next((root / "query").glob("*.jpg")), train[3])
    train[4].write_bytes(png(3))
    shutil.copy(train[5], train[-1])  # the same picture of two people
    report = check.check("market1501", people)
    relative = [str(file.relative_to(root)) for file in train]
    assert list(report.unreadable) == relative[:2]
    assert report.unreadable[relative[1]] == "it is empty (0 bytes)"
    assert report.empty == (relative[1],)
    assert report.odd_sized == (relative[2],)
    assert report.duplicates == (relative[3],)
    assert report.misnamed == (relative[4],)
    assert report.contradictory == (relative[5], relative[-1])
    assert report.sizes == ((100, 50), (128, 64))
    assert [text.partition(":")[0] for text in report.problems] == [
        "2 image(s) cannot be decoded",
        "1 training file(s) are byte for byte in test",
    ]
    assert len(report.notes) == 3
    table = report.table()
    assert "unreadable: 2, of 0 bytes: 1; odd-sized: 1; in training and test alike: 1" in table
    assert "height x width: 100x50 to 128x64" in table


def test_two_empty_files_are_no_duplicates(people):
    for folder in ("bounding_box_train", "query"):
        next((people / "Market-1501-v15.09.15" / folder).glob("*.jpg")).write_bytes(b"")
    report = check.check("market1501", people)
    assert (len(report.empty), report.duplicates) == (2, ())


def test_identities_in_training_and_test_are_a_problem(people):
    file = next((people / "Market-1501-v15.09.15" / "bounding_box_train").glob("0001*"))
    file.rename(file.with_name(file.name.replace("0001_", "0009_")))
    problems = check.check("market1501", people).problems
    assert any("both in training and in test, the first is 9" in text for text in problems)


def test_sets_that_number_their_test_apart_share_no_identity(tmp_path, monkeypatch):
    rows = {"train": [(n, 1, -1) for n in range(8)], "query": [(0, 1, -1)], "gallery": [(0, 2, -1), (1, 1, -1)]}
    assert look(Made(rows, test_numbered_apart=True), monkeypatch, tmp_path).sound
    assert "both in training and in test" in look(Made(rows), monkeypatch, tmp_path).problems[0]


def test_unpublished_counts_and_unknown_cameras_are_said_aloud(tmp_path, monkeypatch):
    rows = {
        "train": [(n, 1, -1) for n in range(8)],
        "query": [(10, -1, -1), (11, 1, -1)],
        "gallery": [(10, -1, -1), (11, 1, -1), (11, -1, -1)],
    }
    report = look(Made(rows, notes=("found by hand",)), monkeypatch, tmp_path)
    assert report.sound
    assert report.queries_without_match == 0
    assert report.splits[2].found == Counts(3, 2, 1)
    assert report.splits[0].single_camera == 8
    assert report.splits[2].single_camera == 0  # an unknown camera may be another one
    assert report.notes[0] == "found by hand"
    assert "query: the camera of 1 of 2 images is unknown" in report.notes[2]
    assert [row for row in report.table().splitlines() if row.startswith("gallery")][0].split()[2] == "-"


def test_tracklets_are_counted_and_are_what_is_matched(tmp_path, monkeypatch):
    rows = {
        "train": [(n, 1, n) for n in range(8) for _ in range(2)],
        "query": [(10, 1, 0)] * 3 + [(11, 1, 1)] * 3 + [(11, 1, -1)],
        "gallery": [(10, 2, 0)] * 2 + [(11, 1, 1)] * 2,
    }
    report = look(Made(rows), monkeypatch, tmp_path)
    assert [item.tracklets for item in report.splits] == [8, 2, 2]
    assert report.queries_without_match == 2  # a tracklet and a still image, not four images
    assert "tracklets" in report.table()


def test_one_identity_and_fewer_than_a_batch(tmp_path, monkeypatch):
    rows = {"train": [(1, 1, -1), (1, 2, -1)], "query": [(5, 1, -1)], "gallery": [(5, 2, -1)]}
    report = look(Made(rows), monkeypatch, tmp_path)
    assert "train holds one identity only" in report.problems[0]
    assert "gallery holds one identity only" in report.problems[1]
    rows["train"].append((2, 1, -1))
    rows["gallery"].append((6, 2, -1))
    report = look(Made(rows), monkeypatch, tmp_path)
    assert len(report.problems) == 1
    assert "train has 2 identities, fewer than the 8 of a default batch, and refuses to start" in report.problems[0]


TRAINING = [(f"t{n}_{c}", n, c, "train") for n in range(20, 28) for c in (1, 2)]
QUERIES = [(f"q{n}", n, 1, "query") for n in (1, 2)]
FOUND = [(f"g{n}", n, 2, "gallery") for n in (1, 2)]
ALL = TRAINING + QUERIES + FOUND


def changed(rows, **fields):
    """The rows with some fields set to another value: name, identity, camera or split."""
    names = ("name", "identity", "camera", "split")
    return [tuple(fields.get(name, value) for name, value in zip(names, row, strict=True)) for row in rows]


@pytest.mark.parametrize(
    ("rows", "trains", "evaluates", "sound", "message"),
    [
        (ALL, True, True, True, "sound: train and evaluate can start"),
        (TRAINING, True, False, True, "sound for training only: there is no query and gallery"),
        (QUERIES + FOUND, False, True, True, "sound for evaluation only: there are no training images"),
        (changed(ALL, camera=""), True, True, True, "cameras? of .*unknown"),
        (QUERIES, False, False, False, "there is a query but no gallery"),
        (FOUND, False, False, False, "there is a gallery but no query"),
        (TRAINING + QUERIES, True, False, False, "there is a query but no gallery"),
        (TRAINING + FOUND, True, False, False, "there is a gallery but no query"),
        (changed(QUERIES, split="multi_query"), False, False, False, "neither training images nor query and gallery"),
        (changed(ALL, camera=3), True, False, False, "all images of query and gallery are of camera 3"),
        (TRAINING + QUERIES + changed(FOUND, camera=1), True, False, False, "are of camera 1, and"),
        (
            TRAINING + QUERIES + changed(FOUND, camera=1) + [("g3", 3, 2, "gallery")],
            True,
            False,
            False,
            "no query has a gallery image by another camera",
        ),
        (TRAINING + QUERIES + changed(FOUND, identity=9), True, False, False, "2 query identities do not appear"),
        (TRAINING + QUERIES[:1] + FOUND[:1], True, True, False, "gallery holds one identity only"),
        (changed(TRAINING, identity=-1) + QUERIES + FOUND, False, True, False, "train holds junk only"),
        (TRAINING + changed(QUERIES, identity=-1) + FOUND, True, False, False, "query holds junk only"),
        (TRAINING + QUERIES + changed(FOUND, identity=-1), True, False, False, "gallery holds junk only"),
        (TRAINING[2:] + QUERIES + FOUND, False, True, False, "train has 7 identities, fewer than the 8"),
        (TRAINING[:2] + QUERIES + FOUND, False, True, False, "train holds one identity only"),
        (TRAINING[::2] + QUERIES + FOUND, True, True, True, "no one has a second image in train"),
        (ALL + [("broken", 20, 1, "train")], False, True, False, "1 image.s. cannot be decoded"),
        (ALL + [("broken", 1, 3, "gallery")], True, False, False, "1 image.s. cannot be decoded"),
        (ALL + [("q1", 1, "", "gallery")], True, True, False, "1 query file.s. are byte for byte in the gallery"),
        (ALL + [("q1", 1, 7, "gallery")], True, True, False, "byte for byte in the gallery, by another or an unknown"),
        (ALL + [("q1", 1, 1, "gallery")], True, True, True, "sound: train and evaluate"),  # the protocol removes it
        (changed(ALL, camera="") + [("q2", 2, "", "gallery")], True, True, False, "such a query finds itself"),
        (ALL + [("q1", 2, 3, "gallery")], True, True, True, "byte for byte another identity's"),
    ],
)
def test_the_verdict_is_what_train_and_evaluate_do(tmp_path, rows, trains, evaluates, sound, message):
    for name in {row[0] for row in rows}:
        picture = b"text" if name == "broken" else png(zlib.crc32(name.encode()), (8, 16))
        (tmp_path / f"{name}.png").write_bytes(picture)
    lines = [f"{name}.png,{identity},{camera},{split}" for name, identity, camera, split in rows]
    (tmp_path / "set.csv").write_text("\n".join(["path,identity,camera,split", *lines]))
    report = check.check("csv:set.csv", tmp_path)
    assert (report.trainable, report.testable, report.sound) == (trains, evaluates, sound)
    assert sound == (len(report.problems) == 0)
    assert re.search(message, report.table())

    def load(split):
        return load_split("csv:set.csv", split, tmp_path, (16, 8))

    def matches():
        query, gallery = load("query"), load("gallery")
        labels = check_labels(Labels(query.identity, query.camera, gallery.identity, gallery.camera))
        if not labels.matches().any():
            raise InputError("no query has a match")

    assert starts(lambda: IdentitySampler(load("train").identity, 8, 4)) == trains
    assert starts(matches) == evaluates


def test_queries_without_a_gallery_are_without_a_match(tmp_path, monkeypatch):
    report = look(Made({"query": [(1, 1, -1), (2, 1, -1)]}), monkeypatch, tmp_path)
    assert report.queries_without_match == 2


def starts(run) -> bool:
    try:
        run()
    except InputError:
        return False
    return True


def test_missing_parts_are_problems_not_crashes(people, tmp_path):
    shutil.rmtree(people / "Market-1501-v15.09.15" / "query")
    assert any("query is missing" in text for text in check.check("market1501", people).problems)
    (tmp_path / "empty").mkdir()
    report = check.check("market1501", tmp_path / "empty")
    assert "Market-1501 not found" in report.problems[0]
    assert "not sound" in report.table()


def test_extra_splits_are_checked_too(people):
    root = people / "Market-1501-v15.09.15"
    (root / "gt_bbox").mkdir()
    for file in sorted((root / "query").iterdir())[:2]:
        shutil.copy(file, root / "gt_bbox" / file.name)
    broken = sorted((root / "gt_bbox").iterdir())[1]
    broken.write_bytes(b"text")
    market1501._EXPECTED["multi_query"] = Counts(None, 1, None)
    report = check.check("market1501", people)
    del market1501._EXPECTED["multi_query"]
    assert report.splits[3].split == "multi_query"
    assert list(report.unreadable) == [f"gt_bbox/{broken.name}"]
    assert len(report.problems) == 1


def test_bad_arguments_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="unknown data set"):
        check.check("market", tmp_path)
    with pytest.raises(InputError, match="joins several"):
        check.check("market1501+synthetic", tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        check.check("market1501", tmp_path / "nowhere")


def test_verb_check_exits_by_soundness_and_writes_json(drawn, tmp_path, capsys):
    path = tmp_path / "report.json"
    assert verb("check", f"--dataset={NAME}", f"--data_dir={drawn.parent}", f"--json={path}") == 0
    assert json.loads(path.read_text())["sound"] is True
    assert "gallery" in capsys.readouterr().out
    assert verb("check", "--dataset=market1501", f"--data_dir={drawn}", f"--json={path}") == 1
    written = json.loads(path.read_text())
    assert written["sound"] is False
    assert written["splits"][0]["found"] == dataclasses.asdict(COUNTS["train"])
    with pytest.raises(InputError, match="cannot be written"):
        verb("check", f"--dataset={NAME}", f"--data_dir={drawn.parent}", f"--json={tmp_path}")


def test_verb_check_takes_joined_sets_in_turn(drawn, tmp_path, capsys):
    path = tmp_path / "report.json"
    arguments = [f"--dataset={NAME}+dukemtmcreid", f"--data_dir={drawn.parent}", f"--json={path}"]
    assert verb("check", *arguments) == 1
    said = capsys.readouterr().out
    assert "sound: train and evaluate can start" in said
    assert "DukeMTMC-reID not found" in said
    assert [report["sound"] for report in json.loads(path.read_text())] == [True, False]


def test_verb_synthesize_then_prepare(tmp_path, capsys):
    numbers = ["--train_identities=2", "--test_identities=2", "--cameras=2", "--images_per_camera=2"]
    verb("synthesize", f"--out={tmp_path}", *numbers, "--seed=9")
    said = capsys.readouterr().out
    assert said.startswith("18 images in ")  # 4 people x 2 cameras x 2 images, and 2 distractors
    dataset = next(word for word in said.split() if word.startswith("--dataset="))
    verb("prepare", f"{dataset}+{dataset.removeprefix('--dataset=')}", f"--data_dir={tmp_path}")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all("train 8, query 4, gallery 6; 0." in line and str(tmp_path / "prepared") in line for line in lines)
    folders = sorted(path.name.rpartition("-")[0] for path in (tmp_path / "prepared").iterdir())
    assert folders == ["synthetic-gallery", "synthetic-query", "synthetic-train"]
