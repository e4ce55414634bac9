"""The Extractor: paths, Pillow images, arrays and boxes become what evaluation makes of the same crops, bit for bit."""

import dataclasses
import os
import subprocess
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest
import tiny_config
from made_sets import jpeg, png
from made_variables import made_variables
from PIL import Image
from places import ROOT

import reid_jax
from reid_jax import Extractor, parallel
from reid_jax.data.builders.files import FileTree
from reid_jax.data.decode import decode
from reid_jax.data.split import load_split
from reid_jax.describe import Encoder
from reid_jax.embed import embed_split
from reid_jax.errors import InputError
from reid_jax.extractor import _crops
from reid_jax.models.registry import network_of
from reid_jax.weights import Weights, save_weights

SIZE = (16, 8)


@dataclasses.dataclass(frozen=True)
class Pixels:
    """The descriptor is every pixel, so that any change of one shows."""

    streams = (SIZE[0] * SIZE[1] * 3,)

    def apply(self, variables, image, train):
        del variables, train
        flat = image.reshape(len(image), -1)
        return types.SimpleNamespace(embedding=flat / jnp.linalg.norm(flat, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def encoder():
    return Encoder(Pixels(), {"params": {}, "batch_stats": {}}, SIZE, parallel.create_mesh())


@pytest.fixture(scope="module")
def extractor(encoder):
    return Extractor(encoder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three images of several sizes, and Market-1501's folders with them as query."""
    folder = tmp_path_factory.mktemp("images")
    for number, size in enumerate([(8, 16), (20, 50), (7, 9)]):
        (folder / f"{number}.png").write_bytes(png(number, size))
    return folder


@pytest.fixture(scope="module")
def paths(folder):
    return [folder / f"{number}.png" for number in range(3)]


def test_files_become_what_evaluation_makes_of_them(encoder, extractor, tmp_path):
    names = ["0001_c1s1_000001_00.jpg", "0002_c1s1_000001_00.jpg", "0003_c1s1_000001_00.jpg"]
    folder = tmp_path / "Market-1501-v15.09.15" / "bounding_box_train"
    folder.mkdir(parents=True)
    for name, size in zip(names, [(64, 128), (8, 16), (60, 30)], strict=True):
        (folder / name).write_bytes(jpeg(int(name[:4]) * 40, size))
    split = load_split("market1501", "train", tmp_path, SIZE)
    found = extractor([folder / name.rpartition("/")[2] for name in split.name])
    np.testing.assert_array_equal(found, embed_split(encoder, split))
    assert found.dtype == np.float32
    assert found.shape == (3, extractor.dimensions)


def test_paths_pillow_images_and_arrays_are_described_alike(encoder, extractor, paths):
    expected = encoder.describe(np.stack([decode(path.read_bytes(), SIZE) for path in paths]))
    opened = [Image.open(path) for path in paths]
    pixels = [np.asarray(Image.open(path)) for path in paths]
    reversed_ = [array[:, :, ::-1] for array in pixels]
    for images, colour in (
        (paths, None),
        ([str(path) for path in paths], None),
        (opened, None),
        (pixels, "rgb"),
        (reversed_, "bgr"),
        ([paths[0], opened[1], reversed_[2]], "bgr"),
        (np.array([str(path) for path in paths]), None),
        (iter(paths), "rgb"),
    ):
        np.testing.assert_array_equal(extractor(images, colour=colour), expected)
    for image, colour in ((paths[1], None), (opened[1], None), (pixels[1], "rgb"), (reversed_[1], "bgr")):
        np.testing.assert_array_equal(extractor(image, colour=colour), expected[1:2])
    stack = np.stack([pixels[0], pixels[0][::-1]])
    np.testing.assert_array_equal(extractor(stack, colour="rgb"), extractor(list(stack), colour="rgb"))
    assert opened[1].size == (20, 50)  # a user's image stays as it is


def test_the_same_pillow_image_may_be_given_twice(extractor, paths):
    image = Image.open(paths[1])
    np.testing.assert_array_equal(extractor([image] * 20), extractor([paths[1]] * 20))


def test_pillow_images_are_turned_and_made_rgb_as_files_are(extractor, tmp_path):
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 12), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(extractor(Image.open(tmp_path / "a.png")), extractor(tmp_path / "a.png"))


def test_no_images_and_no_boxes_give_no_descriptors(extractor):
    frame = np.zeros((20, 30, 3), np.uint8)
    for found in (
        extractor([]),
        extractor(np.zeros((0, 16, 8, 3), np.uint8), colour="rgb"),
        extractor(frame, [], colour="rgb"),
        extractor(frame, np.zeros((0, 4)), colour="rgb"),
    ):
        assert (found.shape, found.dtype) == ((0, extractor.dimensions), np.float32)


def test_boxes_are_rounded_and_clipped(extractor):
    frame = np.random.default_rng(1).integers(0, 256, (40, 30, 3), np.uint8)
    boxes = np.array([[2, 3, 12, 23], [1.6, 2.4, 12.4, 23.4], [-5, -7, 9.2, 1e9], [29.2, 39, 35, 44]])
    crops = [frame[3:23, 2:12], frame[2:23, 2:12], frame[0:40, 0:9], frame[39:40, 29:30]]
    for crop, expected in zip(_crops(frame, boxes), crops, strict=True):
        np.testing.assert_array_equal(crop, expected)
    expected = extractor(crops, colour="rgb")
    np.testing.assert_array_equal(extractor(frame, boxes, colour="rgb"), expected)
    np.testing.assert_array_equal(extractor(frame[:, :, ::-1], boxes, colour="bgr"), expected)
    np.testing.assert_array_equal(extractor(Image.fromarray(frame), boxes), expected)


def test_a_box_of_a_frame_file_is_its_crop(extractor, paths):
    crop = Image.open(paths[1]).crop((3, 5, 17, 44))
    np.testing.assert_array_equal(extractor(paths[1], [(3, 5, 17, 44)]), extractor(crop))


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([[0, 0, 5, 5], [30, 0, 40, 9]], r"1 of 2 boxes .* frame of 30 x 20 .* box 1 \(30, 0, 40, 9\), counted from 0"),
        ([[4, 4, 4.4, 9]], r"box 0 \(4, 4, 4\.4, 9\)"),
        ([[9, 9, 3, 12]], "box 0"),
        ([[0, 0, np.nan, 9]], r"box 0 \(0, 0, nan, 9\)"),
        ([[0, 0, np.inf, np.inf]], r"box 0 \(0, 0, inf, inf\)"),
        ([0, 0, 5, 5], r"boxes have shape \[4\]; give \[n, 4\]"),
        ([["a", 0, 5, 5]], "boxes are no numbers"),
    ],
)
def test_boxes_without_a_pixel_are_named(extractor, boxes, words):
    with pytest.raises(InputError, match=words):
        extractor(np.zeros((20, 30, 3), np.uint8), boxes, colour="rgb")


def test_colour_is_said_never_guessed(extractor):
    image = np.zeros((16, 8, 3), np.uint8)
    for images, boxes in ((image, None), ([image], None), (image[None], None), (image, [[0, 0, 5, 5]])):
        with pytest.raises(InputError, match="say colour='rgb' or 'bgr'"):
            extractor(images, boxes)
    with pytest.raises(InputError, match="colour is 'BGR'"):
        extractor(image, colour="BGR")


def test_all_broken_images_are_named_in_one_line(extractor, paths, tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(paths[1].read_bytes()[:200])
    images = [paths[0], tmp_path / "empty.jpg", tmp_path / "none.jpg", np.zeros((4, 4)), tmp_path, tmp_path / "cut.png"]
    with pytest.raises(InputError) as error:
        extractor(images, colour="rgb")
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("5 of 6 images cannot be decoded: ")
    for words in (
        "empty.jpg (it is empty",
        "none.jpg (there is no such file)",
        "image 3, counted from 0 (it has shape [4, 4]",
        "(it is a folder",
        "cut.png (it is damaged",
    ):
        assert words in text
    with pytest.raises(InputError, match="boxes go with one frame"):
        extractor(paths, [[0, 0, 5, 5]])
    with pytest.raises(InputError, match=r"the frame .*none\.jpg: there is no such file"):
        extractor(tmp_path / "none.jpg", [[0, 0, 5, 5]])
    with pytest.raises(InputError, match="images are NoneType"):
        extractor(None)
    with pytest.raises(InputError, match="does not exist"):
        Extractor(tmp_path / "none.safetensors")


def test_more_images_than_are_decoded_at_a_time(extractor, folder, paths, monkeypatch):
    expected = extractor(paths)
    monkeypatch.setattr("reid_jax.extractor._IMAGES_AT_ONCE", 2)
    np.testing.assert_array_equal(extractor(paths), expected)
    names = [path.name for path in paths]
    np.testing.assert_array_equal(extractor.describe_files(names, FileTree(folder).read, "there"), expected)
    with pytest.raises(InputError, match=r"1 of 3 images in there cannot be decoded: b \("):
        extractor.describe_files(["a", "b", "c"], lambda name: b"" if name == "b" else png(1), "there")


def test_flip_is_an_option(encoder, paths):
    extractor = Extractor(encoder, flip=True)
    both = encoder.describe(np.stack([decode(path.read_bytes(), SIZE) for path in paths]), flip=True)
    np.testing.assert_array_equal(extractor(paths), both)
    assert (extractor.image_size, extractor.streams, extractor.flip) == (SIZE, (384,), True)
    assert len(extractor.digest) == 64


def test_the_package_offers_it_and_nothing_else():
    assert reid_jax.Extractor is Extractor
    with pytest.raises(AttributeError, match="no attribute 'Describer'"):
        _ = reid_jax.Describer


def test_using_it_loads_no_library_of_data_sets_or_training(tmp_path):
    (tmp_path / "a.png").write_bytes(png(0))
    config = tiny_config.get_config()
    config.model.repeats, config.image_size = (0, 0, 0), (32, 32)
    save_weights(tmp_path / "w.safetensors", Weights(config, 0, made_variables(network_of(config, 0), (32, 32))))
    code = """
import sys
import reid_jax
assert "jax" not in sys.modules, "import reid_jax alone is to cost nothing"
from reid_jax import Extractor
extractor = Extractor("w.safetensors")
assert extractor("a.png").shape == (1, extractor.dimensions)
heavy = {"tensorflow", "tensorflow_datasets", "scipy", "sklearn", "orbax", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
