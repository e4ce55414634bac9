"""Sequence folders: seqinfo.ini written and read, and what is wrong in it named."""

import pytest

from reid_jax.errors import InputError
from reid_jax.tracking.sequences import Sequence, is_sequence, read_sequence, write_seqinfo


def test_it_reads_back(tmp_path):
    sequence = Sequence(tmp_path / "A", "A-01", 12.5, 30, (48, 64), ending=".png")
    assert not is_sequence(tmp_path / "A")
    write_seqinfo(sequence)
    assert is_sequence(tmp_path / "A")
    assert read_sequence(tmp_path / "A") == sequence
    assert sequence.image(7) == tmp_path / "A" / "img1" / "000007.png"


def test_mot16s_reads(tmp_path):
    text = "[Sequence]\nname=MOT16-02\nimDir=img1\nframeRate=30\nseqLength=600\nimWidth=1920\nimHeight=1080\nimExt=.jpg"
    (tmp_path / "seqinfo.ini").write_text(text + "\n\n")
    assert read_sequence(tmp_path) == Sequence(tmp_path, "MOT16-02", 30, 600, (1080, 1920))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("frameRate=30", "frameRate=0", "frameRate is '0'; it takes a number above 0"),
        ("frameRate=30", "frameRate=nan", "frameRate is 'nan'"),
        ("seqLength=5", "", "seqLength is missing"),
        ("seqLength=5", "seqLength=5.5", "seqLength is '5.5'"),
        ("imWidth=64", "imWidth=-1", "imWidth is '-1'"),
        ("imExt=.jpg", "imExt=.eps", "imExt is '.eps'; it takes one of .jpg"),
        ("imDir=img1", "imDir=../other", "imDir is '../other'"),
        ("imDir=img1", "imDir=..", "imDir is '..'"),
        ("[Sequence]", "[Other]", "no section"),
        ("[Sequence]", "", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, reason):
    text = "[Sequence]\nname=A\nimDir=img1\nframeRate=30\nseqLength=5\nimWidth=64\nimHeight=48\nimExt=.jpg\n"
    (tmp_path / "seqinfo.ini").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=reason) as caught:
        read_sequence(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_it_is_told(tmp_path):
    with pytest.raises(InputError, match=r"has no seqinfo.ini"):
        read_sequence(tmp_path)


def test_frames_have_any_padding_and_capitals_in_the_ending(tmp_path):
    sequence = Sequence(tmp_path, "A", 10, 3, (48, 64), ending=".JPG")
    write_seqinfo(sequence)
    assert read_sequence(tmp_path) == sequence
    names = ["00000001.JPG", "000001.JPG", "00000002.jpg", "3.Jpg", "00000004.JPG", "0.JPG", "x1.JPG", "000003.png"]
    assert sequence.images_among(names) == {1: "000001.JPG", 2: "00000002.jpg", 3: "3.Jpg"}
