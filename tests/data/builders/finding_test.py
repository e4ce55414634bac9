"""The search for a data set: usual names and names like them, folders within, zips of any name, and doubtful cases."""

import shutil

import pytest
from made_sets import DUKE, MARKET, write_set, zipped

from reid_jax.data.builders.files import FileTree
from reid_jax.data.builders.finding import find_tree
from reid_jax.data.datasets import find_source
from reid_jax.errors import InputError

FILES = {"a": ["2.jpg", "1.jpg"], "a/b": ["3.jpg"], "c": ["list.txt"]}


def search(data_dir):
    return find_tree(
        data_dir,
        title="Set",
        is_root=lambda tree: tree.has_folder("a") and tree.has_folder("c"),
        folders=("Set", "sets/Set"),
        archives=("Set.zip",),
        advice="buy it",
    )


@pytest.mark.parametrize("below", [".", "Set", "sets/Set"])
def test_find_tree_takes_the_folder_or_what_holds_it(tmp_path, below):
    folder = write_set(tmp_path / below, FILES)
    assert search(tmp_path).path.resolve() == folder.resolve()


@pytest.mark.parametrize("prefix", ["", "Set/", "one/two/Set/"])
def test_find_tree_looks_into_the_zip(tmp_path, prefix):
    path = zipped(write_set(tmp_path / "source", FILES), tmp_path / "Set.zip", prefix)
    for data_dir in (tmp_path, path):
        assert search(data_dir) == FileTree(path, prefix)


def test_find_tree_tells_where_it_looked(tmp_path):
    with pytest.raises(
        InputError, match=r"Set not found; looked at .*/sets/Set, .*Set\.zip, and at names like these; buy it"
    ):
        search(tmp_path)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match="is a file but not a zip"):
        search(tmp_path / "a.txt")
    write_set(tmp_path / "other", {"x": ["1.jpg"]})
    with pytest.raises(InputError, match="it is not Set"):
        search(zipped(tmp_path / "other", tmp_path / "Set.zip"))


MARS = {"bbox_train/0001": ["0001C1T0001F001.jpg"], "bbox_test/0002": ["0002C1T0001F001.jpg"], "info": ["list.txt"]}
MSMT = {"train": ["1.jpg"], "test": ["2.jpg"]}
MASKED = {"mask_train_v2": ["1.jpg"], "mask_test_v2": ["2.jpg"]}
EXTRACTED = {"images_detected": ["1_001_1_01.png"]}
CUHK_NP = {"detected/bounding_box_train": ["0003_c1_22.png"]}
IN_THE_WILD = [
    ("market1501", MARKET, "Market-1501-v15.09.15/Market-1501-v15.09.15"),
    ("market1501", MARKET, "MARKET1501"),
    ("market1501", MARKET, "Market"),
    ("market1501", MARKET, "market-1501"),
    ("market1501", MARKET, "Market_1501"),
    ("market1501", MARKET, "Market-1501-v15.09.15 (1)"),
    ("market1501", MARKET, "Market-1501-v15.09.15 - Copy"),
    ("market1501", MARKET, "archive/Market-1501-v15.09.15"),
    ("market1501", MARKET, "market1501/raw/Market1501"),
    ("market1501", MARKET, "Market1501/pytorch"),
    ("dukemtmcreid", DUKE, "DukeMTMC-reID/DukeMTMC-reID/dukemtmc_reid"),
    ("dukemtmcreid", DUKE, "DUKE MTMC"),
    ("msmt17", MSMT, "msmt17_v1"),
    ("msmt17", MSMT, "reid/MSMT17_V1 (2)"),
    ("msmt17", MASKED, "Msmt17-V2"),
    ("cuhk03", EXTRACTED, "CUHK-03"),
    ("cuhk03", CUHK_NP, "Cuhk03-NP/CUHK03-np"),
    ("mars", MARS, "MARS_v160809"),
]


@pytest.mark.parametrize(("name", "files", "place"), IN_THE_WILD)
@pytest.mark.parametrize("how", ["folder", "zip", "Windows zip"])
def test_sets_are_found_under_the_names_they_have_in_the_wild(tmp_path, capsys, name, files, place, how):
    folder = write_set(tmp_path / "data" / place, files)
    write_set(tmp_path / "data" / "other", {"query": ["1.jpg"], "more/bounding_box_train": ["1.jpg"]})
    if how != "folder":
        path = tmp_path / "data" / f"{place}.zip"
        zipped(folder, path, f"{folder.name}/", "/" if how == "zip" else "\\")
        shutil.rmtree(folder)
        folder = path
    source = find_source(name, tmp_path / "data")
    assert source.location.startswith(str(folder))
    assert f"is taken from {folder}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["archive.zip", "data.zip", "download (3).ZIP"])
def test_a_zip_of_any_name_is_taken_for_the_set_that_it_holds(tmp_path, name):
    zipped(write_set(tmp_path / "duke", DUKE), tmp_path / "data.zip", "DukeMTMC-reID/")
    (tmp_path / "data").mkdir()
    shutil.copy(tmp_path / "data.zip", tmp_path / "data" / name)
    (tmp_path / "data" / "broken.zip").write_bytes(b"PK")
    assert find_source("dukemtmcreid", tmp_path / "data").location.startswith(str(tmp_path / "data" / name))
    for other in ("market1501", "cuhk03", "msmt17", "mars"):
        with pytest.raises(
            InputError,
            match=r"not found; looked at .*and at names like these, and into .*broken\.zip.* cannot be read as a zip",
        ):
            find_source(other, tmp_path / "data")


def test_of_several_usual_places_the_first_counts_and_the_others_are_named(tmp_path, capsys):
    write_set(tmp_path / "Market-1501", MARKET)
    (tmp_path / "market1501").symlink_to(tmp_path / "Market-1501")
    assert find_source("market1501", tmp_path).location == str(tmp_path / "Market-1501")
    assert capsys.readouterr().err == ""
    write_set(tmp_path / "Market1501", MARKET)
    assert find_source("market1501", tmp_path).location == str(tmp_path / "Market-1501")
    message = f"Market-1501 is taken from {tmp_path}/Market-1501, and there is another one in {tmp_path}/Market1501\n"
    assert capsys.readouterr().err == f"note: {message}"


def test_several_places_with_other_files_are_told_apart(tmp_path):
    first = write_set(tmp_path / "MARKET1501", MARKET)
    shutil.copytree(first, tmp_path / "old" / "market_1501")
    (tmp_path / "Market.1501").symlink_to(first)
    assert find_source("market1501", tmp_path).location == str(tmp_path / "MARKET1501")
    next((tmp_path / "old" / "market_1501" / "query").iterdir()).unlink()
    with pytest.raises(InputError, match=r"there 2 times with different files: .*MARKET1501, .*old/market_1501; give"):
        find_source("market1501", tmp_path)
    # A usual name counts before any other: that order is documented.
    write_set(tmp_path / "Market-1501", MARKET)
    assert find_source("market1501", tmp_path).location == str(tmp_path / "Market-1501")


def test_the_search_has_bounds(tmp_path, monkeypatch):
    write_set(tmp_path / "1" / "2" / "3" / "MARKET1501", MARKET)
    with pytest.raises(InputError, match="Market-1501 not found"):
        find_source("market1501", tmp_path)
    assert find_source("market1501", tmp_path / "1").location.endswith("3/MARKET1501")
    monkeypatch.setattr("reid_jax.data.builders.finding._MOST_FOLDERS", 2)
    with pytest.raises(InputError, match="Market-1501 not found"):
        find_source("market1501", tmp_path / "1")
