"""`embed` finds images as the data sets do: in folders, zips and single files, and says what it leaves out."""

import argparse

import numpy as np
import pytest
from first_pixel import first_pixel_encoder
from made_sets import png, write_leavings, zipped

from reid_jax import extractor
from reid_jax.descriptors import read_descriptors
from reid_jax.errors import InputError
from reid_jax.extractor import Extractor
from reid_jax.verbs import embed


@pytest.fixture(scope="module")
def encoder():
    return first_pixel_encoder()


@pytest.fixture
def verb(tmp_path, monkeypatch, encoder):
    """Runs the verb; returns names and descriptors."""
    monkeypatch.setattr(embed, "Extractor", lambda weights, flip: Extractor(encoder, flip=flip))
    monkeypatch.setattr(extractor, "_IMAGES_AT_ONCE", 3)

    def run(images):
        parser = argparse.ArgumentParser()
        embed.add_arguments(parser)
        embed.run(parser.parse_args(["--weights=w", f"--images={images}", f"--out={tmp_path / 'out.npz'}"]))
        found = read_descriptors(tmp_path / "out.npz")
        return found.name.tolist(), found.embedding

    return run


@pytest.fixture
def crops(tmp_path):
    folder = write_leavings(tmp_path / "crops")
    for number, name in enumerate(["cam1.jpg/a.jpg", "b.jfif", "c.jpe", "d.gif", "e.ppm"]):
        (folder / name).write_bytes(png(number, (8, 16)))
    return folder


def test_a_folder_a_zip_and_a_file_are_embedded_alike(verb, crops, tmp_path, capsys):
    (crops / "loop").symlink_to(crops)
    names, embedding = verb(crops)
    assert names == ["b.jfif", "c.jpe", "cam1.jpg/a.jpg", "d.gif", "e.ppm"]
    said = capsys.readouterr().out
    assert "5 descriptors of 3 numbers" in said
    assert "left out 7 (hidden: " in said
    assert "2 (no image by the ending: b.heic, notes.txt)" in said
    assert "1 (a link to a folder that it is in: loop/)" in said
    (crops / "loop").unlink()
    from_zip = verb(zipped(crops, tmp_path / "crops.zip"))
    assert from_zip[0] == names
    np.testing.assert_array_equal(from_zip[1], embedding)
    one = verb(crops / "c.jpe")
    assert one[0] == ["c.jpe"]
    np.testing.assert_array_equal(one[1], embedding[1:2])


def test_all_bad_images_are_counted_and_the_first_named(verb, crops, tmp_path):
    for number in range(7):
        (crops / f"x{number}.png").write_bytes(b"" if number else b"text")
    with pytest.raises(InputError, match=r"7 of 12 images .*cannot be decoded: x0\.png .*x4\.png .* and 2 more"):
        verb(crops)
    assert not (tmp_path / "out.npz").exists()


def test_a_folder_without_images_says_what_it_holds(verb, tmp_path):
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "a.heic").write_bytes(b"x")
    with pytest.raises(InputError, match=r"holds no image .*left out 1 \(no image by the ending: a\.heic\); name"):
        verb(tmp_path / "phone")
