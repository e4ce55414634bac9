"""DukeMTMC-reID: where it is found, what its names say, and that nothing fetches it."""

import dataclasses

import pytest
from made_sets import DUKE, MARKET, write_set

from reid_jax.data.builders import dukemtmcreid
from reid_jax.errors import InputError


@pytest.mark.parametrize("below", [".", *dukemtmcreid.FOLDERS])
def test_found_under_its_usual_names_and_labelled_by_file_names_alone(tmp_path, below):
    base = tmp_path / "0999_c5_f0000001"  # a parent that looks like a file name
    write_set(base / below, DUKE)
    source = dukemtmcreid.find("dukemtmcreid", base)
    labels = {split: [(file.identity, file.camera) for file in source.files(split)] for split in source.splits}
    assert labels == {"train": [(1, 2), (1, 3), (5, 8)], "query": [(6, 2)], "gallery": [(6, 3), (9, 1)]}
    assert source.distractor is None


def test_the_published_counts():
    source = object.__new__(dukemtmcreid.DukeMTMCreID)
    counts = [dataclasses.astuple(source.expected(split)) for split in ("train", "query", "gallery")]
    assert counts == [(16522, 702, 8), (2228, 702, 8), (17661, 702 + 408, 8)]


def test_it_is_not_there_or_is_another_set(tmp_path):
    with pytest.raises(InputError, match="withdrew the set, so nothing fetches it"):
        dukemtmcreid.find("dukemtmcreid", tmp_path)
    with pytest.raises(InputError, match="takes nothing after its name"):
        dukemtmcreid.find("dukemtmcreid:x=1", tmp_path)
    write_set(tmp_path / "duke", MARKET)
    with pytest.raises(InputError, match="do not look like DukeMTMC-reID's '0001_c2_f0046182.jpg'"):
        dukemtmcreid.find("dukemtmcreid", tmp_path).files("train")
