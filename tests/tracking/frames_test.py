"""Frames of sequences, folders and videos: in order, all there, of one size; or a line that says what is missing."""

import struct

import numpy as np
import pytest
from PIL import Image

from reid_jax.errors import InputError
from reid_jax.tracking.frames import SequenceFrames, open_frames
from reid_jax.tracking.sequences import Sequence, read_sequence, write_seqinfo

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
        ["10-15-58.png", "10-15-59.png", "10-16-00.png", "10-16-30.png"],  # times of several numbers
        ["frame_9_1080p.png", "frame_10_1080p.png", "frame_11_1080p.png"],  # a number that does not count
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
        (["1.png", "1.jpg", "2.png"], "1.jpg and 1.png; leave one"),
        (["f_1_9p.png", "f_2_9p.png", "f_4_9p.png", "f_5_9p.png"], "between f_2_9p.png and f_4_9p.png"),
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


def test_a_missing_frame_is_found_in_any_sequence_without_a_list_of_all(tmp_path):
    write_sequence(tmp_path, 3)
    text = (tmp_path / "seqinfo.ini").read_text()
    (tmp_path / "seqinfo.ini").write_text(text.replace("seqLength=3", f"seqLength={2**31 - 1}"))
    with pytest.raises(InputError, match=r"2,147,483,644 of 2,147,483,647 .*: 000004.png, .* and 2,147,483,639 more;"):
        open_frames(tmp_path)
    frames = SequenceFrames(read_sequence(tmp_path), ())
    assert next(iter(frames.read())) is None


def test_a_sequence_has_frames_of_eight_digits(tmp_path):
    write_sequence(tmp_path, 3, ["00000001.png", "00000002.png", "00000003.PNG"])
    assert shades(open_frames(tmp_path)) == [0, 1, 2]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_video_that_was_filmed_on_its_side_is_turned_upright(tmp_path, turns):
    av = pytest.importorskip("av")
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :24] = 255  # bright at the upper left
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        lying = np.ascontiguousarray(np.rot90(upright, -turns))
        stream.height, stream.width, stream.pix_fmt = *lying.shape[:2], "yuv420p"
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(lying, format="rgb24")))
        container.mux(stream.encode())
    # Of the header's display matrix the first two of each row, 16.16 fixed point: [cos, sin; -sin, cos] of the angle.
    cosine, sine = ((1, 0), (0, -1), (-1, 0), (0, 1))[turns]
    said = bytearray(path.read_bytes())
    at = said.find(b"tkhd") + 4 + 40
    matrix = [cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30]
    said[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(said)
    frames = open_frames(path)
    (first, _) = frames.read()
    assert (frames.image_size, first.shape) == ((32, 48), (32, 48, 3))
    assert first[4:12, 4:20].min() > 200
    assert first[20:, 28:].max() < 60


def test_the_count_of_a_videos_header_is_no_promise(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options={"movflags": "frag_keyframe"}) as container:
        stream = container.add_stream("mpeg4", rate=10, options={"g": "4"})
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for number in range(12):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey(20 * number, (32, 48)), format="rgb24")))
        container.mux(stream.encode())
    frames = open_frames(path)
    assert frames.count < 12  # of the first fragment
    assert not frames.is_counted
    assert len(list(frames.read())) == 12
