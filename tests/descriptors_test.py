"""Descriptors on disk: what is written is read again, and what is wrong with a file is one line."""

import dataclasses
import hashlib
import io
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from reid_jax.descriptors import UNKNOWN, Descriptors, digest_of, read_descriptors, write_descriptors
from reid_jax.errors import InputError

DIGEST = "0123456789abcdef" * 4


def made(count=4, spread=False, seed=0):
    random = np.random.default_rng(seed)
    embedding = random.standard_normal((count, 5)).astype(np.float32)
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    return Descriptors(
        np.array([f"cam1/é{row}.jpg" for row in range(count)], str),
        embedding,
        (2, 3),
        DIGEST,
        np.arange(count, dtype=np.int32),
        np.full(count, 3, np.int32),
        random.random(count, np.float32) if spread else None,
    )


def assert_same(one, other):
    for field in dataclasses.fields(Descriptors):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert type(a) is type(b), field.name
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b


@pytest.mark.parametrize("spread", [False, True])
def test_what_is_written_is_read_again(tmp_path, spread):
    write_descriptors(tmp_path / "a.npz", made(spread=spread))
    assert_same(read_descriptors(tmp_path / "a.npz"), made(spread=spread))
    with np.load(tmp_path / "a.npz") as file:  # plain NumPy reads it, too
        assert file["embedding"].shape == (4, 5)
        assert file["name"].tolist() == made().name.tolist()


def test_the_ending_may_be_in_capitals(tmp_path):
    write_descriptors(tmp_path / "d.NPZ", made())
    assert [path.name for path in tmp_path.iterdir()] == ["d.NPZ"]
    assert len(read_descriptors(tmp_path / "d.NPZ")) == len(made())


def test_a_file_may_hold_several_sets(tmp_path):
    sets = {"query": made(2), "gallery": made(3, spread=True, seed=1)}
    write_descriptors(tmp_path / "a.npz", sets)
    for name, written in sets.items():
        assert_same(read_descriptors(tmp_path / "a.npz", name), written)
    with pytest.raises(InputError, match="it has several sets; there is gallery, query"):
        read_descriptors(tmp_path / "a.npz")
    with pytest.raises(InputError, match="it has no set 'probe'; there is gallery, query"):
        read_descriptors(tmp_path / "a.npz", "probe")
    with pytest.raises(InputError, match="different weights"):
        write_descriptors(tmp_path / "b.npz", {"a": made(), "b": dataclasses.replace(made(), weights="0" * 64)})
    assert not (tmp_path / "b.npz").exists()


def test_images_of_which_only_names_are_known(tmp_path):
    plain = Descriptors.unlabelled(["a", "bc"], made(2).embedding, (2, 3), DIGEST)
    write_descriptors(tmp_path / "a.npz", plain)
    again = read_descriptors(tmp_path / "a.npz")
    assert again.name.tolist() == ["a", "bc"]
    assert again.identity.tolist() == again.camera.tolist() == [UNKNOWN, UNKNOWN]
    empty = Descriptors.unlabelled([], np.zeros((0, 5), np.float32), (2, 3), DIGEST)
    write_descriptors(tmp_path / "b.npz", empty)
    assert len(read_descriptors(tmp_path / "b.npz")) == 0


def test_a_compressed_file_is_read_alike(tmp_path):
    write_descriptors(tmp_path / "a.npz", made())
    with np.load(tmp_path / "a.npz") as file:
        np.savez_compressed(tmp_path / "b.npz", **file)
    assert_same(read_descriptors(tmp_path / "b.npz"), made())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"embedding": None}, "it has no set|it has several sets"),
        ({"streams": None}, "no array streams: it is no file of descriptors"),
        ({"camera": None}, "no member camera"),
        ({"version": np.array(9)}, "of version 9; this reid_jax reads 1"),
        ({"version": np.array([1, 1])}, "version has 2 values"),
        ({"embedding": np.zeros((4, 6), np.float32)}, r"streams \(2, 3\) do not add up to descriptors of 6"),
        ({"embedding": np.zeros(4, np.float32)}, r"embedding has shape \(4,\)"),
        ({"embedding": np.full((4, 5), np.nan, np.float32)}, "embedding has numbers that are not finite"),
        ({"embedding": np.ones((4, 5), np.float32)}, "4 descriptors have a norm above 1"),
        ({"embedding": np.zeros((4, 5), np.int32)}, "embedding is of type int32"),
        ({"identity": np.zeros(3, np.int32)}, r"identity has shape \(3,\) beside 4 descriptors"),
        ({"camera": np.full(4, 2**40)}, "camera has numbers that do not fit 32 bits"),
        ({"name": np.arange(4)}, "name is of type int64"),
        ({"name": np.full(4, 2**31, np.uint32).view("<U1")}, "name has text that is not Unicode"),
        ({"name": np.full(4, 0xD800, np.uint32).view("<U1")}, "name has text that is not Unicode"),
        ({"name": np.array([{}] * 4, object)}, "name is of type object"),
        ({"spread": np.full(4, np.inf, np.float32)}, "spread has numbers that are not finite"),
        ({"weights": np.array("abc")}, "weights are 'abc', which is no digest"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, change, words):
    write_descriptors(tmp_path / "a.npz", made())
    with np.load(tmp_path / "a.npz") as file:
        arrays = {**file, **change}
    np.savez(tmp_path / "a.npz", **{key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(InputError, match=words) as error:
        read_descriptors(tmp_path / "a.npz")
    assert "\n" not in str(error.value)
    assert str(tmp_path / "a.npz") in str(error.value)


def test_claims_are_compared_with_what_is_there(tmp_path):
    write_descriptors(tmp_path / "a.npz", made())
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 5)})
    with zipfile.ZipFile(tmp_path / "a.npz") as old, zipfile.ZipFile(tmp_path / "b.npz", "w") as new:
        for member in old.namelist():
            new.writestr(member, header.getvalue() if member == "embedding.npy" else old.read(member))
    with pytest.raises(InputError, match=r"embedding claims \(1099511627776, 5\) float32 and has 0 bytes"):
        read_descriptors(tmp_path / "b.npz")


@pytest.mark.parametrize(("data", "words"), [(b"", "cannot be read as a zip"), (b"text", "cannot be read as a zip")])
def test_other_files_are_refused(tmp_path, data, words):
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(InputError, match=words):
        read_descriptors(tmp_path / "a.npz")
    with pytest.raises(InputError, match="does not exist"):
        read_descriptors(tmp_path / "none.npz")


def test_the_digest_is_of_paths_types_shapes_and_bytes():
    variables = {
        "params": {"b": {"kernel": np.float32([[1, 2]])}, "a": np.float32(3)},
        "batch_stats": {"m": np.arange(2)},
    }
    expected = hashlib.sha256()
    for path, array in (
        ("batch_stats/m", np.arange(2)),
        ("params/a", np.float32(3)),
        ("params/b/kernel", np.float32([[1, 2]])),
    ):
        array = np.asarray(array)
        expected.update(f"{path} {array.dtype} {array.shape}\n".encode() + array.tobytes())
    assert digest_of(variables) == expected.hexdigest()
    turned = {**variables, "params": {"a": jnp.float32(3), "b": {"kernel": np.asfortranarray(np.float32([[1, 2]]))}}}
    assert digest_of({**turned, "swag": 1}) == expected.hexdigest()
    variables["params"]["b"]["kernel"] = np.float32([[1], [2]])
    assert digest_of(variables) != expected.hexdigest()
