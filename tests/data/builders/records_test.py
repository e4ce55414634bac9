"""Prepared records: what they keep, that they never outlive their source, and that half of them is never read."""

import os
import pathlib
import shutil

import pytest
from made_sets import write_set

from reid_jax.data.builders import market1501, records
from reid_jax.data.datasets import find_source
from reid_jax.errors import InputError
from reid_jax.files.leftovers import size_of
from reid_jax.retrieval.protocol import JUNK


@pytest.fixture
def market(tmp_path):
    write_set(tmp_path / "Market-1501-v15.09.15")
    return tmp_path


def prepare(data_dir, split):
    return records.prepare(market1501.find("market1501", data_dir), split, data_dir)


def read(prepared):
    found = prepared.read()
    return [found[index] for index in range(len(found))]


def test_records_keep_the_files_bytes_and_labels_in_order_without_junk(market):
    prepared = prepare(market, "gallery")
    found = read(prepared)
    assert [record["name"].decode() for record in found] == [file.name for file in prepared.files]
    assert [file.name for file in prepared.files] == [
        "bounding_box_test/0000_c4s1_000151_01.jpg",
        "bounding_box_test/0003_c1s1_000451_01.jpg",
        "bounding_box_test/0003_c2s1_000100_02.jpg",
    ]
    root = market / "Market-1501-v15.09.15"
    for record, file in zip(found, prepared.files, strict=True):
        assert record["image"] == (root / file.name).read_bytes()
        assert (record["identity"], record["camera"], record["tracklet"]) == (file.identity, file.camera, -1)
    assert sorted(path.name for path in (market / "prepared").iterdir()) == [prepared.folder.name]


def test_a_set_beyond_what_is_written_at_once_is_in_parts_that_are_read_as_one(tmp_path, monkeypatch):
    # TFDS would keep a large one's records in files that only TensorFlow opens.
    name = "synthetic:train_identities=3,test_identities=2,cameras=2,images_per_camera=2"
    source = find_source(name, tmp_path)
    monkeypatch.setattr(records, "_PART_BYTES", records._LEAST_BYTES)
    prepared = records.prepare(source, "train", tmp_path)
    assert len(prepared.builder.info.splits) == len(prepared.files) == 12
    found = read(prepared)
    assert [record["name"].decode() for record in found] == [file.name for file in prepared.files]
    monkeypatch.undo()
    assert read(records.prepare(source, "train", tmp_path)) == found  # those that are there are read


def test_names_with_spaces_and_other_alphabets_are_kept(market):
    class Renamed(market1501.Market1501):
        pattern = market1501.re.compile(r"(?P<identity>\d+) (?P<camera>\d+) .*")

    folder = market / "Market-1501-v15.09.15" / "query"
    (folder / "0003_c1s1_000451_00.jpg").rename(folder / "3 1 größe 人.jpg")
    (folder / "0003_c6s4_000002_00.jpg.jpg").unlink()
    source = Renamed(market1501.FileTree(folder.parent))
    assert read(records.prepare(source, "query", market))[0]["name"].decode() == "query/3 1 größe 人.jpg"


def test_a_changed_source_is_prepared_again(market):
    changed = market / "Market-1501-v15.09.15" / "query" / "0003_c1s1_000451_00.jpg"
    before = read(prepare(market, "query"))[0]["image"]
    replacement = before[:-1] + b"\x00"  # of the same size
    changed.write_bytes(replacement)
    os.utime(changed, ns=(1, 1))
    assert read(prepare(market, "query"))[0]["image"] == replacement


def test_an_unchanged_source_is_not_prepared_again(market, monkeypatch):
    prepare(market, "train")
    monkeypatch.setattr(records.PersonImages, "download_and_prepare", None)
    assert len(read(prepare(market, "train"))) == 3


def test_an_interrupted_preparation_leaves_nothing(market, monkeypatch):
    original = records.PersonImages._generate_examples

    def interrupted(self, files, name):
        yield from [next(original(self, files, name))]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(records.PersonImages, "_generate_examples", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(market, "train")
    assert list((market / "prepared").iterdir()) == []
    assert len(read(prepare(market, "train"))) == 3


def test_what_a_killed_process_left_is_not_read(market):
    done = prepare(market, "train").folder
    done.rename(done.with_name(f".{done.name}-abc"))  # as it lies where a process was killed while it wrote
    again = prepare(market, "train")
    assert again.folder == done
    assert len(read(again)) == 3


def test_older_versions_of_a_source_are_pruned_and_other_sets_stay(market):
    (market / "other").mkdir()
    write_set(market / "other" / "Market-1501-v15.09.15")
    other = market1501.find("market1501", market / "other")
    kept = [prepare(market, "train").folder, records.prepare(other, "query", market).folder]
    versions = []
    for stamp in (1, 2, 3, 1):  # the last is the first one's again, and so are its records
        os.utime(market / "Market-1501-v15.09.15" / "query" / "0003_c1s1_000451_00.jpg", ns=(stamp, stamp))
        versions.append(prepare(market, "query").folder)
    assert versions[0] == versions[3]
    unknown = versions[1].with_name("market1501-query-0123456789abcdef")  # by a version that wrote no origin
    shutil.copytree(versions[1], unknown)
    (unknown / "origin.json").unlink()
    sizes = {folder: size_of(folder) for folder in versions[1:3]}
    assert {folder: size for folder, _, size in records.prune(market)} == sizes
    assert set((market / "prepared").iterdir()) == {*kept, versions[0], unknown}
    assert records.prune(market) == []


def test_pruning_where_nothing_was_prepared(tmp_path):
    assert records.prune(tmp_path) == []


@pytest.mark.parametrize(
    "damage", ["removed", "cut short", "{", "[]", "{}", "5", "[" * 200_000, '{"a": "b"}'], ids=lambda text: text[:12]
)
def test_damaged_records_are_made_again(market, damage):
    prepared = prepare(market, "train")
    file = pathlib.Path(prepared.builder.info.splits["train"].filepaths[0])
    if damage == "removed":
        file.unlink()
    elif damage == "cut short":
        file.write_bytes(file.read_bytes()[:65536])
    else:
        (prepared.folder / "sizes.json").write_text(damage)
    assert [record["name"] is not None for record in read(prepare(market, "train"))] == [True] * 3


def test_two_processes_that_prepare_at_once_share_the_first_ones_records(market, monkeypatch):
    original = records.PersonImages._generate_examples
    inner = []

    def overtaken(self, files, name):
        monkeypatch.setattr(records.PersonImages, "_generate_examples", original)
        inner.append(prepare(market, "query"))  # as another process would, meanwhile
        yield from original(self, files, name)

    monkeypatch.setattr(records.PersonImages, "_generate_examples", overtaken)
    outer = prepare(market, "query")
    assert outer.folder == inner[0].folder
    assert len(read(outer)) == 2
    assert len(list((market / "prepared").iterdir())) == 1


def test_a_split_that_is_not_there_or_is_junk_or_is_empty_of_bytes(market):
    with pytest.raises(InputError, match="has no split 'multi_query'; it has train, query, gallery"):
        prepare(market, "multi_query")
    folder = market / "Market-1501-v15.09.15" / "query"
    for file in sorted(folder.iterdir()):
        file.write_bytes(b"")
    with pytest.raises(InputError, match=r"query/0003_c1s1_000451_00.jpg is empty \(0 bytes\)"):
        prepare(market, "query")
    for file in folder.iterdir():
        file.rename(folder / file.name.replace("0003", str(JUNK)))
    with pytest.raises(InputError, match="all of query is junk"):
        prepare(market, "query")
    assert not any((market / "prepared").iterdir())


def test_a_file_that_vanishes_meanwhile_is_named(market, monkeypatch):
    source = market1501.find("market1501", market)
    listed = source.files("train")
    monkeypatch.setattr(market1501.Market1501, "files", lambda self, split: listed)
    (market / "Market-1501-v15.09.15" / listed[1].name).unlink()
    with pytest.raises(InputError, match=f"{listed[1].name} cannot be read"):
        records.prepare(source, "train", market)


def test_a_folder_that_cannot_be_written_is_an_input_error(market):
    (market / "prepared").write_text("")
    with pytest.raises(InputError, match="cannot write prepared records"):
        prepare(market, "train")
