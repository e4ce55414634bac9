"""CUHK03: both protocols, from extracted images, from the MATLAB file, and from CUHK03-NP's folders."""

import builtins
import contextlib
import io
import json
import zipfile

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from reid_jax.data.builders.cuhk03_images import parse_name
from reid_jax.data.datasets import find_source
from reid_jax.data.split import open_splits
from reid_jax.errors import InputError

pytestmark = pytest.mark.usefixtures("mat_in_process")

# pair_person_view_image; people 1_001, 1_002 and 2_001 of both views, 5_049 of one image each.
NAMES = [
    "1_001_1_01.png",
    "1_001_1_03.png",
    "1_001_2_06.png",
    "1_002_1_01.png",
    "1_002_2_06.png",
    "1_002_2_10.png",
    "2_001_1_05.png",
    "2_001_2_07.png",
    "5_049_1_01.png",
    "5_049_2_06.png",
]
TRAIN, QUERY, GALLERY = [1, 2, 3, 9, 10], [4, 5, 7], [6, 8]  # rows of NAMES, from 1
TEST_SETS = [[(1, 1), (2, 1)], [(1, 2)]]  # (pair, person) of two classic splits


def pixels(name):
    """An image of its own for each name, taller than wide, so that swapped axes show."""
    pair, person, _, image = map(int, name[:-4].split("_"))
    shade = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
    return shade + np.uint8(40 * pair + 3 * image + person % 7)


def png(name):
    buffer = io.BytesIO()
    Image.fromarray(pixels(name)).save(buffer, "PNG")
    return buffer.getvalue()


def write_extracted(root, kind="detected"):
    (root / f"images_{kind}").mkdir(parents=True)
    for name in NAMES:
        (root / f"images_{kind}" / name).write_bytes(png(name))
    return root


def write_config(root, kind="detected", **changed):
    cells = np.empty((len(NAMES), 1), object)
    cells[:, 0] = NAMES
    column = {
        "labels": [parse_name(name)[0] for name in NAMES],
        "camId": [int(name.split("_")[2]) for name in NAMES],
        "train_idx": TRAIN,
        "query_idx": QUERY,
        "gallery_idx": GALLERY,
    }
    content = {key: np.array(values, np.uint16)[:, None] for key, values in column.items()}
    content = {"filelist": cells} | content | changed
    scipy.io.savemat(
        root / f"cuhk03_new_protocol_config_{kind}.mat",
        {key: value for key, value in content.items() if value is not None},
    )


def write_mat(path, kinds=("detected", "labeled")):
    """cuhk-03.mat as MATLAB 7.3 writes it: cells are references, axes are reversed, empty arrays hold their lengths."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        store = file.create_group("#refs#")

        def refer(values, **attributes):
            stored = store.create_dataset(str(len(store)), data=values)
            stored.attrs.update(attributes)
            return stored.ref

        def cells(references):
            """References of a cell array [a, b] as HDF5 holds it, [b, a]."""
            return np.array(references, h5py.ref_dtype).T

        empty = refer(np.zeros(2, np.uint64), MATLAB_empty=np.uint8(1))
        for kind in kinds:
            pairs = []
            for pair, people in ((1, 2), (2, 1), (3, 1), (4, 1), (5, 49)):
                references = [[empty] * 10 for _ in range(people)]
                for name in NAMES:
                    if name.startswith(f"{pair}_"):
                        person, image = int(name[2:5]), int(name[8:10])
                        references[person - 1][image - 1] = refer(pixels(name).T)
                pairs.append([refer(cells(references))])
            file.create_dataset(kind, data=cells(pairs))
        tests = [[refer(np.array(people, float).T)] for people in TEST_SETS]
        file.create_dataset("testsets", data=cells(tests))
    return path


def write_np(root, kind="detected"):
    for folder, rows in (("bounding_box_train", TRAIN), ("query", QUERY), ("bounding_box_test", GALLERY)):
        (root / kind / folder).mkdir(parents=True)
        for row in rows:
            name = NAMES[row - 1]
            own = f"{parse_name(name)[0]:04d}_c{name.split('_')[2]}_{row}.png"
            (root / kind / folder / own).write_bytes(png(name))
    return root


def labels(files):
    return [(file.identity, file.camera) for file in files]


def test_names_tell_identity_and_camera():
    assert parse_name("1_843_2_10.png") == (843, 2)
    assert parse_name("2_001_1_01.png") == (844, 3)
    assert parse_name("5_049_2_06.png") == (1467, 10)  # the last of the released people
    for name in ("6_001_1_01.png", "0_001_1_01.png", "1_844_1_01.png", "1_000_1_01.png", "1_001_3_01.png"):
        assert parse_name(name) is None


@pytest.mark.parametrize("below", [".", "cuhk03", "CUHK03"])
def test_new_protocol_of_extracted_images(tmp_path, below):
    write_config(write_extracted(tmp_path / below))
    source = find_source("cuhk03", tmp_path)
    assert source.name == "cuhk03:protocol=new,images=detected"
    assert [file.name for file in source.files("query")] == [
        "images_detected/1_002_1_01.png",
        "images_detected/1_002_2_06.png",
        "images_detected/2_001_1_05.png",
    ]
    assert labels(source.files("query")) == [(2, 1), (2, 2), (844, 3)]
    assert labels(source.files("gallery")) == [(2, 2), (844, 4)]
    assert labels(source.files("train")) == [(1, 1), (1, 1), (1, 2), (1467, 9), (1467, 10)]
    assert [source.expected(split).images for split in source.splits] == [7365, 1400, 5332]
    assert source.expected("gallery").identities == 700
    # What is the same view of the same person is removed, and the other view is left to match.
    query, gallery = source.files("query"), source.files("gallery")
    matches = [[one.camera != other.camera for other in gallery if other.identity == one.identity] for one in query]
    assert matches == [[True], [False], [True]]


def test_labelled_images_have_their_own_folder_and_config(tmp_path):
    write_config(write_extracted(tmp_path / "cuhk03", "labeled"), "labeled")
    source = find_source("cuhk03:images=labelled", tmp_path)
    assert source.name == "cuhk03:protocol=new,images=labelled"
    assert [source.expected(split).images for split in source.splits] == [7368, 1400, 5328]
    assert len(source.files("train")) == 5
    with pytest.raises(
        InputError, match=r"CUHK03 \(detected, new protocol\) not found; .*images_detected or cuhk03-np"
    ):
        find_source("cuhk03", tmp_path)


@pytest.mark.parametrize("place", ["cuhk03/cuhk03_release/cuhk-03.mat", "cuhk03_release/cuhk-03.mat", "cuhk-03.mat"])
def test_images_inside_the_mat_are_those_extracted(tmp_path, place):
    write_mat(tmp_path / place)
    write_config(tmp_path / ("cuhk03" if place.startswith("cuhk03/") else "."))
    write_config(write_extracted(tmp_path / "other"))
    inside, extracted = find_source("cuhk03", tmp_path), find_source("cuhk03", tmp_path / "other")
    for split in inside.splits:
        one, other = inside.files(split), extracted.files(split)
        assert labels(one) == labels(other)
        assert one[0].name.endswith("cuhk-03.mat/detected/" + other[0].name.rpartition("/")[2])
        with inside.reader() as read:
            for file in one:
                image = Image.open(io.BytesIO(read(file.name)))
                assert image.format == "PNG"
                assert np.array_equal(np.asarray(image), pixels(file.name.rpartition("/")[2]))


def test_the_config_may_lie_above_the_release(tmp_path):
    write_mat(tmp_path / "cuhk03_release" / "cuhk-03.mat")
    write_config(tmp_path)
    assert len(find_source("cuhk03", tmp_path / "cuhk03_release").files("train")) == 5


@pytest.mark.parametrize("container", ["mat", "json", "extracted beside mat"])
def test_classic_protocol(tmp_path, container):
    root = tmp_path / "cuhk03"
    if container != "mat":
        write_extracted(root)
    if container == "json":
        listed = [
            {"query": [[f"C:\\x\\{name}", 0, 0] for name in NAMES if (int(name[0]), int(name[2:5])) in people]}
            for people in TEST_SETS
        ]
        (root / "splits_classic_detected.json").write_text(json.dumps(listed))
    else:
        write_mat(root / "cuhk03_release" / "cuhk-03.mat")
    first = find_source("cuhk03:protocol=classic", tmp_path)
    second = find_source("cuhk03:protocol=classic,split=1", tmp_path)
    assert second.name == "cuhk03:protocol=classic,images=detected,split=1"
    assert labels(first.files("query")) == [(1, 1), (1, 1), (1, 2), (844, 3), (844, 4)]
    assert first.files("query") == first.files("gallery")
    assert labels(first.files("train")) == [(2, 1), (2, 2), (2, 2), (1467, 9), (1467, 10)]
    assert {file.identity for file in second.files("gallery")} == {2}
    assert len(second.files("train")) == 7
    assert (first.expected("train").identities, first.expected("query").identities) == (1367, 100)


def test_a_split_that_is_not_listed(tmp_path):
    root = write_extracted(tmp_path / "cuhk03")
    write_mat(root / "cuhk-03.mat")
    with pytest.raises(InputError, match="cuhk-03.mat has no test set 8 of 20"):
        find_source("cuhk03:protocol=classic,split=7", tmp_path).files("train")
    (root / "splits_classic_detected.json").write_text("[]")
    with pytest.raises(
        InputError, match=r"splits_classic_detected.json cannot be read as torchreid's splits \(IndexError"
    ):
        find_source("cuhk03:protocol=classic", tmp_path).files("train")
    (root / "splits_classic_detected.json").write_text('[{"query": [["holiday.png", 0, 0]]}]')
    with pytest.raises(InputError, match="cannot be read as torchreid's splits"):
        find_source("cuhk03:protocol=classic", tmp_path).files("train")
    (root / "splits_classic_detected.json").write_text('[{"query": []}]')
    with pytest.raises(InputError, match="names no query in split 0"):
        find_source("cuhk03:protocol=classic", tmp_path).files("train")
    (root / "splits_classic_detected.json").write_text('[{"query": [["1_077_1_01.png", 0, 0]]}]')
    with pytest.raises(InputError, match="1 of 1 people of test split 0 have no image in .*: 77; extract"):
        find_source("cuhk03:protocol=classic", tmp_path).files("train")


def test_classic_without_anything_that_divides(tmp_path):
    write_extracted(tmp_path / "cuhk03")
    with pytest.raises(
        InputError, match=r"needs .*splits_classic_detected.json.*cuhk-03.mat, and neither.*cuhk03_release"
    ):
        find_source("cuhk03:protocol=classic", tmp_path).files("query")


def test_cuhk03_np_gives_the_same_people_and_cameras(tmp_path):
    write_np(tmp_path / "a" / "cuhk03-np")
    write_config(write_extracted(tmp_path / "b" / "cuhk03"))
    folders, extracted = find_source("cuhk03", tmp_path / "a"), find_source("cuhk03", tmp_path / "b")
    assert folders.name == extracted.name
    for split in folders.splits:
        assert labels(folders.files(split)) == labels(extracted.files(split))
        assert folders.expected(split) == extracted.expected(split)
    with pytest.raises(InputError, match="not found"):
        find_source("cuhk03:protocol=classic", tmp_path / "a")
    (tmp_path / "a" / "cuhk03-np" / "detected" / "query" / "1468_c1_1.png").write_bytes(png(NAMES[0]))
    with pytest.raises(InputError, match="do not look like CUHK03-NP's '0003_c1_22.png'"):
        find_source("cuhk03", tmp_path / "a").files("query")


def test_zips(tmp_path):
    write_np(tmp_path / "made" / "cuhk03-np")
    write_mat(tmp_path / "made" / "cuhk03_release" / "cuhk-03.mat")
    with zipfile.ZipFile(tmp_path / "cuhk03_release.zip", "w") as archive:
        archive.write(tmp_path / "made" / "cuhk03_release" / "cuhk-03.mat", "cuhk03_release/cuhk-03.mat")
    with pytest.raises(InputError, match=r"cuhk-03.mat cannot be read inside the zip; unpack .*cuhk03_release.zip"):
        find_source("cuhk03", tmp_path)
    with zipfile.ZipFile(tmp_path / "cuhk03-np.zip", "w") as archive:
        for file in sorted((tmp_path / "made" / "cuhk03-np").rglob("*.png")):
            archive.write(file, file.relative_to(tmp_path / "made"))
    assert labels(find_source("cuhk03", tmp_path).files("gallery")) == [(2, 2), (844, 4)]


def test_missing_images_and_strange_names(tmp_path):
    root = write_extracted(tmp_path / "cuhk03")
    write_config(root)
    (root / "images_detected" / NAMES[4]).unlink()
    with pytest.raises(
        InputError, match=r"1 of 3 images of the new protocol's query are not in .*: 1_002_2_06.png; extr"
    ):
        find_source("cuhk03", tmp_path).files("query")
    (root / "images_detected" / "holiday.png").write_bytes(png(NAMES[0]))
    with pytest.raises(InputError, match=r"1 image name\(s\) in .*images_detected do not look like .*: holiday.png"):
        find_source("cuhk03", tmp_path).files("query")
    for file in (root / "images_detected").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="images_detected holds no image"):
        find_source("cuhk03", tmp_path).files("query")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"query_idx": None}, "has no variable query_idx; take it from"),
        ({"query_idx": np.array([[0]])}, "query_idx does not hold numbers from 1 to 10"),
        ({"train_idx": np.array([[11]])}, "train_idx does not hold numbers from 1 to 10"),
        ({"gallery_idx": np.array([[1.5]])}, "gallery_idx holds something other than whole numbers"),
        ({"labels": np.arange(10)[:, None]}, "labels disagrees with filelist at row 1, '1_001_1_01.png'"),
        ({"camId": np.ones((9, 1))}, "camId disagrees with filelist"),
    ],
)
def test_bad_configs(tmp_path, changed, message):
    root = write_extracted(tmp_path / "cuhk03")
    write_config(root, **changed)
    with pytest.raises(InputError, match=f"cuhk03_new_protocol_config_detected.mat.*{message}"):
        find_source("cuhk03", tmp_path).files("train")


def test_a_config_that_is_missing_or_no_matlab_file(tmp_path):
    root = write_extracted(tmp_path / "cuhk03")
    with pytest.raises(InputError, match=r"config_detected.mat is missing; take it from .*person-re-ranking"):
        find_source("cuhk03", tmp_path).files("train")
    (root / "cuhk03_new_protocol_config_detected.mat").write_bytes(b"<html>not found</html>" * 20)
    with pytest.raises(InputError, match="config_detected.mat cannot be read as a MATLAB file"):
        find_source("cuhk03", tmp_path).files("train")


def test_a_mat_that_is_not_the_released_one(tmp_path):
    path = tmp_path / "cuhk-03.mat"
    path.write_bytes(b"<html>not found</html>")
    write_config(tmp_path)
    source = find_source("cuhk03", tmp_path)
    with pytest.raises(InputError, match="cuhk-03.mat is no HDF5 file .*not the released"):
        source.files("train")
    write_mat(path, ["labeled"])
    with pytest.raises(InputError, match="has no images 'detected' in cells"):
        find_source("cuhk03", tmp_path).files("train")
    with h5py.File(path, "a") as file:
        file.create_dataset("detected", data=np.zeros((3, 3)))
    with pytest.raises(InputError, match="has no .*'detected'"):
        find_source("cuhk03", tmp_path).files("train")


def first_image(file):
    """The cell of the first image of the first person, and the array that it refers to."""
    people = file[file["detected"][()].ravel()[0]]
    return people, file[people[0, 0]]


def refer_to(file, stored):
    people, _ = first_image(file)
    references = people[()]
    references[0, 0] = stored.ref
    people[...] = references


def spoil_elsewhere(file):
    """The pixels lie in another file, which whoever prepares the set would copy into it."""
    stored = file.create_dataset("x", (3, 8, 16), np.uint8, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])
    refer_to(file, stored)


def spoil_virtual(file):
    layout = h5py.VirtualLayout((3, 8, 16), np.uint8)
    layout[:] = h5py.VirtualSource("other.h5", "x", (3, 8, 16))
    refer_to(file, file.create_virtual_dataset("x", layout))


def spoil_link(file):
    del file["detected"]
    file["detected"] = h5py.ExternalLink("other.h5", "detected")


def spoil_cells(file):
    del file["detected"]
    file.create_dataset("detected", (1, 2**40), h5py.ref_dtype, chunks=(1, 1000))


def spoil_people(file):
    stored = file.create_dataset("x", (10, 2**40), h5py.ref_dtype, chunks=(10, 1000))
    pairs = file["detected"][()]
    pairs.ravel()[0] = stored.ref
    file["detected"][...] = pairs


def spoil_testset(value):
    def spoil(file):
        file[file["testsets"][()].ravel()[0]][...] = value

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: refer_to(file, file.create_group("x")), "has no image 1_001_1_01.png that can be read"),
        (lambda file: refer_to(file, file.create_dataset("x", (3, 2**20, 2**20), np.uint8, chunks=(3, 8, 8))), "shape"),
        (
            lambda file: refer_to(
                file, file.create_dataset("x", (3, 8, 8), np.uint8, chunks=(3, 2**8, 2**18), maxshape=(3, None, None))
            ),
            "shape",
        ),
        (lambda file: refer_to(file, file.create_dataset("x", (3, 8, 16), np.float32)), "holds float32"),
        (lambda file: refer_to(file, file.create_dataset("x", (4, 8, 16), np.uint8)), r"holds uint8 \(4, 8, 16\)"),
        (lambda file: refer_to(file, file.create_dataset("x", (3, 8, 16, 2), np.uint8)), "holds uint8"),
        (spoil_elsewhere, "its data lie in another file"),
        (spoil_virtual, "its data lie in another file"),
        (spoil_link, "no 'detected' in the file itself"),
        (spoil_cells, "has no images 'detected' in cells that can be read .it claims the shape"),
        (spoil_people, "it claims the shape"),
        (spoil_testset(1e300), "has people in test set 1 of 20 that no camera pair shows"),
        (spoil_testset(np.nan), "has people in test set 1 of 20 that no camera pair shows"),
        (spoil_testset(-1), "has people in test set 1 of 20 that no camera pair shows"),
        (lambda file: file.pop("testsets"), "has no test set 1 of 20 that can be read"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_mat_with_arrays_that_are_none_of_the_released_one(tmp_path, spoil, message):
    path = write_mat(tmp_path / "cuhk-03.mat", ["detected"])
    with h5py.File(path, "a") as file:
        spoil(file)
    with pytest.raises(InputError, match=f"{message}.*so it is not the released") as caught:
        find_source("cuhk03:protocol=classic", tmp_path).files("train")
    assert "\n" not in str(caught.value)


def test_a_mat_that_is_damaged_anywhere_is_an_input_error(tmp_path):
    path = write_mat(tmp_path / "cuhk-03.mat", ["detected"])
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(20):
        damaged = bytearray(whole)
        for place in random.integers(len(whole), size=20):
            damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            source = find_source("cuhk03:protocol=classic", tmp_path)
            with source.reader() as read:
                for file in source.files("train"):
                    read(file.name)


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    write_mat(tmp_path / "cuhk-03.mat")
    imported = builtins.__import__

    def refuse(name, *arguments, **keywords):
        if name == "h5py":
            raise ImportError(name)
        return imported(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match=r"cuhk-03.mat can be read only with h5py; pip install 'reid_jax\[cuhk03\]'"):
        find_source("cuhk03:protocol=classic", tmp_path).files("train")


@pytest.mark.parametrize("name", ["cuhk03:split=3", "cuhk03:protocol=classic,split=20", "cuhk03:images=labeled"])
def test_bad_options(tmp_path, name):
    with pytest.raises(InputError, match=name):
        find_source(name, tmp_path)


def test_read_from_records(tmp_path):
    write_mat(tmp_path / "cuhk03" / "cuhk-03.mat")
    query, gallery = open_splits("cuhk03:protocol=classic,split=1", ["query", "gallery"], tmp_path, (6, 4))
    assert query.identity.tolist() == gallery.identity.tolist() == [2, 2, 2]
    loaded = query.load()
    assert np.array_equal(loaded.image, np.stack([pixels(name.rpartition("/")[2]) for name in loaded.name]))
