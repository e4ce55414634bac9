import pytest

from reid_jax.data.builders.source import ImageFile, Source, drop_junk
from reid_jax.errors import InputError
from reid_jax.retrieval.protocol import JUNK


class Counted(Source):
    """A source that counts how often a split is listed; 'gallery' is missing at first."""

    name, location = "made:option=1", "memory"

    def __init__(self):
        self.listed = []

    def list_files(self, split):
        self.listed.append(split)
        if split == "gallery" and self.listed.count("gallery") == 1:
            raise InputError("gallery is missing")
        return [ImageFile(f"{split}/a.jpg", 3, 1, 9, 0), ImageFile(f"{split}/b.jpg", JUNK, 1, 9, 0)]

    def reader(self):
        raise AssertionError("listing reads no image")


def test_a_split_is_listed_once():
    source = Counted()
    assert source.files("train") == source.files("train")
    assert source.files("query") != source.files("train")
    assert source.listed == ["train", "query"]
    assert source.key == "made"


def test_a_split_that_could_not_be_listed_is_listed_again():
    source = Counted()
    with pytest.raises(InputError, match="missing"):
        source.files("gallery")
    assert len(source.files("gallery")) == 2


def test_junk_is_dropped_by_its_identity():
    assert [file.name for file in drop_junk(Counted().files("train"))] == ["train/a.jpg"]
