"""MARS: tracklets by the set's info, and own videos in the same layout."""

import numpy as np
import pytest
import scipy.io
from made_sets import jpeg

from reid_jax.data.builders.mars import evenly
from reid_jax.data.builders.source import drop_junk
from reid_jax.data.datasets import find_source
from reid_jax.data.split import open_splits
from reid_jax.errors import InputError

pytestmark = pytest.mark.usefixtures("mat_in_process")

# identity, camera, tracklet and frames of each row of the info
TRACKS = {
    "train": [("0001", 1, 1, 3), ("0001", 2, 1, 20), ("0005", 6, 1, 1)],
    "test": [
        ("00-1", 1, 1, 2),
        ("0000", 3, 1, 2),
        ("0002", 1, 1, 4),
        ("0002", 1, 2, 1),
        ("0002", 4, 1, 2),
        ("0004", 2, 1, 1),
    ],
}
QUERY = [3, 6]  # rows of the test tracklets, from 1


def frame_names(tracks):
    return [f"{i}C{c}T{t:04d}F{f:03d}.jpg" for i, c, t, frames in tracks for f in range(1, frames + 1)]


def write_frames(folder, names):
    for place, name in enumerate(names):
        path = folder / name.partition("C")[0] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(10 * place))


def info(part):
    ends = np.cumsum([frames for *_, frames in TRACKS[part]])
    tracks = zip(TRACKS[part], ends, strict=True)
    return np.array([(end - n + 1, end, int(i.lstrip("0") or 0), c) for (i, c, _, n), end in tracks], np.int32)


def write_set(root):
    (root / "info").mkdir(parents=True)
    for part, tracks in TRACKS.items():
        names = frame_names(tracks)
        write_frames(root / f"bbox_{part}", names)
        (root / "info" / f"{part}_name.txt").write_text("\r\n".join(names) + "\r\n")
        scipy.io.savemat(root / "info" / f"tracks_{part}_info.mat", {f"track_{part}_info": info(part)})
    scipy.io.savemat(root / "info" / "query_IDX.mat", {"query_IDX": np.array([QUERY], np.uint16)})
    return root


def rows(files):
    return [(file.name.rpartition("/")[2], file.identity, file.camera, file.tracklet) for file in files]


def test_evenly_spaced_frames():
    assert evenly(3, 8).tolist() == [0, 1, 2]
    assert evenly(5, 0).tolist() == [0, 1, 2, 3, 4]
    assert evenly(5, 1).tolist() == [2]
    assert evenly(6, 2).tolist() == [1, 4]
    for count in range(1, 40):
        for most in range(1, 12):
            places = evenly(count, most)
            assert len(places) == min(count, most)
            assert np.isin(places, np.arange(count)).all()
            gaps = np.diff(places)
            assert (gaps > 0).all()
            assert len(gaps) == 0 or np.ptp(gaps) <= 1


@pytest.mark.parametrize("below", [".", "MARS", "mars"])
def test_tracklets_by_the_info(tmp_path, below):
    root = write_set(tmp_path / below)
    source = find_source("mars:frames=0", tmp_path)
    assert source.name == "mars:frames=0,gallery=rest"
    assert root.samefile(source.location)
    assert len(source.files("train")) == 24
    assert rows(source.files("query")) == [
        ("0002C1T0001F001.jpg", 2, 1, 2),
        ("0002C1T0001F002.jpg", 2, 1, 2),
        ("0002C1T0001F003.jpg", 2, 1, 2),
        ("0002C1T0001F004.jpg", 2, 1, 2),
        ("0004C2T0001F001.jpg", 4, 2, 5),
    ]
    gallery = source.files("gallery")
    assert rows(gallery) == [
        ("00-1C1T0001F001.jpg", -1, 1, 0),
        ("00-1C1T0001F002.jpg", -1, 1, 0),
        ("0000C3T0001F001.jpg", 0, 3, 1),
        ("0000C3T0001F002.jpg", 0, 3, 1),
        ("0002C1T0002F001.jpg", 2, 1, 3),
        ("0002C4T0001F001.jpg", 2, 4, 4),
        ("0002C4T0001F002.jpg", 2, 4, 4),
    ]
    assert len(list(drop_junk(gallery))) == 5
    assert source.distractor == 0
    assert source.image_size == (256, 128)


def test_the_authors_gallery_holds_the_queries(tmp_path):
    write_set(tmp_path / "mars")
    rest, everything = find_source("mars", tmp_path), find_source("mars:gallery=all", tmp_path)
    assert {file.tracklet for file in rest.files("gallery")} == {0, 1, 3, 4}
    assert {file.tracklet for file in everything.files("gallery")} == {0, 1, 2, 3, 4, 5}
    assert rest.files("query") == everything.files("query")


def test_at_most_so_many_frames_a_tracklet(tmp_path):
    write_set(tmp_path / "mars")
    source = find_source("mars:frames=2", tmp_path)
    assert [file.name[-7:-4] for file in source.files("train")] == ["001", "003", "006", "016", "001"]
    assert len(find_source("mars", tmp_path).files("train")) == 3 + 8 + 1
    # Known counts for all frames and for the default; the number of people does not depend on it.
    assert [source.expected(split).images for split in source.splits] == [None, None, None]
    assert find_source("mars", tmp_path).expected("train").images == 66257
    assert find_source("mars:frames=0,gallery=all", tmp_path).expected("gallery").images == 657709
    assert [source.expected(split).identities for split in source.splits] == [625, 626, 620]


def test_only_chosen_frames_have_to_be_there_and_missing_ones_are_named(tmp_path):
    root = write_set(tmp_path / "mars")
    (root / "bbox_train" / "0001" / "0001C2T0001F001.jpg").unlink()
    assert len(find_source("mars:frames=2", tmp_path).files("train")) == 5
    with pytest.raises(
        InputError, match=r"1 of 24 images that .*train_name.txt names are not in .*0001C2T0001F001.jpg; ta"
    ):
        find_source("mars:frames=0", tmp_path).files("train")


@pytest.mark.parametrize(
    ("file", "variable", "values", "message"),
    [
        ("tracks_train_info", "track_train_info", np.ones((2, 3)), r"the shape \(2, 3\), not \[n, 4\]"),
        (
            "tracks_train_info",
            "track_train_info",
            np.array([[1, 25, 1, 1]]),
            "tracklet 1 has the frames 1 to 25 of the 24",
        ),
        ("tracks_train_info", "track_train_info", np.array([[0, 3, 1, 1]]), "tracklet 1 has the frames 0 to 3"),
        ("tracks_train_info", "track_train_info", np.array([[3, 2, 1, 1]]), "tracklet 1 has the frames 3 to 2"),
        (
            "tracks_train_info",
            "track_train_info",
            np.array([[1, 3, 2, 1]]),
            "tracklet 1 is of identity 2, camera 1, but",
        ),
        ("tracks_train_info", "track_train_info", np.array([[1, 4, 1, 1]]), "'0001C2T0001F001.jpg' among its frames"),
        (
            "tracks_train_info",
            "track_train_info",
            np.array([[1, 3, 1, 1], [3, 3, 1, 1]]),
            "0001C1T0001F003.jpg is in two",
        ),
        ("tracks_train_info", "track_train_info", np.array([[1, 3, 1, 0.5]]), "other than whole numbers"),
        ("tracks_train_info", "track_test_info", np.ones((2, 4)), "has no variable track_train_info"),
        ("query_IDX", "query_IDX", np.array([[0, 1]]), "does not hold different numbers from 1 to 6"),
        ("query_IDX", "query_IDX", np.array([[7]]), "does not hold different numbers from 1 to 6"),
        ("query_IDX", "query_IDX", np.array([[2, 2]]), "does not hold different numbers from 1 to 6"),
    ],
)
def test_bad_info(tmp_path, file, variable, values, message):
    root = write_set(tmp_path / "mars")
    scipy.io.savemat(root / "info" / f"{file}.mat", {variable: values})
    with pytest.raises(InputError, match=f"{message}.*MARS-evaluation"):
        find_source("mars", tmp_path).files("query" if file == "query_IDX" else "train")


@pytest.mark.parametrize("name", ["train_name.txt", "tracks_train_info.mat"])
def test_missing_and_broken_info(tmp_path, name):
    root = write_set(tmp_path / "mars")
    source = find_source("mars", tmp_path)
    (root / "info" / name).write_bytes(b"\xff" * 200)
    with pytest.raises(InputError, match=rf"{name} (is not UTF-8 text|cannot be read as a MATLAB file)"):
        source.files("train")
    (root / "info" / name).unlink()
    with pytest.raises(InputError, match=rf"{name} is missing; take info/ from"):
        source.files("train")
    for file in (root / "info").iterdir():
        file.unlink()
    (root / "info").rmdir()
    with pytest.raises(InputError, match=r"info is missing, .*folders query and gallery instead of bbox_test"):
        find_source("mars", tmp_path)


def write_own(root):
    write_frames(root / "query", ["0007C1T0001F002.jpg", "0007C1T0001F001.jpg", "12C3T1F1.jpg"])
    write_frames(root / "gallery", ["0007C2T0001F001.jpg", "0007C2T0003F001.jpg", "0007C2T0003F010.jpg"])
    write_frames(root / "gallery", ["0000C2T0001F001.jpg", "00-1C2T0001F001.jpg"])
    (root / "gallery" / "0007" / "Thumbs.db").write_bytes(b"")
    return root


def test_an_own_video_without_info(tmp_path):
    write_own(tmp_path)
    source = find_source("mars", tmp_path)
    assert source.name == "mars:frames=8"
    assert source.splits == ("query", "gallery")
    assert rows(source.files("query")) == [
        ("0007C1T0001F001.jpg", 7, 1, 0),
        ("0007C1T0001F002.jpg", 7, 1, 0),
        ("12C3T1F1.jpg", 12, 3, 1),
    ]
    assert rows(source.files("gallery")) == [
        ("00-1C2T0001F001.jpg", -1, 2, 0),
        ("0000C2T0001F001.jpg", 0, 2, 1),
        ("0007C2T0001F001.jpg", 7, 2, 2),
        ("0007C2T0003F001.jpg", 7, 2, 3),
        ("0007C2T0003F010.jpg", 7, 2, 3),
    ]
    assert source.expected("query") is None
    assert source.image_size is None
    write_frames(tmp_path / "bbox_train", ["0001C1T0001F001.jpg"])
    assert find_source("mars", tmp_path).splits == ("train", "query", "gallery")


def test_strange_names_and_empty_folders_of_an_own_video(tmp_path):
    root = write_own(tmp_path)
    (root / "query" / "0007" / "0008C1T0001F001.jpg").write_bytes(jpeg(0))  # in the folder of another
    (root / "query" / "0007C1T0001F003.jpg").write_bytes(jpeg(0))
    with pytest.raises(
        InputError, match=r"2 image name\(s\) in .*query do not look like '0001/0001C1T0001F001.jpg'.*0008"
    ):
        find_source("mars", tmp_path).files("query")
    (root / "bbox_train").mkdir()
    with pytest.raises(InputError, match=r"bbox_train holds no image; put frames such as"):
        find_source("mars", tmp_path).files("train")
    with pytest.raises(InputError, match=r"gallery=all needs .*info"):
        find_source("mars:gallery=all", tmp_path)


def test_a_missing_set_tells_every_place(tmp_path):
    (tmp_path / "bbox_train.zip").write_bytes(b"")
    with pytest.raises(InputError, match=r"MARS not found; looked at .*MARS.*unpack them side by side"):
        find_source("mars", tmp_path)
    with pytest.raises(InputError, match="gallery='some'; choose one of rest, all"):
        find_source("mars:gallery=some", tmp_path)


def test_read_from_records(tmp_path):
    write_set(tmp_path / "mars")
    query, gallery = open_splits("mars:frames=2", ["query", "gallery"], tmp_path, (16, 8))
    assert query.tracklet.tolist() == [2, 2, 5]
    assert gallery.tracklet.tolist() == [1, 1, 3, 4, 4]
    assert gallery.identity.tolist() == [0, 0, 2, 2, 2]
    assert query.load().image.shape == (3, 16, 8, 3)
