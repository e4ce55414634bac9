"""Frames of sequences, folders and videos: in order, all there, of one size; or a line that says what is missing."""

import numpy as np
import pytest
from PIL import Image

from reid_jax.errors import InputError
from reid_jax.tracking.frames import open_frames
from reid_jax.tracking.sequences import Sequence, write_seqinfo

SIZE = (24, 32)


def grey(number, size=SIZE):
    return np.full((*size, 3), number, np.uint8)


def write_frames(folder, names, size=SIZE):
    """Writes a PNG of each name, the n-th of the grey n."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(grey(number, size)).save(folder / name)


def shades(frames):
    return [int(frame[0, 0, 0]) for frame in frames.read()]


def write_sequence(folder, length, names=None):
    sequence = Sequence(folder, "A-01", 7.0, length, SIZE, ending=".png")
    write_seqinfo(sequence)
    if names is None:
        names = [f"{number:06d}.png" for number in range(1, length + 1)]
    if names:
        write_frames(folder / "img1", names)


def write_video(path, count, size=(32, 48), codec="mpeg4"):
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for number in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey(20 * number + 20, size), format="rgb24")))
        container.mux(stream.encode())


def test_a_folder_goes_by_the_numbers_in_the_names(tmp_path):
    write_frames(tmp_path, ["f8.png", "f9.png", "f10.png", "f11.png"])
    (tmp_path / "notes.txt").write_text("no frame")
    frames = open_frames(tmp_path)
    assert shades(frames) == [0, 1, 2, 3]
    assert (frames.count, frames.has_images, frames.name) == (4, True, tmp_path.name)


@pytest.mark.parametrize(
    "names",
    [
        ["0010.png", "0020.png", "0030.png"],  # every tenth frame
        ["a.png", "b.png", "c.png"],
        ["a_1.png", "a_5.png", "b_2.png"],  # several numberings
        ["101500.png", "101502.png", "101509.png", "101511.png", "101612.png", "101618.png"],  # times
    ],
)
def test_names_need_not_count(tmp_path, names):
    write_frames(tmp_path, names)
    assert shades(open_frames(tmp_path)) == list(range(len(names)))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["1.png", "2.png", "4.png", "5.png"], "lacks frames in 1 place.*between 2.png and 4.png"),
        (["01.png", "1.png", "2.png"], "01.png and 1.png; leave one|1.png and 01.png; leave one"),
        ([], "holds no image"),
    ],
)
def test_a_folder_that_cannot_be_counted_is_told(tmp_path, names, reason):
    write_frames(tmp_path, names)
    with pytest.raises(InputError, match=reason):
        open_frames(tmp_path)


def test_frames_of_two_sizes_and_broken_ones_are_named(tmp_path):
    write_frames(tmp_path, ["1.png"])
    write_frames(tmp_path, ["2.png"], (10, 12))
    with pytest.raises(InputError, match="2.png is 12 x 10 pixels .*, others 32 x 24"):
        shades(open_frames(tmp_path))
    (tmp_path / "2.png").write_bytes(b"")
    with pytest.raises(InputError, match="2.png: it is empty"):
        shades(open_frames(tmp_path))


def test_a_sequence_says_what_it_is(tmp_path):
    write_sequence(tmp_path, 3)
    frames = open_frames(tmp_path)
    assert shades(frames) == [0, 1, 2]
    assert (frames.name, frames.count, frames.frame_rate, frames.image_size) == ("A-01", 3, 7.0, SIZE)


def test_a_sequence_without_frames_in_the_middle_is_told(tmp_path):
    write_sequence(tmp_path, 4, ["000001.png", "000002.png", "000004.png"])
    for needs_images in (True, False):
        with pytest.raises(InputError, match="1 of 4 frames of A-01 are missing in .*img1: 000003.png"):
            open_frames(tmp_path, needs_images)


def test_a_sequence_without_images_serves_where_none_are_needed(tmp_path):
    write_sequence(tmp_path, 3, [])
    frames = open_frames(tmp_path, needs_images=False)
    assert list(frames.read()) == [None] * 3
    assert not frames.has_images
    with pytest.raises(InputError, match="3 of 3 frames"):
        open_frames(tmp_path)


def test_a_sequence_reads_no_image_that_nobody_needs(tmp_path):
    write_sequence(tmp_path, 3)
    (tmp_path / "img1" / "000002.png").write_bytes(b"no image")
    assert list(open_frames(tmp_path, needs_images=False).read()) == [None] * 3


def test_a_sequence_whose_frames_have_another_size_is_told(tmp_path):
    write_sequence(tmp_path, 1, [])
    write_frames(tmp_path / "img1", ["000001.png"], (10, 12))
    with pytest.raises(InputError, match="000001.png is 12 x 10"):
        shades(open_frames(tmp_path))


@pytest.mark.parametrize("ending", ["mp4", "avi", "mkv"])
def test_a_video_is_decoded_in_order(tmp_path, ending):
    write_video(tmp_path / f"a.{ending}", 6)
    frames = open_frames(tmp_path / f"a.{ending}")
    np.testing.assert_allclose(shades(frames), [20, 40, 60, 80, 100, 120], atol=4)
    assert frames.count in (6, None)  # Matroska does not say
    assert (frames.image_size, frames.name) == ((32, 48), "a")
    assert frames.frame_rate == pytest.approx(10, rel=0.2)


def test_what_is_no_video_is_told(tmp_path):
    pytest.importorskip("av")
    (tmp_path / "a.mp4").write_text("#EXTM3U\nhttp://example.com/a.ts\n")  # by its content a playlist
    (tmp_path / "a.txt").write_text("text")
    for name, reason in (("a.mp4", "is no video that can be read"), ("a.txt", "no video by its ending"), ("b", "no ")):
        with pytest.raises(InputError, match=reason):
            open_frames(tmp_path / name)


def test_without_pyav_a_video_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(InputError, match=r"pip install 'reid_jax\[track\]'"):
        open_frames(tmp_path / "a.mp4")
