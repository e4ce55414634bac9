"""What users hand in that is odd or broken, through the whole way: check, prepare, load, blocks, sampler.

Each case gives the right pictures, a counted note, or one line that names what is wrong. Lists, patterns and tables
that are wrong are tested with their builders.
"""

import zipfile

import numpy as np
import pytest
from made_sets import encoded, jpeg, write_set
from PIL import Image

from reid_jax.data import check, split
from reid_jax.data.datasets import find_source
from reid_jax.data.hold_out import hold_out
from reid_jax.data.sampler import IdentitySampler
from reid_jax.errors import InputError
from reid_jax.main import main
from reid_jax.text_table import format_table

FILES = {
    "bounding_box_train": [f"{n:04d}_c{c}s1_000001_00.jpg" for n in range(1, 10) for c in (1, 2)],
    "query": ["0011_c1s1_000001_00.jpg", "0012_c1s1_000001_00.jpg"],
    "bounding_box_test": ["0011_c2s1_000001_00.jpg", "0012_c2s1_000001_00.jpg"],
}
FIRST = "bounding_box_train/0001_c1s1_000001_00.jpg"
RED = (200, 30, 40)


@pytest.fixture
def market(tmp_path):
    return write_set(tmp_path / "Market-1501-v15.09.15", FILES)


def command(capsys, *arguments) -> tuple[int, str, list[str]]:
    """A command's exit code, its stdout, and the lines on stderr that are no progress."""
    code = main(["data", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, [line for line in said.err.splitlines() if "reid-jax" in line]


def findings(market) -> tuple[list[str], list[str]]:
    """Problems but for the counts, which no small set has, and notes."""
    report = check.check("market1501", market.parent)
    return [text for text in report.problems if "expected are" not in text], list(report.notes)


def first_image(market, capsys, size=(128, 64)):
    """The first training image, which `data prepare` must let pass, the same by every way of reading."""
    code, said, errors = command(capsys, "prepare", "--dataset=market1501", f"--data_dir={market.parent}")
    assert (code, errors) == (0, [])
    assert "train 18, query 2, gallery 2" in said
    (stored,) = split.open_splits("market1501", ["train"], market.parent, size)
    image = stored.load().image[0]
    np.testing.assert_array_equal(stored.select(np.array([0])).image[0], image)
    np.testing.assert_array_equal(next(stored.blocks(4)).image[0], image)
    return image


def test_truncated_jpeg(market, capsys):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 64, 3), np.uint8))
    (market / FIRST).write_bytes(encoded(noise, "JPEG")[:-2000])
    problems, _ = findings(market)
    assert problems[0].startswith(f"1 image(s) cannot be decoded: {FIRST} (it is damaged (image file is truncated")
    with pytest.raises(InputError, match=rf"1 image\(s\) of market1501 train .*{FIRST} \(it is damaged"):
        first_image(market, capsys)


def test_zero_byte_file(market, capsys):
    (market / FIRST).write_bytes(b"")
    problems, _ = findings(market)
    reason = "it is empty (0 bytes)"
    assert problems == [f"1 image(s) cannot be decoded: {FIRST} ({reason}); fetch or unpack these files again"]
    code, _, errors = command(capsys, "prepare", "--dataset=market1501", f"--data_dir={market.parent}")
    assert code == 2
    assert len(errors) == 1
    assert f"{FIRST} is empty (0 bytes); fetch or unpack it again" in errors[0]
    assert list((market.parent / "prepared").iterdir()) == []


def test_text_named_as_an_image(market, capsys):
    (market / FIRST).write_bytes(b"<html>404</html>")
    problems, _ = findings(market)
    assert f"{FIRST} (it is no image of a kind that is read (JPEG, " in problems[0]
    with pytest.raises(InputError, match="it is no image"):
        first_image(market, capsys)


def test_png_named_jpg(market, capsys):
    (market / FIRST).write_bytes(encoded(Image.new("RGB", (64, 128), RED)))
    problems, notes = findings(market)
    assert problems == []
    assert notes == [f"1 file(s) are of another kind than their name says: {FIRST}"]
    assert (first_image(market, capsys) == RED).all()


@pytest.mark.parametrize("size", [(128, 64), (64, 32)])
def test_cmyk(market, capsys, size):
    ink = tuple(255 - value for value in RED)
    (market / FIRST).write_bytes(encoded(Image.new("CMYK", (64, 128), (*ink, 0)), "JPEG", quality=95))
    assert findings(market) == ([], [])
    assert np.abs(first_image(market, capsys, size).astype(int) - RED).max() <= 3


def test_grey(market, capsys):
    (market / FIRST).write_bytes(encoded(Image.new("L", (64, 128), 70), "JPEG"))
    assert findings(market) == ([], [])
    assert np.abs(first_image(market, capsys).astype(int) - 70).max() <= 1


def test_sixteen_bits(market, capsys):
    grey = np.full((128, 64), 0x8040, np.uint16)
    (market / FIRST).write_bytes(encoded(Image.fromarray(grey)))
    assert findings(market)[0] == []
    assert (first_image(market, capsys) == 0x80).all()


def test_exif_rotation(market, capsys):
    upright = np.zeros((128, 64, 3), np.uint8)
    upright[:64] = 255  # a bright upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, to be turned clockwise
    lying = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    (market / FIRST).write_bytes(encoded(lying, "JPEG", quality=95, exif=exif))
    assert findings(market) == ([], [])  # 128x64 as it is shown
    assert np.abs(first_image(market, capsys).astype(int) - upright).mean() < 1


def test_odd_size_and_one_pixel(market, capsys):
    (market / FIRST).write_bytes(encoded(Image.new("RGB", (1, 1), RED), "JPEG", quality=100))
    problems, notes = findings(market)
    assert problems == []
    assert notes == [f"1 image(s) are not 128x64: {FIRST}; loading resizes them"]
    assert np.abs(first_image(market, capsys).astype(int) - RED).max() <= 3


def test_a_huge_image(market, capsys, monkeypatch):
    (market / FIRST).write_bytes(jpeg(3, (100, 100)))
    monkeypatch.setattr("reid_jax.data.decode.MOST_PIXELS", 9000)  # 128x64 are 8,192
    assert f"{FIRST} (it has 100 x 100 pixels, more than " in findings(market)[0][0]
    with pytest.raises(InputError, match="it has 100 x 100 pixels"):
        first_image(market, capsys)


def test_spaces_and_other_alphabets_in_folders_and_names(tmp_path, capsys):
    base = tmp_path / "größe 人 und  mehr"
    market = write_set(base / "Market-1501-v15.09.15", FILES)
    (market / "images").mkdir()
    (market / "images" / "ein mensch 人.jpg").write_bytes(jpeg(9))
    report = check.check("market1501:distractors", base)
    assert [text for text in report.problems if "expected are" not in text] == []
    code, said, _ = command(capsys, "prepare", "--dataset=market1501:distractors", f"--data_dir={base}")
    assert code == 0
    assert "gallery 3" in said
    gallery = split.load_split("market1501:distractors", "gallery", base, (128, 64))
    assert gallery.name[-1] == "distractors_500k/ein mensch 人.jpg"


def test_query_identities_absent_from_the_gallery(market, capsys):
    (market / "bounding_box_test" / "0012_c2s1_000001_00.jpg").unlink()
    problems, _ = findings(market)
    assert "1 query identities do not appear in gallery, the first is 12" in problems[0]
    code, said, _ = command(capsys, "check", "--dataset=market1501", f"--data_dir={market.parent}")
    assert code == 1
    assert "queries without a match: 1" in said


def test_one_identity_only(market, capsys):
    for file in (market / "bounding_box_train").iterdir():
        if not file.name.startswith("0001"):
            file.unlink()
    problems, _ = findings(market)
    assert problems == ["train holds one identity only: there is nothing to tell apart; add people"]
    train = split.load_split("market1501", "train", market.parent, (128, 64))
    with pytest.raises(InputError, match="a batch holds 2 identities .* has 1; lower it"):
        IdentitySampler(train.identity, 2, 4)
    with pytest.raises(InputError, match="cannot hold 1 of 1 training identities out"):
        hold_out(train, 1, 0)


def test_fewer_identities_than_a_batch_holds(market, capsys):
    for file in (market / "bounding_box_train").iterdir():
        if int(file.name[:4]) > 5:
            file.unlink()
    problems, notes = findings(market)
    assert notes == []
    assert len(problems) == 1
    assert "train has 5 identities, fewer than the 8 of a default batch, and refuses to start" in problems[0]
    train = split.load_split("market1501", "train", market.parent, (128, 64))
    with pytest.raises(InputError, match="a batch holds 8 identities .* has 5; lower it"):
        IdentitySampler(train.identity, 8, 4)
    assert IdentitySampler(train.identity, 5, 4).indices(0, 0).shape == (20,)


LONG = "x" * 4000


def write_zip(folder):
    with zipfile.ZipFile(folder / "market1501.zip", "w") as archive:
        for split_folder in FILES:
            archive.writestr(f"{split_folder}/{LONG}.jpg", jpeg(1))
    return "market1501"


def write_msmt17_list(folder):
    for part in ("train", "test"):
        (folder / "MSMT17_V1" / part).mkdir(parents=True)
    (folder / "MSMT17_V1" / "list_train.txt").write_text(f"{LONG}\n")
    return "msmt17:val=drop"


def write_table(folder):
    (folder / "a.csv").write_text(f"path,identity\n{LONG}.jpg,1\n")
    return "csv:a.csv"


def write_path_for_a_pattern(folder):
    write_zip(folder)
    (folder / "market1501.zip").rename(folder / "a.zip")
    return "regex:(?P<identity>y+)"


@pytest.mark.parametrize(
    "write",
    [
        write_zip,
        write_msmt17_list,
        write_table,
        write_path_for_a_pattern,
        lambda _: LONG,
        lambda _: f"market1501:{LONG}",
    ],
)
def test_a_name_of_thousands_of_letters_leaves_the_message_short(tmp_path, write):
    name = write(tmp_path)
    with pytest.raises(InputError) as caught:
        find_source(name, tmp_path / "a.zip" if name.startswith("regex") else tmp_path).files("train")
    assert len(str(caught.value)) < 2000


def test_a_line_break_in_a_name_makes_no_second_line(tmp_path, capsys):
    assert main(["data", "check", "--dataset=market\n1501", f"--data_dir={tmp_path}"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert len(format_table([["set", "rank-1"], ["a\nb", "1"]]).splitlines()) == 2
