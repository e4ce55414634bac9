"""Text labels: whole numbers keep their value, anything else is numbered over all splits."""

import pytest

from reid_jax.data.builders.files import Entry
from reid_jax.data.builders.text_labels import TextLabels, number_labels, split_of
from reid_jax.errors import InputError


def rows(*labels):
    """Each of (split, identity, camera, tracklet), the last ones left out; files are named in order."""
    return [TextLabels(Entry(f"{place}.jpg", 1, 2), *label) for place, label in enumerate(labels)]


def labels_of(files):
    return [(file.identity, file.camera) for file in files]


def test_whole_numbers_keep_their_value():
    files = number_labels(rows(("train", "0007", "3"), ("train", "7", "03"), ("train", "12", "")))
    assert labels_of(files["train"]) == [(7, 3), (7, 3), (12, -1)]
    files = number_labels(rows(("train", "0" * 5000 + "7", "0" * 5000), ("train", "99999999", "1")))
    assert labels_of(files["train"]) == [(7, 0), (99_999_999, 1)]
    # A column of floats, as tools write whole numbers of which some are missing.
    files = number_labels(rows(("train", "7", "2.0"), ("train", "7.0", ""), ("train", "-1.0", "10.0")))
    assert labels_of(files["train"]) == [(7, 2), (7, -1), (-1, 10)]


def test_text_is_numbered_in_its_order_over_all_splits():
    files = number_labels(
        rows(("train", "bob", "yard"), ("query", "alice", "1"), ("gallery", "alice", "yard"), ("gallery", "10", "-1"))
    )
    assert labels_of(files["train"]) == [(2, 1)]
    assert labels_of(files["query"]) == [(1, 0)]
    assert labels_of(files["gallery"]) == [(1, 1), (0, -1)]  # '10' sorts before 'alice' as text


def test_texts_that_look_equal_are_one_label():
    files = number_labels(rows(("query", "zo\u00eb", "a"), ("gallery", "zoe\u0308", "b"), ("gallery", "zoe", "b")))
    assert labels_of(files["query"]) == [(1, 0)]
    assert labels_of(files["gallery"]) == [(1, 1), (0, 1)]


def test_junk_stays_junk_beside_text():
    files = number_labels(rows(("gallery", "-1", "a"), ("gallery", "alice", "a")))
    assert labels_of(files["gallery"]) == [(-1, 0), (0, 0)]


@pytest.mark.parametrize("text", ["100000000", "12345678901234567890", "1.5", "-2", "٣", "1_0", "9" * 5000])
def test_what_is_no_small_whole_number_is_text(text):
    files = number_labels(rows(("train", text), ("train", "5")))
    assert {file.identity for file in files["train"]} == {0, 1}


def test_tracklets_are_apart_by_identity_and_camera_and_sorted():
    files = number_labels(
        rows(
            ("query", "2", "1", "1"),
            ("query", "1", "2", "1"),
            ("query", "1", "1", "10"),
            ("query", "1", "1", "9"),
            ("query", "1", "1", "9"),
            ("query", "1", "1", ""),
            ("gallery", "1", "1", "9"),
        )
    )
    assert [(file.tracklet, file.name) for file in files["query"]] == [
        (-1, "5.jpg"),
        (0, "3.jpg"),
        (0, "4.jpg"),
        (1, "2.jpg"),
        (2, "1.jpg"),
        (3, "0.jpg"),
    ]
    assert files["gallery"][0].tracklet == 0


def test_split_words():
    assert [split_of(word, "here") for word in ("Train", "bounding_box_test", "probe", "gt_bbox")] == [
        "train",
        "gallery",
        "query",
        "multi_query",
    ]
    with pytest.raises(InputError, match=r"here: split 'galery' is none of train.*did you mean gallery\?"):
        split_of("galery", "here")
    with pytest.raises(InputError, match="split 'x+…x+' is none of"):
        split_of("x" * 5000, "here")
    with pytest.raises(InputError, match="split '' is none of"):
        split_of("", "here")
