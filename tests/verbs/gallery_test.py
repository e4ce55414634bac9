"""`gallery`: from a folder of images to matches, a table, an erasing and files; bad input in one line."""

import csv
import json
import re
import shlex

import numpy as np
import pytest
from first_pixel import first_pixel_encoder
from made_sets import png, zipped
from PIL import Image
from places import ROOT

from reid_jax.descriptors import read_descriptors
from reid_jax.extractor import Extractor
from reid_jax.gallery import Filter, adding, open_gallery
from reid_jax.gallery.times import time_text
from reid_jax.main import main
from reid_jax.tracking.calibration import Calibration, Threshold, Thresholds, write_calibration
from reid_jax.verbs.gallery import add, search


@pytest.fixture(scope="module")
def encoder():
    return first_pixel_encoder()


@pytest.fixture
def verb(monkeypatch, encoder, capsys, tmp_path):
    """verb('add', ...) -> exit code, stdout, stderr of `reid-jax gallery`, in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(add, "open_weights", lambda path: None)
    monkeypatch.setattr(add, "describer_of", lambda opened, mesh: encoder)
    monkeypatch.setattr(search, "Extractor", lambda weights, flip: Extractor(encoder, flip=flip))
    monkeypatch.setattr(adding, "BATCH", 4)

    def run(*arguments):
        code = main(["gallery", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def crops(tmp_path):
    """Ten images; the names tell person and camera."""
    folder = tmp_path / "crops"
    (folder / "day").mkdir(parents=True)
    for number in range(10):
        (folder / "day" / f"{number // 3}_c{number % 2}_{100 + number}.png").write_bytes(png(number, (40, 90)))
    return folder


PATTERN = r"--pattern=day/(?P<person>\d+)_c(?P<camera>\d)_(?P<time>\d+)\.png"


def test_from_a_folder_to_an_answer(verb, crops, tmp_path):
    code, said, _ = verb("add", "--weights=w", f"--images={crops}", PATTERN, "--tag", "today")
    assert code == 0
    assert "10 added, 0 known already; 10 in gallery" in said
    assert "0 added, 10 known already; 10 in gallery" in verb("add", "--weights=w", f"--images={crops}", PATTERN)[1]
    assert (
        "0 added, 10 known" in verb("add", "--weights=w", f"--images={zipped(crops, tmp_path / 'c.zip')}", PATTERN)[1]
    )
    with open_gallery("gallery") as gallery:
        assert gallery.crop(1).startswith(b"\xff\xd8")
        assert Image.open(tmp_path / "crops/day/0_c0_100.png").size == (40, 90)
    query = crops / "day" / "1_c0_104.png"
    code, said, _ = verb("search", query, "--weights=w", "--k=3", "--json=found.json")
    assert code == 0
    assert said.splitlines()[0].endswith(": the 3 nearest of 10 entries")
    first = said.splitlines()[3].split()
    assert first == ["0.000", "?", "4", "day/1_c0_104.png", "1", "0", "1970-01-01T00:01:44Z", "today"]
    matches = json.loads((tmp_path / "found.json").read_text())["answers"][0]["matches"]
    assert [matches[0][key] for key in ("id", "person", "time", "distance")] == [4, "1", 104, 0]
    code, said, _ = verb("search", query, "--weights=w", "--camera", "1", "--threshold=0.0001")
    assert "nobody nearer than 0.000 in 5 entries that the filter leaves\nthe nearest is " in said
    listed = verb("list", "--person", "1", "--since=1970-01-01T00:01:44")[1]
    assert "10 entries, 4 people by name, 10 crops" in listed
    assert "cameras: 0 5, 1 5" in listed
    assert re.findall(r"^(\d+) +day", listed, re.M) == ["4", "6"]
    assert "3 of 10 entries would be erased; add --yes" in verb("erase", "--person", "1")[1]
    assert "3 entries erased; 7 left" in verb("erase", "--person", "1", "--yes")[1]
    assert "7 entries are sound" in verb("check")[1]
    code, _, error = verb("erase", "--person", "1", "--yes")
    assert (code, error.splitlines()[-1].partition("error: ")[2]) == (
        2,
        "no entry of gallery is meant by these options: nothing was erased; see reid-jax gallery list",
    )
    code, said, _ = verb("erase", "--until=1970-01-01", "--yes")  # as a night's job does
    assert (code, said) == (0, "0 entries erased; 7 left in gallery\n")


def test_an_erasing_that_was_killed_is_ended_by_the_same_command(verb, crops, monkeypatch):
    verb("add", "--weights=w", f"--images={crops}", PATTERN)
    with monkeypatch.context() as killed, open_gallery("gallery") as gallery:
        killed.setattr(type(gallery), "_end_erasing", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            gallery.erase(Filter(people=("1",)))
    assert "run reid-jax gallery erase again" in "".join(verb("check")[1:])
    assert verb("erase", "--person", "1")[:2] == (
        0,
        "an erasing that was killed is ended by --yes\n0 of 7 entries would be erased; add --yes to do it\n",
    )
    code, said, _ = verb("erase", "--person", "1", "--yes")
    assert (code, said.splitlines()[0]) == (0, "an erasing that was killed has been ended")
    assert verb("check")[0] == 0


def commands(path):
    """The commands of `gallery` in the first block of a README that has any."""
    blocks = path.read_text(encoding="utf-8").split("```")[1::2]
    block = next(block for block in blocks if "reid-jax gallery add" in block)
    return [shlex.split(line)[2:] for line in block.strip().splitlines()]


@pytest.mark.parametrize("path", ["README.md", "reid_jax/gallery/README.md"])
def test_the_commands_of_the_readme_do_what_they_say(verb, encoder, tmp_path, path):
    (tmp_path / "crops").mkdir()
    for number, name in enumerate(("anna_1.jpg", "anna_2.jpg", "ben.jpg")):
        (tmp_path / "crops" / name).write_bytes(png(number, (40, 90)))
    at = Thresholds(5, 1000, (Threshold(0.001, 0.5, None),))
    write_calibration(tmp_path / "t.json", Calibration(at, at, 1, encoder.digest))
    said = {}
    for command in commands(ROOT / path):
        if command[0] == "add":
            command.append("--calibration=t.json")  # of the weights of this test
        code, out, error = verb(*command)
        assert (code, command[0] in said) == (0, False), error
        said[command[0]] = out
    assert "3 added" in said["add"]
    assert " nearer than 0.500" in said["search"]
    if "list" in said:
        assert re.findall(r"\.jpg +(\w+) +door", said["list"]) == ["anna", "anna", "ben"]
    assert "2 entries erased; 1 left" in said["erase"]


def test_thresholds_come_with_a_calibration(verb, crops, tmp_path, encoder):
    at = Thresholds(5, 1000, (Threshold(0.01, 0.5, 0.2), Threshold(0.001, 1e-6, None)))
    write_calibration(tmp_path / "t.json", Calibration(at, at, 1, encoder.digest))
    write_calibration(tmp_path / "other.json", Calibration(at, at, 1, "00" * 32))
    code, _, error = verb("add", "--weights=w", f"--images={crops}", "--calibration=other.json")
    assert (code, error.count("\n")) == (2, 1)
    assert "not of the weights" in error
    assert verb("add", "--weights=w", f"--images={crops}", "--calibration=t.json")[0] == 0
    said = verb("search", crops / "day" / "1_c0_104.png", "--weights=w", "--rate=0.01", "--by_person")[1]
    assert "of 10 entries nearer than 0.500" in said
    assert "rate 0.01: about 0.1 of 10 entries of others would be nearer" in said
    assert said.splitlines()[3].split()[:2] == ["0.000", "0.001"]
    assert "knows no threshold of rate 0.5 (known: 0.001, 0.01)" in verb("search", "x", "--weights=w", "--rate=0.5")[2]
    assert "thresholds: 0.000 (false-positive rate 0.001), 0.500" in verb("list")[1]


def test_what_is_exported_is_what_is_added_elsewhere(verb, crops, tmp_path):
    facts = tmp_path / "facts.csv"
    names = sorted(f"day/{path.name}" for path in (crops / "day").iterdir())
    with facts.open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ("name", "person", "tags", "time"),
                *((name, "'=x", "a b|c", "2026-11-29T14:30:05+01:00") for name in names),
            ]
        )
    assert verb("add", "--weights=w", f"--images={crops}", f"--facts={facts}", "--camera=door")[0] == 0
    assert "10 descriptors of 3 numbers" in verb("export", "--out=out.npz", "--facts=out.csv")[1]
    assert read_descriptors(tmp_path / "out.npz").name.tolist() == names
    assert "10 added" in verb("add", "--gallery=two", "--embeddings=out.npz", "--facts=out.csv")[1]
    assert "10 added" in verb("copy", "--to=three")[1]
    with open_gallery("gallery") as one, open_gallery("two") as two, open_gallery("three") as three:
        assert one.page().entries == three.page().entries
        assert one.crop(4) == three.crop(4)
        for entry, other in zip(one.page().entries, two.page().entries, strict=True):
            assert (entry.person, entry.camera, entry.tags) == ("=x", "door", ("a b", "c"))
            assert time_text(entry.time) == "2026-11-29T13:30:05Z"
            assert {**vars(entry), "has_crop": False} == vars(other)
        np.testing.assert_array_equal(one.vectors([1, 9])[1], two.vectors([1, 9])[1])
    assert "0 added, 10 known" in verb("add", "--gallery=two", "--weights=w", f"--images={crops}")[1]


def test_entries_of_one_name_and_odd_tags_go_out_and_in(verb, crops, tmp_path):
    first = ["--camera=a", "--tag", "x|y", "back\\slash", "end\\"]
    assert "10 added" in verb("add", "--weights=w", f"--images={crops}", *first)[1]
    for number, path in enumerate(sorted((crops / "day").iterdir())):
        path.write_bytes(png(20 + number, (40, 90)))
    assert "10 added" in verb("add", "--weights=w", f"--images={crops}", "--camera=b", "--person", "' Hooft")[1]
    assert verb("export", "--out=out.npz", "--facts=out.csv")[0] == 0
    code, said, error = verb("add", "--gallery=two", "--embeddings=out.npz", "--facts=out.csv")
    assert (code, error) == (0, "")
    assert "20 added" in said
    with open_gallery("gallery") as one, open_gallery("two") as two:
        for entry, other in zip(one.page().entries, two.page().entries, strict=True):
            assert {**vars(entry), "has_crop": False} == vars(other)
        assert two.page().entries[0].tags == ("back\\slash", "end\\", "x|y")
    code, _, error = verb("add", "--gallery=three", "--weights=w", f"--images={crops}", "--facts=out.csv")
    assert code == 2
    assert "day/0_c0_100.png is the name of 1 of the images, and of 2 rows of the table; give a row for each" in error


def test_a_table_by_hand(verb, crops, tmp_path):
    names = sorted(f"day/{path.name}" for path in (crops / "day").iterdir())
    people = [" anna", "anna", "'t Hooft", "''t Hooft", "'=x", "Zoe\u0308", *[""] * 4]
    rows = [f"{name} , {person}, a | b ,20261129" for name, person in zip(names, people, strict=True)]
    (tmp_path / "facts.csv").write_text("\n".join(["name, person, tags, time", *rows]), encoding="utf-8")
    assert verb("add", "--weights=w", f"--images={crops}", "--facts=facts.csv", "--camera= door ")[0] == 0
    with open_gallery("gallery") as gallery:
        entries = gallery.page().entries
    assert [entry.person for entry in entries[:7]] == ["anna", "anna", "'t Hooft", "'t Hooft", "=x", "Zoë", ""]
    assert {(entry.camera, entry.tags, entry.time) for entry in entries} == {("door", ("a", "b"), 1795910400.0)}


def test_a_copy_has_the_calibration(verb, crops, tmp_path, encoder):
    at = Thresholds(5, 1000, (Threshold(0.01, 0.5, 0.2),))
    write_calibration(tmp_path / "t.json", Calibration(at, at, 1, encoder.digest))
    write_calibration(tmp_path / "own.json", Calibration(at, at, 2, encoder.digest))
    verb("add", "--weights=w", f"--images={crops}", "--calibration=t.json")
    assert verb("copy", "--to=two")[0] == 0
    verb("add", "--gallery=three", "--weights=w", f"--images={crops}", "--calibration=own.json")
    assert verb("copy", "--to=three")[0] == 0
    with open_gallery("gallery") as one, open_gallery("two") as two, open_gallery("three") as three:
        assert one.calibration == two.calibration
        assert [each.threshold for each in two.thresholds] == [0.5]
        assert three.calibration == Calibration(at, at, 2, encoder.digest)


def test_sound_images_are_added_and_the_others_named(verb, crops, tmp_path):
    (crops / "bad.jpg").write_bytes(b"no image")
    Image.new("1", (20_000, 10_000)).save(crops / "day" / "huge.png")
    code, said, error = verb("add", "--weights=w", f"--images={crops}", "--no_crops")
    assert code == 2
    assert "10 added" in said
    assert error.count("\n") == 1
    assert "2 of 12 images in" in error
    assert "day/huge.png (it has more than the 50,000,000 pixels" in error
    assert "0 crops" in verb("list")[1]
    assert "0 added, 10 known" in verb("add", "--weights=w", f"--images={crops}")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "--weights=w"], "give --weights and --images, or --embeddings alone"),
        (["add", "--weights=w", "--images=crops", "--time=noon"], "'noon' is not a time such as 2026-11-29T14:30"),
        (["add", "--weights=w", "--images=crops", "--pattern=(?P<cam>.)"], "a group cam; did you mean camera?"),
        (["add", "--weights=w", "--images=crops", "--pattern=("], "no regular expression"),
        (["add", "--weights=w", "--images=crops", "--pattern=(?P<person>.)"], "10 of 10 images do not match"),
        (["add", "--weights=w", "--images=crops", "--facts=table.csv"], "a column 'camra'; did you mean camera?"),
        (["add", "--weights=w", "--images=crops", "--gallery=crops"], "crops is there and no gallery"),
        (["search", "crops/a.png", "--weights=w"], "there is no gallery gallery; make one by"),
        (["erase", "--yes"], "nothing is named, and all would be erased"),
        (["list", "--gallery=postgresql://nobody@127.0.0.1:9/none"], "cannot be reached"),
        (
            ["erase", "--gallery=made", "--person", "anna"],
            "no entry of made is meant by these options: nothing was erased",
        ),
        (["index", "--gallery=made"], "an index takes --gallery=postgresql://"),
        (["list", "--gallery=made", "--since=x"], "--since: 'x' is not a time"),
    ],
)
def test_bad_input_is_one_line(verb, crops, tmp_path, arguments, message):
    if "nobody" in arguments[-1]:
        pytest.importorskip("psycopg")
    (tmp_path / "table.csv").write_text("name,camra\n")
    verb("add", "--gallery=made", "--weights=w", f"--images={crops}")
    code, _, error = verb(*arguments)
    assert code == 2
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "gallery").exists()
